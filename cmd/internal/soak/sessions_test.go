package soak

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
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

// fleet is an engine over a store in memory, and pullers, in a bubble of fake time.
type fleet struct {
	*engine.Engine
	store *store.Store
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	ctx := t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st, err := store.Open(ctx, memdriver.NewStore(memdriver.StoreOptions{}), driver.Schema{Kinds: append(engine.Schema(), catalog.Schema()...)})
	must(st, err)
	q, err := queue.Open(ctx, memdriver.NewQueue(memdriver.QueueOptions{}))
	must(q, err)
	c := catalog.New(st, catalog.Options{})
	e := engine.New(st, q, c, engine.Options{})
	must(c.ResourcePools.Create(ctx, model.ResourcePool{Meta: model.Meta{ID: "p", CustomerID: "c", Title: "p"}}))
	must(c.Customers.Create(ctx, model.Customer{Meta: model.Meta{ID: "c", Title: "c"}, ResourcePoolID: "p"}))
	must(c.Insights.Create(ctx, model.Insight{
		Meta: model.Meta{ID: "i", CustomerID: "c", Title: "i"}, ResourcePoolID: "p", Mappers: model.Mappers{OperationType: []string{"work"}}, QueueSize: new(1000),
	}))
	must(nil, e.Start(ctx))
	t.Cleanup(e.Stop)
	return &fleet{e, st}
}

func (f *fleet) submit(t *testing.T, n int) {
	t.Helper()
	for range n {
		agenda := model.Agenda{Meta: model.Meta{CustomerID: "c"}, Operations: []model.Operation{{Name: "a", Type: "work"}}}
		if got := f.Submit(t.Context(), []engine.Submission{{Agenda: agenda}}); got[0].Err != nil {
			t.Fatal(got[0].Err)
		}
	}
}

func TestAThousandAgendasOnFiftySessionsCostFiftyHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const agendas, sessions, interval = 1000, 50, 5 * time.Second
		f := newFleet(t)
		ctx, stop := context.WithCancel(t.Context())
		var pulling sync.WaitGroup
		for i := range sessions {
			p, err := pool.New(pool.Config{
				API: f, Log: slog.New(slog.DiscardHandler), Name: fmt.Sprint("s", i), InsightIDs: []string{"i"}, Slots: agendas / sessions,
				Launcher: pool.LauncherFunc(func(ctx context.Context, _ *pool.Task) (json.RawMessage, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}), AgendaOperations: 1, DrainTimeout: time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			pulling.Go(func() { p.Run(ctx) })
		}
		f.submit(t, agendas)
		<-time.After(time.Minute)
		executing, err := f.List(t.Context(), engine.Filter{State: model.Executing}, "", 1000)
		if err != nil || len(executing.Progress) != agendas {
			t.Fatalf("%d agendas are executed, %v", len(executing.Progress), err)
		}
		const intervals = 12
		before := f.store.Calls()
		<-time.After(intervals * interval)
		// One more is the server's own, which keeps the insight that it schedules.
		if writes := f.store.Calls().Groups - before.Groups; writes < intervals*sessions || writes > intervals*(sessions+1) {
			t.Errorf("%d writes in %d intervals; want %d in each, and one of the server", writes, intervals, sessions)
		}
		stop()
		pulling.Wait()
	})
}

// TestTheAgendasOfDeadExecutorsAreReclaimedWithinALeaseAndASecond lets executors die at random moments between their heartbeats.
func TestTheAgendasOfDeadExecutorsAreReclaimedWithinALeaseAndASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const sessions = 200
		f := newFleet(t)
		f.submit(t, sessions)
		died := map[string]time.Time{} // by agenda
		var mu sync.Mutex
		var living sync.WaitGroup
		for i := range sessions {
			living.Go(func() {
				s, err := f.OpenSession(t.Context(), fmt.Sprint("s", i))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := f.Pull(t.Context(), model.PullRequest{InsightID: "i", SessionID: s.ID, Max: 1, WaitMs: 30000})
				if err != nil || len(got) != 1 {
					t.Errorf("pulled %d, %v", len(got), err)
					return
				}
				r := model.Report{Lease: got[0].Lease, SessionID: s.ID, Status: model.Status{State: model.Executing}}
				if _, err := f.Report(t.Context(), []model.Report{r}); err != nil {
					t.Error(err)
				}
				beat := time.NewTicker(time.Duration(s.Heartbeat) * time.Millisecond)
				defer beat.Stop()
				death := time.After(rand.N(time.Minute))
				for {
					select {
					case <-beat.C:
						if _, err := f.Heartbeat(t.Context(), s.ID); err != nil {
							t.Error(err)
						}
					case <-death:
						mu.Lock()
						defer mu.Unlock()
						died[got[0].AgendaID] = time.Now()
						return
					}
				}
			})
		}
		living.Wait()
		<-time.After(time.Minute)
		var took []time.Duration
		for id, at := range died {
			p, _, err := f.Progress(t.Context(), id)
			if err != nil || p.State == model.Executing || len(p.DiagnosticEvents) != 1 || p.DiagnosticEvents[0].StatusCode != model.StatusExecutorLost {
				t.Fatalf("agenda %s: %+v, %v", id, p.Status, err)
			}
			took = append(took, p.DiagnosticEvents[0].Time.Sub(at))
		}
		slices.Sort(took)
		t.Logf("reclaimed after %s (median), %s (p99), %s at most", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
		if most := took[len(took)-1]; most > engine.DefaultLease+time.Second {
			t.Errorf("an agenda was reclaimed after %s; want at most %s", most, engine.DefaultLease+time.Second)
		}
	})
}
