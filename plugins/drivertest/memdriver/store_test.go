package memdriver_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// clock is a clock that only tests move.
type clock struct{ now time.Time }

func newClock() *clock               { return &clock{now: time.Unix(1_000_000, 0)} }
func (c *clock) Now() time.Time      { return c.now }
func (c *clock) add(d time.Duration) { c.now = c.now.Add(d) }

var schema = driver.Schema{Kinds: []driver.KindSchema{{Kind: "k", Indexes: []string{"i"}}}}

func newStore(t *testing.T, opts memdriver.StoreOptions) *memdriver.Store {
	t.Helper()
	s := memdriver.NewStore(opts)
	if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: schema}); err != nil {
		t.Fatal(err)
	}
	return s
}

// put writes the record "p"/sort with sort in the index as well.
func put(t *testing.T, s driver.Store, sort string, expireAt time.Time) driver.WriteResult {
	t.Helper()
	resp, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{{Record: driver.Record{
		Key:      driver.Key{Kind: "k", Part: "p", Sort: sort},
		Index:    []driver.IndexEntry{{Index: "i", Part: "x", Sort: sort}},
		ExpireAt: expireAt,
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	return resp.Results[0]
}

// scan returns the Sorts of a whole range, and the length of each page of it.
func scan(t *testing.T, s driver.Store, req driver.ScanRequest) (sorts []string, pages []int) {
	t.Helper()
	for {
		resp, err := s.Scan(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resp.Records {
			sorts = append(sorts, r.Key.Sort)
		}
		pages = append(pages, len(resp.Records))
		if req.Cursor = resp.Next; req.Cursor == "" {
			return sorts, pages
		}
	}
}

func scanIndex(t *testing.T, s driver.Store) []string {
	t.Helper()
	sorts, _ := scan(t, s, driver.ScanRequest{Kind: "k", Index: "i", Part: "x"})
	return sorts
}

func TestLaggingIndexShowsThePast(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newStore(t, memdriver.StoreOptions{Now: c.Now, IndexLag: 10 * time.Second})
	put(t, s, "a", time.Time{})
	c.add(5 * time.Second)
	put(t, s, "b", time.Time{})
	if got := scanIndex(t, s); got != nil {
		t.Errorf("before the lag has passed: %v, want nothing", got)
	}
	c.add(5 * time.Second)
	if diff := cmp.Diff([]string{"a"}, scanIndex(t, s)); diff != "" {
		t.Errorf("after the lag of the first write:\n%s", diff)
	}
	if sorts, _ := scan(t, s, driver.ScanRequest{Kind: "k", Part: "p"}); len(sorts) != 2 {
		t.Errorf("scan of the primary key: %v, want both records", sorts)
	}
	s.Settle()
	if diff := cmp.Diff([]string{"a", "b"}, scanIndex(t, s)); diff != "" {
		t.Errorf("after Settle:\n%s", diff)
	}
	caps, err := s.Capabilities(t.Context())
	if err != nil || caps.FreshIndexes {
		t.Errorf("FreshIndexes = %v, %v, want false", caps.FreshIndexes, err)
	}
}

func TestIndexUntilSettledShowsDeletedRecords(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newStore(t, memdriver.StoreOptions{Now: c.Now, IndexLag: memdriver.UntilSettled})
	put(t, s, "a", time.Time{})
	s.Settle()
	if _, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{{
		Type: driver.Delete, Record: driver.Record{Key: driver.Key{Kind: "k", Part: "p", Sort: "a"}},
	}}}}); err != nil {
		t.Fatal(err)
	}
	c.add(24 * time.Hour)
	if diff := cmp.Diff([]string{"a"}, scanIndex(t, s)); diff != "" {
		t.Errorf("before Settle:\n%s", diff)
	}
	s.Settle()
	if got := scanIndex(t, s); got != nil {
		t.Errorf("after Settle: %v, want nothing", got)
	}
}

func TestShortPagesReturnTheWholeRange(t *testing.T) {
	t.Parallel()
	s := newStore(t, memdriver.StoreOptions{ShortPages: true})
	var want []string
	for i := range 7 {
		want = append(want, fmt.Sprint(i))
		put(t, s, want[i], time.Time{})
	}
	for _, reverse := range []bool{false, true} {
		for _, index := range []string{"", "i"} {
			req := driver.ScanRequest{Kind: "k", Index: index, Part: "p", Limit: 4, Reverse: reverse}
			if index != "" {
				req.Part = "x"
			}
			got, pages := scan(t, s, req)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("reverse %v, index %q:\n%s", reverse, index, diff)
			}
			if diff := cmp.Diff([]int{0, 2, 2, 2, 1}, pages); diff != "" {
				t.Errorf("reverse %v, index %q: lengths of pages:\n%s", reverse, index, diff)
			}
		}
		slices.Reverse(want)
	}
}

func TestExpiredRecordsAreRemovedInTime(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newStore(t, memdriver.StoreOptions{Now: c.Now})
	for i := range 500 {
		put(t, s, fmt.Sprint("mortal", i), c.now.Add(time.Minute))
	}
	c.add(time.Minute)
	if got := scanIndex(t, s); got != nil {
		t.Errorf("expired records in the index: %v", got)
	}
	for range 2000 {
		put(t, s, "again", time.Time{})
	}
	if s.Len() != 1 {
		t.Errorf("%d records are left, want 1", s.Len())
	}
}

func TestHandlesShareTheirData(t *testing.T) {
	t.Parallel()
	first := newStore(t, memdriver.StoreOptions{})
	second := first.Open()
	put(t, first, "a", time.Time{})
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, scanIndex(t, second)); diff != "" {
		t.Error(diff)
	}
	if _, err := first.Get(t.Context(), driver.GetRequest{}); driver.CodeOf(err) != driver.Unavailable {
		t.Errorf("Get of the closed handle: %v, want unavailable", err)
	}
}
