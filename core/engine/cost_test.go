package engine

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

const (
	busyCustomers = 100    // that have agendas which wait
	exemplar      = "idle" // a customer that those are like which have none
	madeUp        = "made up"
)

// backlog is a store with more agendas and customers than a test could write. It makes them up as they are read: agendas that wait, of
// the busy customers in turn, and customers without agendas that have used something of their quotas. What is written goes to
// the store behind it, and counts from then on.
type backlog struct {
	driver.Store
	waiting, idle int

	mu      sync.Mutex
	written map[driver.Key]bool
}

func busyCustomer(i int) string { return fmt.Sprintf("busy-%02d", i%busyCustomers) }

// id is that of an agenda; its first byte decides on the shard.
func (b *backlog) id(i int) (id scheduling.ID) {
	id[0] = byte(i % liveShards)
	binary.BigEndian.PutUint64(id[8:], uint64(i))
	return id
}

// agenda returns which agenda a record is of, and false if it is none of those that were made up.
func (b *backlog) agenda(key driver.Key) (int, bool) {
	id, err := uuid.Parse(key.Part)
	i := int(binary.BigEndian.Uint64(id[8:]))
	return i, err == nil && i >= 0 && i < b.waiting && b.id(i) == scheduling.ID(id)
}

func (b *backlog) run(i int) *run {
	r := &run{Body: soleSort, Ready: int64(i) + 1, OperationCount: 1}
	r.ID = agendaID(b.id(i))
	r.AgendaID, r.CustomerID, r.State, r.MaximumAttempts = r.ID, busyCustomer(i), model.Waiting, 1
	r.AgendaInsight = model.AgendaInsight{InsightID: insightID, ResourcePoolID: poolID}
	return r
}

// entry is what the index shows of an agenda: as liveSort, but made a million times.
func (b *backlog) entry(i int) driver.Record {
	id := agendaID(b.id(i))
	var place [9]byte
	binary.BigEndian.PutUint64(place[:], uint64(i)+1)
	place[8] = priorityZero
	sort := make([]byte, 0, 80)
	sort = hex.AppendEncode(append(sort, liveWaiting), place[:])
	sort = append(append(sort, id...), "busy-"...)
	sort = append(sort, '0'+byte(i%busyCustomers/10), '0'+byte(i%10))
	return driver.Record{Key: runKey(id), Index: []driver.IndexEntry{{Index: indexLive, Sort: string(sort)}}}
}

// Get makes up what was not written.
func (b *backlog) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	keys := make([]driver.Key, len(req.Keys))
	for n, key := range req.Keys {
		if keys[n] = key; strings.HasPrefix(key.Sort, exemplar+"-") {
			keys[n].Sort = exemplar
		}
	}
	resp, err := b.Store.Get(ctx, driver.GetRequest{Keys: keys})
	for n := range resp.Records {
		i, ok := b.agenda(keys[n])
		if !ok || resp.Records[n] != nil {
			continue
		}
		var rec driver.Record
		switch r := b.run(i); keys[n].Kind {
		case kindRun:
			rec, err = r.record()
		case kindBody:
			agenda := agendaOf(r.CustomerID)
			agenda.ID = r.ID
			rec.Body, err = json.Marshal(agenda)
		default:
			continue
		}
		rec.Key, rec.Version = keys[n], madeUp
		resp.Records[n] = &rec
	}
	return resp, err
}

// Scan makes up index entries and accounts, and then goes on with the store behind.
func (b *backlog) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	n, record := 0, func(int) driver.Record { return driver.Record{} }
	shard := -1
	if hexed, ok := strings.CutPrefix(req.Part, insightID+"/"); ok && req.Index == indexLive {
		of, err := strconv.ParseInt(hexed, 16, 32)
		if err != nil {
			return driver.ScanResponse{}, err //nolint:wrapcheck // a part that the engine never names
		}
		shard = int(of)
		if req.From != "" { // they came into line long ago
			return b.Store.Scan(ctx, req)
		}
		n, record = (b.waiting-shard+liveShards-1)/liveShards, func(i int) driver.Record { return b.entry(i*liveShards + shard) }
	}
	if req.Kind == kindAccount && req.Part == insightID {
		body, err := json.Marshal(scheduling.Account{Window: time.Now().Truncate(24 * time.Hour).UnixNano(), Used: 1})
		if err != nil {
			return driver.ScanResponse{}, err //nolint:wrapcheck // it can always be encoded
		}
		n, record = b.idle, func(i int) driver.Record {
			return driver.Record{Key: accountKey(insightID, fmt.Sprintf("%s-%06d", exemplar, i)), Version: madeUp, Body: body}
		}
	}
	made, ours := strings.CutPrefix(req.Cursor, madeUp)
	if n == 0 || !ours && req.Cursor != "" {
		return b.Store.Scan(ctx, req)
	}
	at, _ := strconv.Atoi(made)
	if at >= n {
		req.Cursor = ""
		return b.Store.Scan(ctx, req)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	end := min(n, at+1000)
	page := driver.ScanResponse{Records: make([]driver.Record, 0, end-at), Next: madeUp + strconv.Itoa(end)}
	for ; at < end; at++ {
		if rec := record(at); !b.written[rec.Key] {
			page.Records = append(page.Records, rec)
		}
	}
	return page, nil
}

// Write lets what was made up be replaced.
func (b *backlog) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	groups := make([]driver.Group, len(req.Groups))
	for n, group := range req.Groups {
		groups[n] = append(groups[n], group...)
		for i := range groups[n] {
			if op := &groups[n][i]; op.Cond == driver.IfVersion && op.Version == madeUp {
				op.Cond, op.Version = driver.IfAbsent, ""
			}
		}
	}
	resp, err := b.Store.Write(ctx, driver.WriteRequest{Groups: groups})
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, result := range resp.Results {
		for i := range groups[n] {
			if key := groups[n][i].Record.Key; result.Err == nil && (key.Kind == kindRun || key.Kind == kindAccount) {
				b.written[key] = true
			}
		}
	}
	return resp, err
}

// startBehind starts a server on a store with a backlog. Nothing is scheduled yet.
func startBehind(tb testing.TB, waiting, idle int, caps driver.StoreCapabilities) *world {
	tb.Helper()
	w := &world{TB: tb, base: memdriver.NewStore(memdriver.StoreOptions{Capabilities: caps})}
	w.start()
	w.furnish()
	w.tune(func(v *model.Insight) { v.QueueSize, v.Pause = new(2*maxPass), &model.Pause{By: "test"} })
	quota := model.Limits{Quota: &model.Quota{Count: 1e9, WindowSeconds: 24 * 60 * 60}}
	for i := range busyCustomers {
		w.must(w.catalog.Customers.Create(w.ctx(), model.Customer{Meta: model.Meta{ID: busyCustomer(i), Title: "busy"}, ResourcePoolID: poolID, Limits: quota}))
	}
	w.must(w.catalog.Customers.Create(w.ctx(), model.Customer{Meta: model.Meta{ID: exemplar, Title: "idle"}, ResourcePoolID: poolID, Limits: quota}))
	w.Stop()
	w.before = func(s driver.Store) driver.Store {
		return &backlog{Store: s, waiting: waiting, idle: idle, written: map[driver.Key]bool{}}
	}
	w.start()
	return w
}

// spent returns what a deed costs of the store, and all that the schedulers do because of it.
func (w *world) spent(deed func()) memdriver.Counts {
	w.Helper()
	counts := w.driver.(*memdriver.FaultyStore)
	synctest.Wait()
	counts.ResetCounts()
	deed()
	synctest.Wait()
	return counts.Counts()
}

// costs are what the store is asked for, by what is done.
type costs struct{ Passes, Claims, Ends, Submissions memdriver.Counts }

// costsOf measures two full passes, and what comes before and after them, once what memory holds of customers is out of date.
func costsOf(t *testing.T, waiting, idle int, caps driver.StoreCapabilities) (c costs) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := startBehind(t, waiting, idle, caps)
		t.Cleanup(func() { w.Stop() })
		synctest.Wait()
		d := w.dispatcher(insightID)
		d.mu.Lock()
		loaded, known := d.line.Waiting(), d.line.Certificate(d.now(), 0)
		d.mu.Unlock()
		if loaded != waiting || known.Customers != busyCustomers {
			t.Fatalf("%d agendas of %d customers are loaded, want %d of %d", loaded, known.Customers, waiting, busyCustomers)
		}
		session := w.session("executor")
		w.tune(func(v *model.Insight) { v.Pause.Until = time.Now().Add(3500 * time.Millisecond) })
		<-time.After(3400 * time.Millisecond)
		c.Passes = w.spent(func() { <-time.After(200 * time.Millisecond) }) // at no full second, so without a sweep
		w.tune(func(v *model.Insight) { v.Pause = &model.Pause{By: "test"} })
		var got []model.Assignment
		c.Claims = w.spent(func() {
			for range 4 {
				got = append(got, w.pull(session, maxPass/2)...)
			}
		})
		c.Ends = w.spent(func() {
			for _, a := range got {
				w.taken(complete(a, model.Succeeded))
			}
		})
		if len(got) != 2*maxPass {
			t.Errorf("%d agendas were handed out, want %d", len(got), 2*maxPass)
		}
		c.Submissions = w.spent(func() { w.submit(busyCustomer(0)) })
	})
	return c
}

func TestSchedulingAsksTheStoreForTheSameWithAMillionWaitingAndWithAHundredThousandIdleCustomers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waiting, idle int
		caps          driver.StoreCapabilities
	}{
		"a million waiting":                            {1e6, 0, ownStore()},
		"100,000 idle customers":                       {1e3, 1e5, ownStore()},
		"both by the tenth, where the store is shared": {1e5, 1e4, memdriver.FullStore()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := costsOf(t, 1e3, 0, c.caps)
			const agendas, passes = 2 * maxPass, 2
			if diff := cmp.Diff(memdriver.Counts{
				memdriver.Get:   {Calls: passes + 1, Items: agendas + busyCustomers},        // runs; customers
				memdriver.Write: {Calls: 2 * passes, Items: agendas + passes*busyCustomers}, // runs; what is used of quotas
			}, want.Passes); diff != "" {
				t.Errorf("two passes with 1,000 waiting (-want, +got):\n%s", diff)
			}
			if diff := cmp.Diff(want, costsOf(t, c.waiting, c.idle, c.caps)); diff != "" {
				t.Errorf("with %d waiting and %d idle customers (-1,000 and none, +these):\n%s", c.waiting, c.idle, diff)
			}
		})
	}
}

func TestABacklogIsReadAnewTheMoreRarelyTheMoreWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const waiting, minutes = 3 * rescanAll, 60
		w := startBehind(t, waiting, 0, memdriver.FullStore())
		t.Cleanup(func() { w.Stop() })
		<-time.After(10 * time.Second)
		d := w.dispatcher(insightID)
		wantWaiting := func(want int) {
			t.Helper()
			d.mu.Lock()
			defer d.mu.Unlock()
			if got := d.line.Waiting(); got != want {
				t.Errorf("%d agendas wait, want %d", got, want)
			}
		}
		wantWaiting(waiting)
		scanned := w.spent(func() { <-time.After(minutes * time.Minute) })[memdriver.Scan].Items
		if most := minutes*rescanAll + waiting; scanned > most || scanned < most/2 {
			t.Errorf("in %d minutes %d entries are read of %d agendas that wait, want about %d", minutes, scanned, waiting, minutes*rescanAll)
		}

		// Agendas that nobody tells of: one that has come into line just now, and one that has come back to an old place.
		b := &backlog{waiting: waiting}
		appear := func(i int, ready int64) {
			r := b.run(i)
			r.Ready = ready
			rec, err := r.record()
			w.must(err)
			_, err = w.base.Open().Write(w.ctx(), driver.WriteRequest{Groups: []driver.Group{{{Record: rec}}}})
			w.must(err)
		}
		appear(waiting, time.Now().Add(-time.Minute).UnixNano())
		<-time.After(w.Rescan + 2*time.Second)
		wantWaiting(waiting + 1)
		appear(waiting+1, 1)
		<-time.After(5 * w.Rescan)
		wantWaiting(waiting + 2)
	})
}

func TestATakeoverReadsTheLimitsOfItsCustomersFiveHundredAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const idle = 2 * readAtOnce
		w := startBehind(t, 1e3, idle, ownStore())
		t.Cleanup(func() { w.Stop() })
		synctest.Wait()
		got := w.driver.(*memdriver.FaultyStore).Counts()[memdriver.Get]
		// Those that have used something of their quotas, and those whose agendas wait. The insights are found by a scan, and each is read.
		if want := (memdriver.Count{Calls: 2 + 1 + 1, Items: idle + busyCustomers + 1}); got != want {
			t.Errorf("records are read %+v, want %+v", got, want)
		}
	})
}

func TestPassesGoOnWhileSomebodyLooksAtAllCustomers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := startBehind(t, 1e3, 0, ownStore())
		t.Cleanup(func() { w.Stop() })
		synctest.Wait()
		d := w.dispatcher(insightID)
		rest := d.line.Rest
		for name, look := range map[string]func() error{
			"explain":  func() error { _, err := w.Explain(w.ctx(), agendaID((&backlog{}).id(500))); return err },
			"fairness": func() error { _, err := w.Fairness(w.ctx(), insightID, 10); return err },
			"preview": func() error {
				_, err := w.Preview(w.ctx(), insightID, model.PreviewRequest{Customers: map[string]model.Limits{exemplar: {Weight: new(2.0)}}})
				return err
			},
		} {
			others := make(chan struct{}) // had the state
			rested := false
			d.mu.Lock()
			d.line.Rest = func() {
				rested = true
				go func() {
					d.mu.Lock()
					defer d.mu.Unlock()
					close(others)
				}()
				for waiting := true; waiting; {
					rest()
					select {
					case <-others:
						waiting = false
					default:
					}
				}
			}
			d.mu.Unlock()
			if err := look(); err != nil || !rested {
				t.Errorf("%s rests among %d customers: %t, %v", name, busyCustomers, rested, err)
			}
		}
	})
}

// Handing out is measured up to ten million waiting: 64 agendas are scheduled, claimed and handed back, so that as many wait as before.
// Of a thousand, each comes around again while it is remembered from the last time, which saves a read.
func BenchmarkHandingOut64(b *testing.B) {
	for _, size := range []struct{ waiting, idle int }{{1e3, 0}, {1e4, 0}, {1e5, 0}, {1e6, 0}, {1e7, 0}, {1e3, 1e5}, {1e6, 1e5}} {
		b.Run(fmt.Sprintf("waiting=%d/idle=%d", size.waiting, size.idle), func(b *testing.B) {
			w := startBehind(b, size.waiting, size.idle, ownStore())
			b.Cleanup(func() { w.Stop() })
			w.tune(func(v *model.Insight) { v.QueueSize, v.Pause = new(64), nil })
			session := w.session("executor")
			counts := w.driver.(*memdriver.FaultyStore)
			handOut := func() {
				for n := 0; n < 64; {
					got := w.pull(session, 64) // none while ten million are loaded
					reports := make([]model.Report, len(got))
					for i, a := range got {
						reports[i] = model.Report{Lease: a.Lease, SessionID: session, Status: model.Status{State: model.Waiting}}
					}
					results, err := w.Report(w.ctx(), reports)
					w.must(err)
					for _, r := range results {
						if r.Err != nil {
							b.Fatal(r.Err)
						}
					}
					n += len(got)
				}
			}
			handOut() // so that all is loaded
			counts.ResetCounts()
			for b.Loop() {
				handOut()
			}
			c, n := counts.Counts(), float64(b.N)
			b.ReportMetric(float64(c.Calls())/n, "calls/op")
			b.ReportMetric(float64(c[memdriver.Get].Items)/n, "reads/op")
			b.ReportMetric(float64(c[memdriver.Scan].Items)/n, "scanned/op")
			b.ReportMetric(float64(c[memdriver.Write].Items)/n, "writes/op")
		})
	}
}
