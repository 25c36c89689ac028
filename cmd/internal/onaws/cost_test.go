package onaws

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
)

// Prices in dollars per million, of the region us-east-1.
const (
	writePrice   = 0.625 // write request unit
	readPrice    = 0.125 // read request unit
	requestPrice = 0.40  // request of SQS
)

// scene is a load of agendas, one each interval, all of the same work.
type scene struct {
	name       string
	operations int
	bytes      int
	takes      time.Duration // an operation
	chatty     bool          // operations report their progress each second
	every      time.Duration
}

// price is what one agenda costs in a scene, without what a server and an executor cost that have nothing to do.
type price struct {
	write, read, requests float64 // capacity units, and requests of SQS
	shares                string  // of the units
}

func (p price) dollars() float64 {
	return p.write*writePrice + p.read*readPrice + p.requests*requestPrice
}

// measure runs a scene until as many agendas end as begin, and returns what an agenda costs from then on, and what an hour costs in which
// nothing happens.
func measure(t *testing.T, s scene) (each, idle price) {
	t.Helper()
	agendas := 20
	if s.takes > time.Minute {
		agendas = 8 // hours of fake time take their time too
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "acme")
		w.puller(10, s.operate)
		w.await(w.submit(agenda("acme", s.operations, s.bytes))[0])
		<-time.After(2 * time.Minute)
		w.bill.take()
		const rest = 10 * time.Minute
		<-time.After(rest)
		quiet := w.bill.take()

		submit := func(n int) {
			for range n {
				w.submit(agenda("acme", s.operations, s.bytes))
				<-time.After(s.every)
			}
		}
		submit(int(time.Duration(s.operations)*s.takes/s.every) + 2)
		w.bill.take()
		start := time.Now()
		submit(agendas)
		busy := w.bill.take()
		background := float64(time.Since(start)) / float64(rest)
		each = price{
			write:    (total(busy.write) - background*total(quiet.write)) / float64(agendas),
			read:     max(0, total(busy.read)-background*total(quiet.read)) / float64(agendas),
			requests: float64(busy.sqs()) / float64(agendas),
		}
		for _, kind := range []string{"body", "run", "index", "session"} {
			each.shares += fmt.Sprintf(", %s %.1f", kind, busy.write[kind]/float64(agendas))
		}
		const perHour = float64(time.Hour / rest)
		idle = price{write: perHour * total(quiet.write), read: perHour * total(quiet.read), requests: perHour * float64(quiet.sqs())}
	})
	each.shares = strings.TrimPrefix(each.shares, ", ")
	return each, idle
}

// operate performs an operation.
func (s scene) operate(ctx context.Context, task *pool.Task) (json.RawMessage, error) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	end := time.After(s.takes)
	for n := 1; ; n++ {
		select {
		case <-second.C:
			if s.chatty {
				task.Report(pool.Progress{Percent: 100 * float64(n) * float64(time.Second) / float64(s.takes)})
			}
		case <-end:
			return json.RawMessage(fmt.Sprintf(`{"output": "s3://work/%s", "bytes": 123456}`, unlike(len(task.Operation.Name), 40))), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TestWhatAnAgendaCosts counts the capacity that DynamoDB says an agenda has used, and holds docs/cost.md to it.
func TestWhatAnAgendaCosts(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "cost.md"))
	if err != nil {
		t.Fatal(err)
	}
	const typical = "5 operations of 20 s"
	for _, s := range []scene{
		{typical, 5, 4096, 20 * time.Second, false, 10 * time.Second},
		{"5 operations of 12 min, with progress each second", 5, 4096, 12 * time.Minute, true, 6 * time.Minute},
		{"1 operation of 10 ms", 1, 1024, 10 * time.Millisecond, false, 100 * time.Millisecond},
	} {
		each, idle := measure(t, s)
		t.Logf("%s: %+v", s.name, each)
		wantRow(t, string(page), s.name, each.write, each.read, each.requests, each.dollars())
		if s.name != typical {
			continue
		}
		if each.write > 20 || each.read > 12 {
			t.Errorf("an agenda of 5 operations and 4 KB costs %.1f write units and %.1f read units, want at most 20 and 12", each.write, each.read)
		}
		wantRow(t, string(page), "an hour in which nothing happens", idle.write, idle.read, idle.requests, idle.dollars()/1e6)
	}
}

// wantRow checks the numbers in a row of a table of a page. Compression and chance make them differ a little from run to run.
func wantRow(t *testing.T, page, name string, want ...float64) {
	t.Helper()
	cells := row(page, name)
	if len(cells) <= len(want) {
		t.Errorf("docs/cost.md has no row for %q: %.4f", name, want)
		return
	}
	for i, w := range want {
		got, err := strconv.ParseFloat(cells[i+1], 64)
		slack := 0.05*w + 0.3
		switch i {
		case 1: // reads depend on when caches end
			slack += 0.1*w + 1.5
		case 3: // dollars may be fractions of a cent
			slack = 0.1 * w
		}
		if err != nil || math.Abs(got-w) > slack {
			t.Errorf("docs/cost.md has %q for %q, measured is %.4f (%v)", cells[i+1], name, w, err)
		}
	}
}

// row returns the cells of the row of a page's tables that has the name, which is the first of them; nil if there is none.
func row(page, name string) []string {
	for line := range strings.Lines(page) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " $")
		}
		if cells[0] == name {
			return cells
		}
	}
	return nil
}

// TestWhatAgendasThatWaitCost counts what the owner of an insight reads in an hour in which nothing happens because of the agendas that
// wait, and holds docs/cost.md to it.
func TestWhatAgendasThatWaitCost(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "cost.md"))
	if err != nil {
		t.Fatal(err)
	}
	hourly := func(waiting int) (units float64) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Uint32
			w := newWorldWith(t, engine.Options{NewID: func() uuid.UUID { // as many in each shard of the index
				id := uuid.New()
				id[0] = byte(n.Add(1))
				return id
			}}, "acme")
			for range waiting / 100 {
				batch := make([]model.Agenda, 100)
				for i := range batch {
					batch[i] = agenda("acme", 1, 300)
				}
				w.submit(batch...)
			}
			<-time.After(10 * time.Minute)
			w.bill.take()
			const part = 15 * time.Minute
			<-time.After(part)
			units = w.bill.take().read["index"] * float64(time.Hour/part)
		})
		return units
	}
	const few, many = 100, 1100
	each := (hourly(many) - hourly(few)) / (many - few)
	for name, waiting := range map[string]float64{"1,000": 1e3, "10,000 and more": 1e4} { // core/engine shows that it stays at that
		cells := row(string(page), name)
		if cells == nil {
			t.Errorf("docs/cost.md has no row for %q: %.0f read units", name, each*waiting)
			continue
		}
		// A unit for each begun 4 KB counts for more in the small than in the large.
		for i, want := range map[int]float64{2: each * waiting, 4: each * waiting * readPrice / 1e6} {
			if got, err := strconv.ParseFloat(cells[i], 64); err != nil || math.Abs(got-want) > 0.15*want {
				t.Errorf("docs/cost.md has %q for %q, measured is %.4f (%v)", cells[i], name, want, err)
			}
		}
	}
}
