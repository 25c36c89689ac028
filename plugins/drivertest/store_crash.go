package drivertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// Clauses about calls that are cut short, and about more than one process.
var storeCrashClauses = []storeClause{
	{"a context that ends during a Write leaves it done or not done", func(t *storeTest) {
		var w cutWrites
		for i := range 60 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*30*time.Microsecond)
			w.write(ctx, t, fmt.Sprintf("k%02d", i))
			cancel()
		}
		w.check(t)
		t.put(key("after"), "x")
		t.wantBody(key("after"), "x")
	}},
	{"acknowledged writes survive kill -9, and no group is half done", func(t *storeTest) {
		if t.fixture.Kill == nil || t.harness.Volatile {
			return
		}
		var w cutWrites
		for round := range 3 {
			w.writeUntil(t, fmt.Sprint("k", round), func() { t.fixture.Kill(t.T) })
			_ = t.store.Close(t.Context())
			t.store = t.fixture.Reopen(t.T)
			t.migrate(false)
			if w.check(t); t.Failed() {
				return
			}
		}
	}},
	{"a schema that an earlier process migrated holds", func(t *storeTest) {
		if t.harness.Volatile {
			return
		}
		t.put(key("a"), "x", entry("ip", "1"))
		if err := t.store.Close(t.Context()); err != nil {
			t.Fatalf("Close: %v", err)
		}
		t.store = t.fixture.Reopen(t.T)
		t.wantBody(key("a"), "x")
		t.put(key("b"), "x", entry("ip", "2"))
		t.wantIndex(inIndex("ip"), "a", "b")
	}},
	{"processes that share the data exclude each other, if that is declared", func(t *storeTest) {
		if !t.caps.Shared || t.harness.Volatile {
			return
		}
		other := *t
		other.store = t.fixture.Reopen(t.T)
		other.migrate(false)
		t.put(key("n"), "0")
		handles := []*storeTest{t, &other}
		parallel(8, func(n int) {
			for i := range 8 {
				handles[(n+i)%2].increment(key("n"))
			}
		})
		for _, h := range handles {
			h.wantBody(key("n"), "64")
		}
		for i, h := range handles {
			body := fmt.Sprint("of handle ", i)
			h.put(key("n"), body)
			handles[1-i].wantBody(key("n"), body)
		}
		if err := other.store.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		t.wantBody(key("n"), "of handle 1")
	}},
}

// cutWrites are writes of new records that may be cut short.
type cutWrites struct {
	mu   sync.Mutex
	made []cutWrite
}

// cutWrite is a group of records with the same body, and what became of it.
type cutWrite struct {
	keys []driver.Key
	err  error
}

// write writes a group of new records, as large as the store allows up to three, and reports whether it was acknowledged.
func (w *cutWrites) write(ctx context.Context, t *storeTest, name string) bool {
	var made cutWrite
	var group driver.Group
	for i := range min(3, t.caps.MaxGroupOps) {
		k := key(fmt.Sprint(name, "/", i))
		made.keys = append(made.keys, k)
		group = append(group, ifAbsent(putOp(k, name)))
	}
	resp, err := t.store.Write(ctx, driver.WriteRequest{Groups: []driver.Group{group}})
	if err == nil {
		err = resp.Results[0].Err
	}
	made.err = err
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made = append(w.made, made)
	return err == nil
}

// writeUntil makes writes at once until they fail, or some more after end has returned. It calls end in the middle of them.
func (w *cutWrites) writeUntil(t *storeTest, name string, end func()) {
	t.Helper()
	const writers, enough = 4, 20
	acked := make(chan struct{}, enough)
	var ended atomic.Bool
	var writing sync.WaitGroup
	for n := range writers {
		writing.Go(func() {
			more := 10
			for i := 0; more > 0 && w.write(t.Context(), t, fmt.Sprintf("%s-%d-%06d", name, n, i)); i++ {
				if ended.Load() {
					more--
				}
				select {
				case acked <- struct{}{}:
				default:
				}
			}
		})
	}
	patient := time.After(patience)
	for n := 0; n < enough; n++ {
		select {
		case <-acked:
		case <-patient:
			t.Errorf("fewer than %d writes in %s", enough, patience)
			n = enough
		}
	}
	end()
	ended.Store(true)
	writing.Wait()
}

// check looks at what became of all writes.
func (w *cutWrites) check(t *storeTest) {
	t.Helper()
	for _, made := range w.made {
		records := t.get(made.keys...)
		there := 0
		for _, r := range records {
			if r != nil {
				there++
			}
		}
		switch all := len(made.keys); {
		case there != 0 && there != all:
			t.Errorf("%d of the %d records of the group %q are there", there, all, made.keys[0].Sort)
		case made.err == nil && there == 0:
			t.Errorf("the group %q was acknowledged and is lost", made.keys[0].Sort)
		case made.err != nil && there != 0 && driver.OutcomeOf(made.err) == driver.NotApplied:
			t.Errorf("the group %q is there, but its error says that it was not applied: %v", made.keys[0].Sort, made.err)
		}
	}
	want := 0
	for _, made := range w.made {
		if r := t.get(made.keys[0])[0]; r != nil {
			want += len(made.keys)
		}
	}
	found := t.scan(driver.ScanRequest{Kind: kind, Part: part})
	if len(found) != want || !slices.IsSorted(sortsOf(found)) {
		t.Errorf("Get finds %d records and Scan %d", want, len(found))
	}
}
