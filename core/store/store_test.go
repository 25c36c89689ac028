package store

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

const kind driver.Kind = "thing"

func open(t *testing.T, o memdriver.StoreOptions, hook func(memdriver.Call) memdriver.Fault) (*Store, *memdriver.FaultyStore) {
	t.Helper()
	faulty := memdriver.NewFaultyStore(memdriver.NewStore(o), hook)
	s, err := Open(t.Context(), faulty, driver.Schema{Kinds: []driver.KindSchema{{Kind: kind}}})
	if err != nil {
		t.Fatal(err)
	}
	return s, faulty
}

func put(sort string) driver.Op {
	return driver.Op{Type: driver.Put, Record: driver.Record{Key: driver.Key{Kind: kind, Part: "p", Sort: sort}}}
}

// firstCalls fails the first n calls of a method.
func firstCalls(method memdriver.Method, n int, fault memdriver.Fault) func(memdriver.Call) memdriver.Fault {
	return func(c memdriver.Call) memdriver.Fault {
		if c.Method == method && c.N < n {
			return fault
		}
		return memdriver.Fault{}
	}
}

func TestCallsThatChangedNothingAreTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method memdriver.Method
		fault  memdriver.Fault
		calls  int
		fails  bool
	}{
		"a throttled write":                {memdriver.Write, memdriver.Throttled(time.Second), 3, false},
		"an unavailable read":              {memdriver.Get, memdriver.Unavailable(), 3, false},
		"a write whose outcome is unknown": {memdriver.Write, memdriver.LostReply(), 1, true},
		"an invalid scan":                  {memdriver.Scan, memdriver.Fault{Err: driver.Errorf(driver.Invalid, "scan", "no")}, 1, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			s, faulty := open(t, memdriver.StoreOptions{}, firstCalls(c.method, 2, c.fault))
			var err error
			switch c.method {
			case memdriver.Write:
				_, err = s.WriteOne(t.Context(), put("a"))
			case memdriver.Get:
				_, err = s.GetOne(t.Context(), put("a").Record.Key)
			default:
				_, err = s.Page(t.Context(), driver.ScanRequest{Kind: kind, Part: "p"})
			}
			if (err != nil) != c.fails {
				t.Errorf("%s: error %v", name, err)
			}
			if got := faulty.Counts()[c.method].Calls; got != c.calls {
				t.Errorf("%s: %d calls, want %d", name, got, c.calls)
			}
		})
	}
}

func TestOnlyTheGroupsThatWereThrottledAreTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, memdriver.StoreOptions{}, func(c memdriver.Call) memdriver.Fault {
			return memdriver.Fault{Each: func(i int) memdriver.Fault {
				if c.Method == memdriver.Write && c.N == 0 && i != 1 {
					return memdriver.Throttled(time.Second)
				}
				return memdriver.Fault{}
			}}
		})
		results, err := s.Write(t.Context(), driver.Group{put("a")}, driver.Group{put("b")}, driver.Group{put("c")})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil || len(r.Versions) != 1 {
				t.Errorf("group %d: %+v", i, r)
			}
		}
		if calls := s.Calls(); calls.Write != 2 || calls.Groups != 3+2 {
			t.Errorf("%+v: want two calls, the second with the two that were throttled", calls)
		}
	})
}

func TestThereIsAnEndToTryingAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _ := open(t, memdriver.StoreOptions{}, firstCalls(memdriver.Write, 100, memdriver.Unavailable()))
		if _, err := s.WriteOne(t.Context(), put("a")); driver.CodeOf(err) != driver.Unavailable {
			t.Errorf("error %v", err)
		}
	})
}

func TestScanGoesThroughAllPages(t *testing.T) {
	t.Parallel()
	s, _ := open(t, memdriver.StoreOptions{Capabilities: memdriver.LeastStore(), ShortPages: true}, nil)
	for i := range 40 {
		if _, err := s.WriteOne(t.Context(), put(fmt.Sprintf("%02d", i))); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for r, err := range s.Scan(t.Context(), driver.ScanRequest{Kind: kind, Part: "p"}) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%02d", n); r.Key.Sort != want {
			t.Fatalf("record %s, want %s", r.Key.Sort, want)
		}
		n++
	}
	if n != 40 {
		t.Errorf("%d records, want 40", n)
	}
}

func TestAStoreSaysHowItWasMade(t *testing.T) {
	t.Parallel()
	data := memdriver.NewStore(memdriver.StoreOptions{})
	schema := driver.Schema{Kinds: []driver.KindSchema{{Kind: kind}}}
	for _, steps := range []int{1, 0} { // the second time there is nothing to do
		s, err := Open(t.Context(), data, schema)
		if err != nil || len(s.Steps()) != steps {
			t.Errorf("%v, %v: want %d steps", s.Steps(), err, steps)
		}
	}
}

func TestADriverThatTakesTooSmallRecordsIsRefused(t *testing.T) {
	t.Parallel()
	caps := memdriver.FullStore()
	caps.MaxRecordBytes = minRecordBytes - 1
	if _, err := Open(t.Context(), memdriver.NewStore(memdriver.StoreOptions{Capabilities: caps}), driver.Schema{}); err == nil {
		t.Error("want an error")
	}
}
