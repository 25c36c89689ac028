package drivertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// RunStoreModel makes random calls to a store and to the reference driver and compares what they answer. A failure is
// shrunk to the fewest calls that show it.
func RunStoreModel(t *testing.T, h StoreHarness) {
	t.Run(storeSuite.name, func(t *testing.T) {
		t.Run("random calls are answered as the reference driver answers them", func(t *testing.T) { checkStoreModel(t, h) })
	})
}

func checkStoreModel(t *testing.T, h StoreHarness) {
	s := begin(t, newStoreTest(t, h))
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		m := &modelTest{T: rt, store: s, name: fmt.Sprint("run", run), issued: map[driver.Key][]issued{}}
		m.reference = memdriver.NewStore(memdriver.StoreOptions{
			Now: s.now,
			Capabilities: driver.StoreCapabilities{
				MaxRecordBytes: 64, MaxGroupOps: s.caps.MaxGroupOps, MaxScanLimit: s.caps.MaxScanLimit,
				ReturnsCurrent: true,
			},
		})
		if _, err := m.reference.Migrate(t.Context(), driver.MigrateRequest{Schema: schema}); err != nil {
			rt.Fatal(err)
		}
		rt.Repeat(map[string]func(*rapid.T){"write": m.write, "get": m.get, "scan": m.scan, "": m.compareAll})
	})
}

// modelTest is one sequence of calls. The store under test is shared by all sequences: each has parts of its own.
type modelTest struct {
	*rapid.T
	store     *storeTest
	reference *memdriver.Store
	name      string
	issued    map[driver.Key][]issued
}

// issued is a version as the reference and the store under test call it.
type issued struct{ reference, store driver.Version }

func (m *modelTest) part(rt *rapid.T) string {
	return m.name + rapid.SampledFrom([]string{"", "a", "/é"}).Draw(rt, "part")
}

func (m *modelTest) sort(rt *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"a", "A", "aa", "b", "é", "\uffff", "\U00010000"}).Draw(rt, label)
}

func (m *modelTest) key(rt *rapid.T) driver.Key {
	return driver.Key{
		Kind: rapid.SampledFrom([]driver.Kind{kind, kind, otherKind}).Draw(rt, "kind"),
		Part: m.part(rt),
		Sort: m.sort(rt, "sort"),
	}
}

// write makes a call to Write with random groups.
func (m *modelTest) write(rt *rapid.T) {
	var ours, theirs driver.WriteRequest // of the store under test and of the reference
	for range rapid.IntRange(1, 4).Draw(rt, "groups") {
		var our, their driver.Group
		for range rapid.IntRange(1, min(4, m.store.caps.MaxGroupOps)).Draw(rt, "operations") {
			op := driver.Op{Type: driver.OpType(rapid.IntRange(0, 2).Draw(rt, "type")), Record: driver.Record{Key: m.key(rt)}}
			if op.Type == driver.Put {
				op.Record = m.record(rt, op.Record.Key)
			}
			op.Cond = driver.Cond(rapid.IntRange(0, 2).Draw(rt, "condition"))
			their = append(their, op)
			our = append(our, op)
			if op.Cond == driver.IfVersion {
				// The later the version was issued the more likely it is the current one.
				known := append([]issued{{}}, m.issued[op.Record.Key]...)
				back := rapid.IntRange(0, len(known)-1).Draw(rt, "versions back")
				v := known[len(known)-1-back]
				their[len(their)-1].Version, our[len(our)-1].Version = v.reference, v.store
			}
		}
		ours.Groups, theirs.Groups = append(ours.Groups, our), append(theirs.Groups, their)
	}
	want, wantErr := m.reference.Write(m.store.Context(), theirs)
	got, gotErr := m.store.store.Write(m.store.Context(), ours)
	if m.differ(rt, wantErr, gotErr) {
		return
	}
	if len(got.Results) != len(want.Results) {
		rt.Fatalf("%d results, want %d", len(got.Results), len(want.Results))
	}
	for i := range want.Results {
		m.compareResult(rt, theirs.Groups[i], want.Results[i], got.Results[i])
	}
}

func (m *modelTest) record(rt *rapid.T, k driver.Key) driver.Record {
	r := driver.Record{Key: k, Body: []byte(rapid.SampledFrom([]string{"", "x", "y", "zz"}).Draw(rt, "body"))}
	for _, name := range []string{index, index2} {
		if (k.Kind == kind || name == index) && rapid.Bool().Draw(rt, "indexed") {
			r.Index = append(r.Index, driver.IndexEntry{Index: name, Part: m.part(rt), Sort: m.sort(rt, "entry")})
		}
	}
	switch rapid.IntRange(0, 5).Draw(rt, "expiry") {
	case 0:
		r.ExpireAt = m.store.now().Add(-time.Hour)
	case 1:
		r.ExpireAt = m.store.now().Add(time.Hour)
	}
	return r
}

// compareResult compares the results of a group.
func (m *modelTest) compareResult(rt *rapid.T, group driver.Group, want, got driver.WriteResult) {
	if m.differ(rt, want.Err, got.Err) {
		if got.Failed < 0 || got.Failed >= len(group) {
			rt.Fatalf("operation %d of %d failed", got.Failed, len(group))
		}
		// Several conditions may have failed. The one that is blamed has to be one of them.
		op := group[got.Failed]
		op.Type = driver.Check
		again, err := m.reference.Write(m.store.Context(), driver.WriteRequest{Groups: []driver.Group{{op}}})
		if err != nil || again.Results[0].Err == nil {
			rt.Fatalf("operation %d failed, but its condition holds (%v)", got.Failed, err)
		}
		if m.store.caps.ReturnsCurrent {
			m.compareRecord(rt, again.Results[0].Current, got.Current)
		}
		return
	}
	for i, v := range want.Versions {
		if (v == "") != (got.Versions[i] == "") {
			rt.Fatalf("version %q of operation %d", got.Versions[i], i)
		}
		if v != "" {
			k := group[i].Record.Key
			m.issued[k] = append(m.issued[k], issued{v, got.Versions[i]})
		}
	}
}

// differ compares errors, and says whether there are any.
func (m *modelTest) differ(rt *rapid.T, want, got error) bool {
	if (want == nil) != (got == nil) || driver.CodeOf(want) != driver.CodeOf(got) {
		rt.Fatalf("error %v, want %v", got, want)
	}
	return want != nil
}

// get makes a call to Get with random keys.
func (m *modelTest) get(rt *rapid.T) {
	var keys []driver.Key
	for range rapid.IntRange(1, 5).Draw(rt, "keys") {
		keys = append(keys, m.key(rt))
	}
	m.compareGet(rt, keys)
}

func (m *modelTest) compareGet(rt *rapid.T, keys []driver.Key) {
	want, wantErr := m.reference.Get(m.store.Context(), driver.GetRequest{Keys: keys})
	got, gotErr := m.store.store.Get(m.store.Context(), driver.GetRequest{Keys: keys})
	if m.differ(rt, wantErr, gotErr) {
		return
	}
	if len(got.Records) != len(keys) {
		rt.Fatalf("%d records for %d keys", len(got.Records), len(keys))
	}
	for i := range keys {
		m.compareRecord(rt, want.Records[i], got.Records[i])
	}
}

// compareRecord compares a record of the reference with one of the store under test.
func (m *modelTest) compareRecord(rt *rapid.T, want, got *driver.Record) {
	if (want == nil) != (got == nil) {
		rt.Fatalf("record %+v, want %+v", got, want)
	}
	if want == nil {
		return
	}
	want = &driver.Record{Key: want.Key, Version: m.versionOf(want), Index: want.Index, Body: want.Body, ExpireAt: want.ExpireAt}
	if diff := diffRecords(want, got); diff != "" {
		rt.Fatalf("record (-want +got):\n%s", diff)
	}
}

// versionOf returns what the store under test calls the version of a record of the reference.
func (m *modelTest) versionOf(r *driver.Record) driver.Version {
	for _, v := range m.issued[r.Key] {
		if v.reference == r.Version {
			return v.store
		}
	}
	return ""
}

// scan scans a random range to its end.
func (m *modelTest) scan(rt *rapid.T) {
	req := driver.ScanRequest{
		Kind:    rapid.SampledFrom([]driver.Kind{kind, otherKind}).Draw(rt, "kind"),
		Part:    m.part(rt),
		Reverse: rapid.Bool().Draw(rt, "reverse"),
		Limit:   rapid.IntRange(0, 4).Draw(rt, "limit"),
	}
	if rapid.Bool().Draw(rt, "from") {
		req.From = m.sort(rt, "from")
	}
	if rapid.Bool().Draw(rt, "to") {
		req.To = m.sort(rt, "to")
	}
	if rapid.Bool().Draw(rt, "index") {
		req.Index = index
		m.compareIndex(rt, req)
		return
	}
	m.compareScan(rt, req)
}

func (m *modelTest) compareScan(rt *rapid.T, req driver.ScanRequest) {
	want, got := scanAll(m, rt, m.reference, req), scanAll(m, rt, m.store.store, req)
	if len(want) != len(got) {
		rt.Fatalf("scan of %+v: %q, want %q", req, sortsOf(got), sortsOf(want))
	}
	for i := range want {
		m.compareRecord(rt, &want[i], &got[i])
	}
}

// compareIndex compares scans of an index, in which records with the same entry come in any order.
func (m *modelTest) compareIndex(rt *rapid.T, req driver.ScanRequest) {
	compare := func() string {
		want, got := scanAll(m, rt, m.reference, req), scanAll(m, rt, m.store.store, req)
		if !m.store.caps.FreshIndexes {
			got = m.present(rt, got)
		}
		if diff := cmp.Diff(entrySorts(want), entrySorts(got), cmpopts.EquateEmpty()); diff != "" {
			return fmt.Sprintf("order in a scan of %+v (-want +got):\n%s", req, diff)
		}
		for _, records := range [][]driver.Record{want, got} {
			slices.SortFunc(records, func(a, b driver.Record) int { return slices.Compare(identity(a), identity(b)) })
		}
		diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(driver.Record{}, "ExpireAt"))
		if diff != "" {
			return fmt.Sprintf("scan of %+v (-want +got):\n%s", req, diff)
		}
		return ""
	}
	wait := patience
	if m.store.caps.FreshIndexes {
		wait = 0
	}
	if fault := poll(m.store.T, wait, compare); fault != "" {
		rt.Fatal(fault)
	}
}

// present drops the records that have expired, which an index that may be stale may show for as long as they take space.
func (m *modelTest) present(rt *rapid.T, records []driver.Record) []driver.Record {
	keys := make([]driver.Key, len(records))
	for i, r := range records {
		keys[i] = r.Key
	}
	there, err := m.reference.Get(m.store.Context(), driver.GetRequest{Keys: keys})
	if err != nil {
		rt.Fatalf("Get: %v", err)
	}
	var left []driver.Record
	for i, r := range records {
		if there.Records[i] != nil {
			left = append(left, r)
		}
	}
	return left
}

func identity(r driver.Record) []string { return []string{r.Index[0].Sort, r.Key.Part, r.Key.Sort} }

// scanAll returns the records of all pages of a range.
func scanAll(m *modelTest, rt *rapid.T, s driver.Store, req driver.ScanRequest) []driver.Record {
	var all []driver.Record
	for range 1000 {
		page, err := s.Scan(m.store.Context(), req)
		if err != nil {
			rt.Fatalf("Scan: %v", err)
		}
		if req.Limit > 0 && len(page.Records) > req.Limit {
			rt.Fatalf("a page has %d records, want at most %d", len(page.Records), req.Limit)
		}
		all = append(all, page.Records...)
		if req.Cursor = page.Next; req.Cursor == "" {
			return all
		}
	}
	rt.Fatal("the scan does not end")
	return nil
}

// compareAll compares all records after every call.
func (m *modelTest) compareAll(rt *rapid.T) {
	for _, k := range []driver.Kind{kind, otherKind} {
		for _, p := range []string{"", "a", "/é"} {
			m.compareScan(rt, driver.ScanRequest{Kind: k, Part: m.name + p})
		}
	}
}
