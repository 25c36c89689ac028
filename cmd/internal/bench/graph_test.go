package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// house is a server and a puller in one process, without disk and network, in a bubble of fake time: it counts what work costs.
type house struct {
	testing.TB
	*engine.Engine
	store *store.Store
}

// inHouse runs a test with a puller whose operations are performed by launch.
func inHouse(t *testing.T, launch pool.LauncherFunc, test func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		st, err := store.Open(ctx, memdriver.NewStore(memdriver.StoreOptions{}), driver.Schema{Kinds: append(engine.Schema(), catalog.Schema()...)})
		must(t, err)
		q, err := queue.Open(ctx, memdriver.NewQueue(memdriver.QueueOptions{}))
		must(t, err)
		objects := catalog.New(st, catalog.Options{})
		h := &house{TB: t, Engine: engine.New(st, q, objects, engine.Options{}), store: st}
		_, err = objects.ResourcePools.Create(ctx, model.ResourcePool{Meta: model.Meta{ID: "pool", CustomerID: "ops", Title: "pool"}})
		must(t, err)
		_, err = objects.Customers.Create(ctx, model.Customer{Meta: model.Meta{ID: customer(0), Title: "customer"}, ResourcePoolID: "pool"})
		must(t, err)
		_, err = objects.Insights.Create(ctx, model.Insight{
			Meta: model.Meta{ID: insightID, CustomerID: "ops", Title: "insight"}, Sharing: model.Sharing{IsGlobal: true}, ResourcePoolID: "pool",
			Mappers: model.Mappers{OperationType: []string{"work"}},
		})
		must(t, err)
		must(t, h.Start(ctx))
		p, err := pool.New(pool.Config{API: h.Engine, Launcher: launch, Log: slog.New(slog.DiscardHandler), Name: "puller", InsightIDs: []string{insightID}})
		must(t, err)
		var running sync.WaitGroup
		running.Go(func() { p.Run(ctx) })
		<-time.After(time.Second)
		test(t, h)
		cancel()
		running.Wait()
		h.Stop()
	})
}

// run submits an agenda and waits until it has ended. It returns its progress and what that cost.
func (h *house) run(agenda model.Agenda) (model.AgendaProgress, store.Calls) {
	h.Helper()
	before := h.store.Calls()
	got := h.Submit(h.Context(), []engine.Submission{{Agenda: agenda}})[0]
	must(h, got.Err)
	for {
		<-time.After(time.Minute)
		page, err := h.List(h.Context(), engine.Filter{}, "", 1) // reads little
		must(h, err)
		if page.Progress[0].State == model.Complete {
			break
		}
	}
	after := h.store.Calls()
	progress, _, err := h.Progress(h.Context(), got.Agenda.ID)
	must(h, err)
	return progress, store.Calls{
		Get: after.Get - before.Get, Scan: after.Scan - before.Scan, Write: after.Write - before.Write, Groups: after.Groups - before.Groups,
	}
}

// TestFiveOperationsCostAtMostTwiceTheStoreWorkOfOne counts writes of records: those of an agenda whose operations take a moment, and
// of one whose operations take their time, so that each start and end is reported.
func TestFiveOperationsCostAtMostTwiceTheStoreWorkOfOne(t *testing.T) {
	for _, took := range []time.Duration{10 * time.Millisecond, 40 * time.Millisecond} {
		inHouse(t, func(context.Context, *pool.Task) (json.RawMessage, error) {
			<-time.After(took)
			return json.RawMessage(`{"bytes":1234567}`), nil
		}, func(t *testing.T, h *house) {
			chain := agendaOf(0, 5)
			for i := 1; i < len(chain.Operations); i++ {
				chain.Operations[i].Payload = json.RawMessage(fmt.Sprintf(`"@<step%d.out::/bytes>"`, i-1))
			}
			for name, five := range map[string]model.Agenda{"side by side": agendaOf(0, 5), "one after the other": chain} {
				p, one := h.run(agendaOf(0, 1))
				if p.Outcome != model.Succeeded {
					t.Fatalf("%+v", p.Status)
				}
				p, many := h.run(five)
				if p.Outcome != model.Succeeded {
					t.Fatalf("%+v", p.Status)
				}
				t.Logf("operations of %s, %s: one costs %d writes, five %d", took, name, one.Groups, many.Groups)
				if many.Groups > 2*one.Groups {
					t.Errorf("operations of %s, %s: one costs %d writes, five %d", took, name, one.Groups, many.Groups)
				}
			}
		})
	}
}

// TestTenThousandOperationsOfOneAgenda has one operation generate 9,998 others, and one that runs at the end.
func TestTenThousandOperationsOfOneAgenda(t *testing.T) {
	var mu sync.Mutex
	ran := map[string]int{}
	now, most := 0, 0
	inHouse(t, func(_ context.Context, task *pool.Task) (json.RawMessage, error) {
		mu.Lock()
		ran[task.Operation.Name]++
		now++
		most = max(most, now)
		mu.Unlock()
		<-time.After(100 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		if task.Operation.Name == "step0" {
			for i := range model.MaxOperations - 2 {
				task.Generate(model.Operation{Name: fmt.Sprint("part ", i), Type: "work", Payload: json.RawMessage(`"@<step0.out::/bytes>"`)})
			}
		}
		return json.RawMessage(`{"bytes":1234567}`), nil
	}, func(t *testing.T, h *house) {
		agenda := agendaOf(0, 2)
		agenda.Operations[1].When = "always"
		p, cost := h.run(agenda)
		if p.Outcome != model.Succeeded || len(p.Operations) != model.MaxOperations || p.PercentComplete != 100 {
			t.Errorf("%d operations, %+v", len(p.Operations), p.Status)
		}
		for name, times := range ran {
			if times != 1 {
				t.Errorf("%s ran %d times", name, times)
			}
		}
		if len(ran) != model.MaxOperations || most != 16 {
			t.Errorf("%d operations ran, %d at a time", len(ran), most)
		}
		t.Logf("%d writes, %d reads", cost.Groups, cost.Get)
	})
}
