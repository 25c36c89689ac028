package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
)

var concurrencyClauses = []storeClause{
	{"of 64 writers that want an absent record exactly one wins", func(t *storeTest) {
		for round := range 5 {
			k := key(fmt.Sprint("k", round))
			var winners atomic.Int64
			var winner atomic.Value
			parallel(64, func(n int) {
				op := ifAbsent(putOp(k, fmt.Sprint("writer ", n)))
				switch res := t.write(driver.Group{op})[0]; {
				case res.Err == nil:
					winners.Add(1)
					winner.Store(string(op.Record.Body))
				case !driver.IsConflict(res.Err):
					t.Errorf("writer %d: %v", n, res.Err)
				}
			})
			if winners.Load() != 1 {
				t.Fatalf("%d writers won", winners.Load())
			}
			t.wantBody(k, winner.Load().(string))
		}
	}},
	{"no update of 64 writers is lost", func(t *storeTest) {
		t.put(key("n"), "0")
		parallel(64, func(int) { t.increment(key("n")) })
		t.wantBody(key("n"), "64")
	}},
	{"no update of a group is lost, nor half of one", func(t *storeTest) {
		if t.caps.MaxGroupOps < 2 { // then it is as good as two records written one by one
			t.put(key("a"), "0")
			parallel(8, func(int) { t.increment(key("a")) })
			t.wantBody(key("a"), "8")
			return
		}
		t.put(key("a"), "0")
		t.put(key("b"), "0")
		parallel(8, func(int) {
			for range 4 {
				t.increment(key("a"), key("b"))
			}
		})
		t.wantBody(key("a"), "32")
		t.wantBody(key("b"), "32")
	}},
	{"a reader never sees less than what was acknowledged before", func(t *storeTest) {
		t.put(key("n"), "0")
		var acked atomic.Int64
		var reads [5]atomic.Int64 // of each reader, from 1
		var done atomic.Bool
		enough := func() bool {
			for i := 1; i < len(reads); i++ {
				if reads[i].Load() < 20 {
					return false
				}
			}
			return true
		}
		parallel(5, func(n int) {
			if n == 0 {
				defer done.Store(true) // also if a write fails, for the readers to end
				end := time.Now().Add(patience)
				for i := int64(1); i <= 200 || !enough() && time.Now().Before(end); i++ {
					t.put(key("n"), strconv.FormatInt(i, 10))
					acked.Store(i)
				}
				return
			}
			for ; !done.Load(); reads[n].Add(1) {
				before := acked.Load()
				var body string
				if n%2 == 0 {
					body = bodyOf(t.get(key("n"))[0])
				} else if all := t.scan(driver.ScanRequest{Kind: kind, Part: part}); len(all) > 0 {
					body = string(all[0].Body)
				}
				if got, err := strconv.ParseInt(body, 10, 64); err != nil || got < before {
					t.Errorf("read %q after %d was acknowledged", body, before)
					return
				}
			}
		})
	}},
	{"all methods may be called at once", func(t *storeTest) {
		parallel(16, func(n int) {
			for i, k := range numbers(fmt.Sprint("w", n, "-"), 10) {
				v := t.put(k, k.Sort, entry("all", k.Sort))
				t.wantBody(k, k.Sort)
				t.page(driver.ScanRequest{Kind: kind, Part: part, From: k.Sort, Limit: 3})
				t.page(driver.ScanRequest{Kind: kind, Index: index, Part: "all", From: k.Sort, Limit: 5, Reverse: true})
				if i == 0 {
					t.migrate(false)
				}
				if i%2 == 0 {
					t.apply(ifVersion(deleteOp(k), v))
				}
			}
		})
		if got := len(t.scan(driver.ScanRequest{Kind: kind, Part: part})); got != 80 {
			t.Errorf("%d records, want 80", got)
		}
	}},
	{"a scan under concurrent writes misses nothing old and repeats nothing", func(t *storeTest) {
		old := numbers("k", 200)
		t.putAll(old)
		var writes atomic.Int64
		done := make(chan struct{})
		var writers sync.WaitGroup
		defer writers.Wait()
		defer close(done)
		for n := range 4 {
			writers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
						k := key(fmt.Sprintf("k%06d+%d", (i*37+n)%200, n))
						t.put(k, "x")
						t.apply(deleteOp(k))
						writes.Add(1)
					}
				}
			})
		}
		// Scans count that somebody wrote during: a fast store is through with many before a busy machine lets anyone write.
		end := time.Now().Add(patience)
		for scans := 0; scans < 10 && !t.Failed() && time.Now().Before(end); {
			before := writes.Load()
			seen := map[string]bool{}
			for _, r := range t.scan(driver.ScanRequest{Kind: kind, Part: part, Limit: 20}) {
				if seen[r.Key.Sort] {
					t.Errorf("%q was returned twice", r.Key.Sort)
				}
				seen[r.Key.Sort] = true
			}
			for _, k := range old {
				if !seen[k.Sort] {
					t.Errorf("%q was not returned", k.Sort)
				}
			}
			if writes.Load() > before {
				scans++
			}
		}
	}},
}

// parallel runs f n times at once. A Fatal in f ends that f alone; the test fails all the same.
func parallel(n int, f func(n int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// increment adds one to the numbers in the records with the keys, by a group with the versions that it read.
func (t *storeTest) increment(keys ...driver.Key) {
	for !t.Failed() {
		var group driver.Group
		for _, r := range t.get(keys...) {
			n, err := strconv.Atoi(bodyOf(r))
			if err != nil {
				t.Errorf("the record is %+v", r)
				return
			}
			group = append(group, ifVersion(putOp(r.Key, strconv.Itoa(n+1)), r.Version))
		}
		switch res := t.write(group)[0]; {
		case res.Err == nil:
			return
		case !driver.IsConflict(res.Err):
			t.Errorf("Write: %v", res.Err)
			return
		}
	}
}

var storeLifeClauses = []storeClause{
	{"Migrate is idempotent and keeps the data", func(t *storeTest) {
		v := t.put(key("a"), "x", entry("ip", "1"))
		for range 10 {
			if steps := t.migrate(false); len(steps) > 0 {
				t.Fatalf("a store that was migrated takes the steps %q", steps)
			}
		}
		t.wantRecord(t.get(key("a"))[0], driver.Record{
			Key: key("a"), Version: v, Body: []byte("x"), Index: []driver.IndexEntry{entry("ip", "1")},
		})
		t.wantIndex(inIndex("ip"), "a")
	}},
	{"Migrate with DryRun says what Migrate would do and does nothing", func(t *storeTest) {
		fresh := newStoreTest(t.T, t.harness)
		would, still := fresh.migrate(true), fresh.migrate(true)
		if diff := cmp.Diff(would, still); diff != "" {
			t.Errorf("steps of the second dry run:\n%s", diff)
		}
		if diff := cmp.Diff(would, fresh.migrate(false)); diff != "" {
			t.Errorf("steps that were taken:\n%s", diff)
		}
		if steps := fresh.migrate(true); len(steps) > 0 {
			t.Errorf("a dry run on a store that was migrated would take the steps %q", steps)
		}
		fresh.put(key("a"), "x")
		if err := fresh.store.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}},
	{"Migrate adds kinds and indexes to what is there", func(t *storeTest) {
		t.put(key("a"), "x", entry("ip", "1"))
		more := driver.Schema{Kinds: []driver.KindSchema{
			{Kind: kind, Indexes: []string{index, index2, "three"}},
			{Kind: otherKind, Indexes: []string{index}},
			{Kind: "gamma", Indexes: []string{index}},
		}}
		if _, err := t.store.Migrate(t.Context(), driver.MigrateRequest{Schema: more}); err != nil {
			t.Fatal(err)
		}
		t.put(key("b"), "x", driver.IndexEntry{Index: "three", Part: "ip", Sort: "1"})
		t.put(driver.Key{Kind: "gamma", Part: part, Sort: "c"}, "x", entry("ip", "1"))
		t.wantBody(key("a"), "x")
		t.wantIndex(inIndex("ip"), "a")
		t.wantIndex(driver.ScanRequest{Kind: kind, Index: "three", Part: "ip"}, "b")
		t.wantIndex(driver.ScanRequest{Kind: "gamma", Index: index, Part: "ip"}, "c")
	}},
	{"a context that is done stops every method before it does anything", func(t *storeTest) {
		t.put(key("a"), "x")
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		for ctx, want := range map[context.Context]error{cancelled: context.Canceled, late: context.DeadlineExceeded} {
			for method, err := range t.callAll(ctx) {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", method, err, want)
				}
			}
		}
		t.wantBody(key("a"), "x")
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part}, "a")
	}},
	{"after Close every method is Unavailable, and Close is idempotent", func(t *storeTest) {
		for range 10 {
			if err := t.store.Close(t.Context()); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		for method, err := range t.callAll(t.Context()) {
			t.wantCode(method, err, driver.Unavailable)
		}
		if got, err := t.store.Capabilities(t.Context()); err != nil || got != t.caps {
			t.Errorf("Capabilities: %+v, %v", got, err)
		}
	}},
	{"Close during calls lets them end or makes them Unavailable", func(t *storeTest) {
		var w cutWrites
		w.writeUntil(t, "k", func() {
			if err := t.store.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		for _, made := range w.made {
			if made.err != nil && driver.CodeOf(made.err) != driver.Unavailable {
				t.Errorf("Write: %v, want unavailable", made.err)
			}
		}
		if !t.harness.Volatile {
			t.reopen()
			w.check(t)
		}
	}},
	{"acknowledged writes are there after a restart, unless the store is declared volatile", func(t *storeTest) {
		if t.harness.Volatile != (t.fixture.Reopen == nil) {
			t.Fatal("the harness must either say that its stores are volatile or give fixtures with Reopen")
		}
		if t.harness.Volatile {
			return
		}
		a := putOp(key("a"), "x", entry("ip", "1"))
		a.Record.ExpireAt = t.now().Add(time.Hour)
		a.Record.Version = t.apply(a)[0]
		stale := t.put(key("b"), "1")
		b := t.put(key("b"), "2")
		gone := t.put(key("c"), "x", entry("ip", "2"))
		t.apply(deleteOp(key("c")))
		parallel(16, func(n int) { t.put(driver.Key{Kind: kind, Part: "many", Sort: fmt.Sprintf("%02d", n)}, "x") })

		for range 3 {
			t.reopen()
			t.wantRecord(t.get(key("a"))[0], a.Record)
			t.wantScan(driver.ScanRequest{Kind: kind, Part: part}, "a", "b")
			t.wantIndex(inIndex("ip"), "a")
			if got := len(t.scan(driver.ScanRequest{Kind: kind, Part: "many"})); got != 16 {
				t.Errorf("%d of 16 concurrent writes are left", got)
			}
			t.conflict(ifVersion(putOp(key("b"), "lost"), stale))
			t.conflict(ifVersion(putOp(key("c"), "lost"), gone))
			old := b
			b = t.apply(ifVersion(putOp(key("b"), "3"), b))[0]
			t.conflict(ifVersion(putOp(key("b"), "lost"), old))
			again := t.put(key("c"), "x")
			if again == gone || b == stale {
				t.Error("a version was issued again after a restart")
			}
			gone = again
			t.apply(deleteOp(key("c")))
		}
	}},
}

// callAll calls every method that does work and returns their errors.
func (t *storeTest) callAll(ctx context.Context) map[string]error {
	errs := map[string]error{}
	_, errs["Migrate"] = t.store.Migrate(ctx, driver.MigrateRequest{Schema: schema})
	_, errs["Get"] = t.store.Get(ctx, driver.GetRequest{Keys: []driver.Key{key("a")}})
	_, errs["Scan"] = t.store.Scan(ctx, driver.ScanRequest{Kind: kind, Part: part})
	_, errs["Scan of an index"] = t.store.Scan(ctx, driver.ScanRequest{Kind: kind, Index: index, Part: part})
	_, errs["Write"] = t.store.Write(ctx, driver.WriteRequest{Groups: []driver.Group{{putOp(key("new"), "y")}}})
	return errs
}
