package drivertest

import (
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pop-platform/pop/plugins/driver"
)

// inIndex is a scan of a part of the first index.
func inIndex(part string) driver.ScanRequest {
	return driver.ScanRequest{Kind: kind, Index: index, Part: part}
}

var indexClauses = []storeClause{
	{"index: a record enters, moves and leaves", func(t *storeTest) {
		t.put(key("a"), "x")
		t.wantIndex(inIndex("ip"))
		t.put(key("a"), "x", entry("ip", "1"))
		t.wantIndex(inIndex("ip"), "a")
		t.put(key("a"), "x", entry("ip", "2"))
		t.wantIndex(driver.ScanRequest{Kind: kind, Index: index, Part: "ip", From: "2"}, "a")
		t.wantIndex(driver.ScanRequest{Kind: kind, Index: index, Part: "ip", To: "2"})
		t.put(key("a"), "x", entry("ip2", "2"))
		t.wantIndex(inIndex("ip"))
		t.wantIndex(inIndex("ip2"), "a")
		t.put(key("a"), "x")
		t.wantIndex(inIndex("ip2"))
	}},
	{"index: a deleted record leaves", func(t *storeTest) {
		t.put(key("a"), "x", entry("ip", "1"))
		t.put(key("b"), "x", entry("ip", "2"))
		t.apply(deleteOp(key("a")))
		t.wantIndex(inIndex("ip"), "b")
		t.put(key("a"), "x")
		t.wantIndex(inIndex("ip"), "b")
	}},
	{"index: a scan returns keys and the entry, no more", func(t *storeTest) {
		t.put(key("a"), "body", entry("ip", "is"), driver.IndexEntry{Index: index2, Part: "ip2", Sort: "is2"})
		want := driver.Record{Key: key("a"), Index: []driver.IndexEntry{entry("ip", "is")}}
		t.eventually(t.caps.FreshIndexes, func() string {
			return cmp.Diff([]driver.Record{want}, t.scan(inIndex("ip")), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(want, "ExpireAt"))
		})
	}},
	{"index: the indexes of a record and of a kind are apart", func(t *storeTest) {
		second := driver.IndexEntry{Index: index2, Part: "ip", Sort: "1"}
		t.put(key("a"), "x", entry("ip", "1"))
		t.put(key("b"), "x", second)
		t.put(key("c"), "x", second, entry("ip", "2"))
		other := driver.Key{Kind: otherKind, Part: part, Sort: "d"}
		t.put(other, "x", entry("ip", "3"))
		t.wantIndex(inIndex("ip"), "a", "c")
		t.wantIndex(driver.ScanRequest{Kind: kind, Index: index2, Part: "ip"}, "b", "c")
		t.wantIndex(driver.ScanRequest{Kind: otherKind, Index: index, Part: "ip"}, "d")
		t.put(key("c"), "x", second)
		t.wantIndex(inIndex("ip"), "a")
		t.wantIndex(driver.ScanRequest{Kind: kind, Index: index2, Part: "ip"}, "b", "c")
	}},
	{"index: records with the same entry are all returned, once", func(t *storeTest) {
		keys := numbers("k", 20)
		keys = append(keys, driver.Key{Kind: kind, Part: "q", Sort: "l"}, driver.Key{Kind: kind, Part: "r", Sort: "m"})
		t.putAll(keys, entry("ip", "same"))
		var want []string
		for _, k := range keys {
			want = append(want, k.Sort)
		}
		for _, limit := range []int{0, 1, 7} {
			for _, reverse := range []bool{false, true} {
				t.eventually(t.caps.FreshIndexes, func() string {
					got := sortsOf(t.scan(driver.ScanRequest{Kind: kind, Index: index, Part: "ip", Limit: limit, Reverse: reverse}))
					slices.Sort(got)
					return cmp.Diff(want, got)
				})
			}
		}
	}},
	{"index: scans are in bytewise order, both ways", func(t *storeTest) {
		want := append(slices.Clone(unusualTexts), longText(driver.MaxSortBytes))
		slices.Sort(want)
		for i, s := range slices.Backward(want) {
			t.put(key(fmt.Sprint(i)), "x", entry(longText(driver.MaxPartBytes), s))
		}
		for _, limit := range []int{0, 3} {
			for _, reverse := range []bool{false, true} {
				req := driver.ScanRequest{Kind: kind, Index: index, Part: longText(driver.MaxPartBytes), Limit: limit, Reverse: reverse}
				t.eventually(t.caps.FreshIndexes, func() string { return cmp.Diff(want, entrySorts(t.scan(req))) })
				slices.Reverse(want)
			}
		}
	}},
	{"index: parts are any UTF-8", func(t *storeTest) {
		for i, p := range unusualTexts {
			t.put(key(fmt.Sprint(i)), "x", entry(p, "s"))
		}
		for i, p := range unusualTexts {
			t.wantIndex(inIndex(p), fmt.Sprint(i))
		}
	}},
	{"index: ranges are half open, both ways", func(t *storeTest) {
		for _, s := range []string{"a", "b", "ba", "c", "d"} {
			t.put(key(s), "x", entry("ip", s))
		}
		checkRanges(t, inIndex("ip"), t.wantIndex)
	}},
	{"index: a group that conflicts leaves it as it was", func(t *storeTest) {
		t.put(key("a"), "x", entry("ip", "1"))
		t.wantIndex(inIndex("ip"), "a")
		t.conflict(ifAbsent(putOp(key("a"), "y", entry("ip2", "1"))))
		if t.caps.MaxGroupOps > 1 {
			t.conflict(putOp(key("b"), "y", entry("ip", "2")), ifAbsent(deleteOp(key("a"))))
		}
		t.put(key("z"), "x", entry("ip2", "9")) // when the index shows it, it shows what was before it
		t.wantIndex(inIndex("ip2"), "z")
		t.wantIndex(inIndex("ip"), "a")
	}},
	{"index: an entry that breaks a rule is Invalid", func(t *storeTest) {
		for what, entries := range map[string][]driver.IndexEntry{
			"no name":           {{Part: "p", Sort: "s"}},
			"empty part":        {entry("", "s")},
			"empty sort":        {entry("p", "")},
			"part too long":     {entry(longText(driver.MaxPartBytes+1), "s")},
			"sort too long":     {entry("p", longText(driver.MaxSortBytes+1))},
			"NUL":               {entry("p", "s\x00")},
			"no UTF-8":          {entry("p\xff", "s")},
			"two for one index": {entry("p", "s"), entry("p", "s2")},
		} {
			_, err := t.store.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{putOp(key("a"), "x", entries...)}}})
			t.wantCode(what, err, driver.Invalid)
		}
		t.wantBody(key("a"), "")
	}},
}

// entrySorts returns the Sorts of the entries that an index scan found.
func entrySorts(records []driver.Record) []string {
	var sorts []string
	for _, r := range records {
		for _, e := range r.Index {
			sorts = append(sorts, e.Sort)
		}
	}
	return sorts
}
