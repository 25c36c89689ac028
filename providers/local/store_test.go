package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

func harness() drivertest.StoreHarness {
	return drivertest.StoreHarness{
		Capabilities: capabilities,
		Open: func(t *testing.T) drivertest.StoreFixture {
			dir := t.TempDir()
			clock := drivertest.NewClock(time.Now())
			open := func(t *testing.T) driver.Store {
				return openTest(t, StoreOptions{Dir: dir, Now: clock.Now})
			}
			return drivertest.StoreFixture{Store: open(t), Reopen: open, Clock: clock}
		},
	}
}

// openTest opens a store and closes it at the end of the test.
func openTest(t *testing.T, opts StoreOptions) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStoreConforms(t *testing.T) { drivertest.RunStore(t, harness()) }

func TestStoreBehavesLikeTheModel(t *testing.T) { drivertest.RunStoreModel(t, harness()) }

// churned writes its tables and merges them again and again, where index entries that come and go meet on disk.
type churned struct {
	*Store
	t      *testing.T
	writes atomic.Int64
}

func (s *churned) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	n := s.writes.Add(1)
	if n%3 == 0 {
		if err := s.db.Flush(); err != nil {
			s.t.Error(err)
		}
	}
	if n%30 == 0 {
		if err := s.db.Compact(ctx, []byte{0}, []byte{0xff}, false); err != nil {
			s.t.Error(err)
		}
	}
	return s.Store.Write(ctx, req)
}

func TestStoreBehavesLikeTheModelWhileItsTablesAreWrittenAndMerged(t *testing.T) {
	h := harness()
	h.Open = func(t *testing.T) drivertest.StoreFixture {
		clock := drivertest.NewClock(time.Now())
		s, err := openStore(t.Context(), StoreOptions{Dir: "/data", Now: clock.Now}, vfs.NewMem())
		if err != nil {
			t.Fatal(err)
		}
		return drivertest.StoreFixture{Store: &churned{Store: s, t: t}, Clock: clock}
	}
	drivertest.RunStoreModel(t, h)
}

func TestAnIndexEntryKeptThroughRewritesIsGoneOnceItIsTakenAway(t *testing.T) {
	t.Parallel()
	s := openOn(t, vfs.NewMem(), StoreOptions{})
	defer s.Close(t.Context())
	stays := driver.IndexEntry{Index: "i", Part: "p", Sort: "s"}
	moves := func(sort string) driver.IndexEntry { return driver.IndexEntry{Index: "j", Part: "p", Sort: sort} }
	for _, entries := range [][]driver.IndexEntry{{stays, moves("1")}, {stays, moves("2")}, {moves("3"), stays}, {}} {
		rec := driver.Record{Key: plainKey("a"), Index: entries}
		if _, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{{Record: rec}}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.db.Flush(); err != nil { // so that each state is in a table of its own
			t.Fatal(err)
		}
	}
	if err := s.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false); err != nil {
		t.Fatal(err)
	}
	if keys := rawKeys(t, s); len(keys) != 1 {
		t.Errorf("the keys are %s", keys)
	}
}

// rawKeys returns the keys in the engine, without the meta table.
func rawKeys(t *testing.T, s *Store) []string {
	t.Helper()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableRecord}})
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	var keys []string
	for ok := it.First(); ok; ok = it.Next() {
		keys = append(keys, fmt.Sprintf("%q", it.Key()))
	}
	return keys
}

func TestExpiredRecordsGoWithTheirIndexEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openOn(t, vfs.NewMem(), StoreOptions{})
		defer s.Close(t.Context())
		put := func(sort string, expireIn time.Duration) {
			t.Helper()
			rec := driver.Record{Key: plainKey(sort), Index: []driver.IndexEntry{{Index: "i", Part: "p", Sort: sort}}}
			if expireIn > 0 {
				rec.ExpireAt = time.Now().Add(expireIn)
			}
			resp, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{{Record: rec}}}})
			if err != nil || resp.Results[0].Err != nil {
				t.Fatal(err, resp)
			}
		}
		want := func(when string, n int) {
			t.Helper()
			if keys := rawKeys(t, s); len(keys) != n {
				t.Errorf("%s there are %d keys, want %d:\n%s", when, len(keys), n, strings.Join(keys, "\n"))
			}
		}
		for i := range 2*sweepBatch + 10 {
			put(fmt.Sprintf("short%04d", i), 10*time.Second)
		}
		put("again", 10*time.Second)
		put("again", 10*time.Minute)
		put("forever", 10*time.Second)
		put("forever", 0)
		put("long", 10*time.Minute)
		want("before they expire", 3*(2*sweepBatch+10)+3+2+3)
		<-time.After(sweepInterval + time.Second)
		synctest.Wait()
		want("after a sweep", 3+2+3)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		want("after all sweeps", 2)
	})
}

func TestARecordWrittenAnewSinceItWasFoundDueStays(t *testing.T) {
	t.Parallel()
	clock := drivertest.NewClock(time.Now())
	s := openOn(t, vfs.NewMem(), StoreOptions{Now: clock.Now})
	defer s.Close(t.Context())
	rec := driver.Record{Key: plainKey("a"), ExpireAt: clock.Now().Add(time.Second)}
	if _, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{{Record: rec}}}}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Minute)
	due, err := s.due(s.catalog.Load())
	if err != nil || len(due) != 1 {
		t.Fatal(due, err)
	}
	if err := putPlain(t.Context(), s, "a", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.commit("", s.catalog.Load(), func(e *evaluator) { e.expire(due[0]) }); err != nil {
		t.Fatal(err)
	}
	if body, err := getPlain(t.Context(), s, "a"); body != "new" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

func TestDamagedDataIsCorruptAndNeverReturned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openTest(t, StoreOptions{Dir: dir})
	if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: plainSchema}); err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("the body ", 100)
	for i := range 1000 {
		if err := putPlain(t.Context(), s, fmt.Sprint(i), []byte(fmt.Sprint(body, i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, path := range tables {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i := range len(text) / 2 {
			text[i] ^= 0x5a
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err = OpenStore(t.Context(), StoreOptions{Dir: dir})
	if err == nil {
		defer s.Close(t.Context())
		for i := range 1000 {
			if got, err2 := getPlain(t.Context(), s, fmt.Sprint(i)); err2 != nil {
				err = err2
			} else if got != fmt.Sprint(body, i) {
				t.Fatalf("record %d reads %.20q", i, got)
			}
		}
	}
	if driver.CodeOf(err) != driver.Corrupt {
		t.Errorf("error %v, want corrupt", err)
	}
}

func TestAValueThatCannotBeDecodedIsCorruptAndCannotBeOverwritten(t *testing.T) {
	t.Parallel()
	for name, value := range map[string][]byte{
		"empty":                 {},
		"cut in the header":     {1, 0},
		"cut in the index":      {1, 0, 9, 1},
		"cut in an index entry": {1, 0, 3, 1, 9, 'x'},
		"of an unknown index":   {1, 0, 5, 77, 1, 'p', 1, 's'},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openOn(t, vfs.NewMem(), StoreOptions{})
			defer s.Close(t.Context())
			key := appendRecordKey(nil, s.catalog.Load().Kinds["k"].ID, plainKey("a"))
			if err := s.db.Set(key, value, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			if _, err := getPlain(t.Context(), s, "a"); driver.CodeOf(err) != driver.Corrupt {
				t.Errorf("Get: %v, want corrupt", err)
			}
			if _, err := s.Scan(t.Context(), driver.ScanRequest{Kind: "k", Part: "p"}); driver.CodeOf(err) != driver.Corrupt {
				t.Errorf("Scan: %v, want corrupt", err)
			}
			if name == "of an unknown index" {
				return // nothing is lost by overwriting it
			}
			if err := putPlain(t.Context(), s, "a", nil); driver.CodeOf(err) != driver.Corrupt {
				t.Errorf("Write: %v, want corrupt", err)
			}
			if err := putPlain(t.Context(), s, "b", nil); err != nil {
				t.Errorf("Write of another record: %v", err)
			}
		})
	}
}

func TestDataOfANewerProgramIsRefused(t *testing.T) {
	t.Parallel()
	disk := vfs.NewMem()
	s := openOn(t, disk, StoreOptions{})
	if err := s.db.Set(metaLayout, []byte("2"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := openStore(t.Context(), StoreOptions{Dir: "/data"}, disk)
	if driver.CodeOf(err) != driver.Unsupported || !strings.Contains(err.Error(), `layout "2"`) {
		t.Errorf("error %v", err)
	}
}
