package drivertest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
)

var writeClauses = []storeClause{
	{"conditions hold as they should for every operation", checkConditions},
	{"Put takes its condition from the Op and not from the record's version", func(t *storeTest) {
		v := t.put(key("a"), "1")
		op := putOp(key("a"), "2")
		op.Record.Version = "ignored"
		t.apply(op)
		op = putOp(key("a"), "3")
		op.Record.Version, op.Cond, op.Version = v, driver.IfVersion, "none"
		t.conflict(op)
		t.wantBody(key("a"), "2")
	}},
	{"Put replaces the whole record", func(t *storeTest) {
		t.apply(driver.Op{Record: driver.Record{
			Key: key("a"), Body: []byte("long body"), Index: []driver.IndexEntry{entry("p", "s")}, ExpireAt: t.now().Add(time.Hour),
		}})
		t.put(key("a"), "b")
		t.wantRecord(t.get(key("a"))[0], driver.Record{Key: key("a"), Body: []byte("b")})
	}},
	{"versions change with every write, even of the same record", func(t *storeTest) {
		seen := map[driver.Version]bool{}
		for range 20 {
			v := t.put(key("a"), "same")
			if v == "" || seen[v] {
				t.Fatalf("version %q is empty or was issued before", v)
			}
			seen[v] = true
			t.wantRecord(t.get(key("a"))[0], driver.Record{Key: key("a"), Version: v, Body: []byte("same")})
		}
	}},
	{"a version from before a Delete never matches again", func(t *storeTest) {
		var old []driver.Version
		for range 10 {
			old = append(old, t.put(key("a"), "same"))
			t.apply(deleteOp(key("a")))
		}
		t.put(key("a"), "same")
		for _, v := range old {
			t.conflict(ifVersion(putOp(key("a"), "lost"), v))
			t.conflict(ifVersion(deleteOp(key("a")), v))
			t.conflict(ifVersion(checkOp(key("a")), v))
		}
		t.wantBody(key("a"), "same")
	}},
	{"a Check changes nothing", func(t *storeTest) {
		v := t.put(key("a"), "x")
		t.apply(ifVersion(checkOp(key("a")), v))
		t.apply(checkOp(key("a")))
		t.apply(ifAbsent(checkOp(key("b"))))
		t.wantRecord(t.get(key("a"))[0], driver.Record{Key: key("a"), Version: v, Body: []byte("x")})
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part}, "a")
	}},
	{"Delete is idempotent", func(t *storeTest) {
		t.put(key("a"), "x")
		for range 10 {
			t.apply(deleteOp(key("a")))
		}
		t.wantBody(key("a"), "")
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part})
	}},
	{"a conflict carries the record that is there, if that is declared", func(t *storeTest) {
		want := putOp(key("a"), "there", entry("p", "s"))
		want.Record.Version = t.apply(want)[0]
		res := t.conflict(ifAbsent(putOp(key("a"), "new")))
		if res.Failed != 0 {
			t.Errorf("operation %d failed, want 0", res.Failed)
		}
		if t.caps.ReturnsCurrent {
			t.wantRecord(res.Current, want.Record)
		} else if res.Current != nil {
			t.Errorf("the conflict carries %+v", res.Current)
		}
		if res := t.conflict(ifVersion(putOp(key("no"), "new"), want.Record.Version)); res.Current != nil {
			t.Errorf("the conflict with an absent record carries %+v", res.Current)
		}
	}},
	{"a Body may have MaxRecordBytes and no more", func(t *storeTest) {
		most := strings.Repeat("b", t.caps.MaxRecordBytes)
		t.put(key("a"), most)
		t.wantBody(key("a"), most)
		_, err := t.store.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{
			{putOp(key("b"), "x")}, {putOp(key("a"), most+"b")}, {putOp(key("c"), "x")},
		}})
		t.wantCode("one byte more", err, driver.TooLarge)
		t.wantBody(key("a"), most)
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part}, "a")
	}},
	{"one call may not name a key twice", func(t *storeTest) {
		calls := [][]driver.Group{{{putOp(key("a"), "1")}, {putOp(key("a"), "2")}}, {{putOp(key("b"), "x")}, {checkOp(key("a"))}, {deleteOp(key("a"))}}}
		if t.caps.MaxGroupOps > 1 {
			calls = append(calls, []driver.Group{{checkOp(key("a")), putOp(key("a"), "1")}})
		}
		for i, groups := range calls {
			_, err := t.store.Write(t.Context(), driver.WriteRequest{Groups: groups})
			t.wantCode(fmt.Sprint("call ", i), err, driver.Invalid)
		}
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part})
	}},
	{"operations and conditions that do not exist are Invalid", func(t *storeTest) {
		for _, op := range []driver.Op{{Type: driver.Check + 1}, {Cond: driver.IfVersion + 1}} {
			op.Record.Key = key("a")
			_, err := t.store.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{op}}})
			t.wantCode(fmt.Sprintf("%+v", op), err, driver.Invalid)
		}
		t.wantBody(key("a"), "")
	}},
	{"Write of nothing succeeds", func(t *storeTest) {
		t.write()
		for _, res := range t.write(driver.Group{}, driver.Group{putOp(key("a"), "x")}, nil) {
			if res.Err != nil {
				t.Errorf("%v", res.Err)
			}
		}
		t.wantBody(key("a"), "x")
	}},
}

// checkConditions checks every operation with every condition in every state of the record.
func checkConditions(t *storeTest) {
	type state struct {
		name    string
		prepare func(driver.Key) (current, stale driver.Version)
	}
	states := []state{
		{"never written", func(driver.Key) (driver.Version, driver.Version) { return "", t.put(key("elsewhere"), "x") }},
		{"present", func(k driver.Key) (driver.Version, driver.Version) {
			stale := t.put(k, "before")
			return t.put(k, "now"), stale
		}},
		{"deleted", func(k driver.Key) (driver.Version, driver.Version) {
			stale := t.put(k, "before")
			t.apply(deleteOp(k))
			return "", stale
		}},
		{"expired", func(k driver.Key) (driver.Version, driver.Version) {
			op := putOp(k, "before")
			op.Record.ExpireAt = t.now().Add(-time.Hour)
			return "", t.apply(op)[0]
		}},
	}
	n := 0
	for _, st := range states {
		for _, typ := range []driver.OpType{driver.Put, driver.Delete, driver.Check} {
			for _, cond := range []string{"always", "absent", "current version", "stale version", "empty version", "no version"} {
				n++
				k := key(fmt.Sprint("k", n))
				current, stale := st.prepare(k)
				op := driver.Op{Type: typ, Record: driver.Record{Key: k}}
				holds := false
				switch cond {
				case "always":
					holds = true
				case "absent":
					op, holds = ifAbsent(op), current == ""
				case "current version":
					op, holds = ifVersion(op, current), current != ""
				case "stale version":
					op = ifVersion(op, stale)
				case "empty version":
					op = ifVersion(op, "")
				case "no version":
					op = ifVersion(op, "never issued")
				}
				if typ == driver.Put {
					op.Record.Body = []byte("after")
				}
				res := t.write(driver.Group{op})[0]
				want := ""
				if current != "" {
					want = "now"
				}
				what := fmt.Sprintf("operation %d if %s of a record that is %s", typ, cond, st.name)
				switch {
				case holds && res.Err != nil:
					t.Errorf("%s: %v", what, res.Err)
				case !holds && !driver.IsConflict(res.Err):
					t.Errorf("%s: %v, want a conflict", what, res.Err)
				case !holds && driver.OutcomeOf(res.Err) != driver.NotApplied:
					t.Errorf("%s: the outcome of a conflict is unknown", what)
				case holds && typ == driver.Put:
					want = "after"
				case holds && typ == driver.Delete:
					want = ""
				}
				if holds && res.Err == nil && (res.Versions[0] != "") != (typ == driver.Put) {
					t.Errorf("%s: version %q", what, res.Versions[0])
				}
				if got := bodyOf(t.get(k)[0]); got != want {
					t.Errorf("%s: the body is %q afterwards, want %q", what, got, want)
				}
			}
		}
	}
}

var groupClauses = []storeClause{
	{"a group is applied as a whole or not at all", func(t *storeTest) {
		n := min(t.caps.MaxGroupOps, 3)
		v := t.put(key("there"), "x", entry("ip", "1"))
		failing := map[string]driver.Op{
			"Check of an absent record":    ifVersion(checkOp(key("no")), v),
			"Check of a present record":    ifAbsent(checkOp(key("there"))),
			"Put over a present record":    ifAbsent(putOp(key("there"), "y")),
			"Put over a changed record":    ifVersion(putOp(key("there"), "y"), "stale"),
			"Delete of a changed record":   ifVersion(deleteOp(key("there")), "stale"),
			"Delete of an absent record":   ifVersion(deleteOp(key("no")), v),
			"Check of a version not there": ifVersion(checkOp(key("there")), "stale"),
		}
		for what, bad := range failing {
			for place := range n {
				group := driver.Group{putOp(key("n1"), "y"), putOp(key("n2"), "y")}[:n-1]
				group = slices.Insert(group, place, bad)
				if res := t.conflict(group...); res.Failed != place {
					t.Errorf("%s as operation %d: operation %d failed", what, place, res.Failed)
				}
				t.wantScan(driver.ScanRequest{Kind: kind, Part: part}, "there")
				t.wantRecord(t.get(key("there"))[0], driver.Record{
					Key: key("there"), Version: v, Body: []byte("x"), Index: []driver.IndexEntry{entry("ip", "1")},
				})
			}
		}
	}},
	{"a group whose conditions hold is applied as a whole", func(t *storeTest) {
		a, b := t.put(key("a"), "1"), t.put(key("b"), "1")
		t.put(driver.Key{Kind: kind, Part: "q", Sort: "c"}, "1")
		ops := driver.Group{
			ifVersion(putOp(key("a"), "2"), a),
			ifVersion(checkOp(key("b")), b),
			deleteOp(driver.Key{Kind: kind, Part: "q", Sort: "c"}),
			ifAbsent(putOp(driver.Key{Kind: otherKind, Part: part, Sort: "d"}, "2")),
			ifAbsent(checkOp(key("e"))),
		}
		var versions []driver.Version
		for group := range slices.Chunk(ops, min(t.caps.MaxGroupOps, len(ops))) {
			versions = append(versions, t.apply(group...)...)
		}
		for i, put := range []bool{true, false, false, true, false} {
			if (versions[i] != "") != put {
				t.Errorf("operation %d has version %q", i, versions[i])
			}
		}
		var got []string
		for _, r := range t.get(key("a"), key("b"), driver.Key{Kind: kind, Part: "q", Sort: "c"}, driver.Key{Kind: otherKind, Part: part, Sort: "d"}) {
			got = append(got, bodyOf(r))
		}
		if diff := cmp.Diff([]string{"2", "1", "", "2"}, got); diff != "" {
			t.Error(diff)
		}
		if r := t.get(key("a"))[0]; r.Version != versions[0] {
			t.Errorf("version %q was returned, %q is read", versions[0], r.Version)
		}
	}},
	{"groups do not depend on each other, and have one result each in order", func(t *storeTest) {
		t.put(key("there"), "x")
		var groups []driver.Group
		for i, k := range numbers("k", 60) {
			if i%3 == 1 {
				groups = append(groups, driver.Group{ifVersion(putOp(k, "y"), "stale")})
			} else {
				groups = append(groups, driver.Group{ifAbsent(putOp(k, "y"))})
			}
		}
		groups[7] = driver.Group{ifAbsent(putOp(key("there"), "y"))}
		for i, res := range t.write(groups...) {
			name := groups[i][0].Record.Key.Sort
			if i%3 == 1 {
				if !driver.IsConflict(res.Err) {
					t.Errorf("group %d (%s): %v, want a conflict", i, name, res.Err)
				}
				continue
			}
			if res.Err != nil {
				t.Errorf("group %d (%s): %v", i, name, res.Err)
			} else if r := t.get(key(name))[0]; r == nil || r.Version != res.Versions[0] {
				t.Errorf("group %d (%s): the result has version %q, the record is %+v", i, name, res.Versions[0], r)
			}
		}
		t.wantBody(key("there"), "x")
		if got := len(t.scan(driver.ScanRequest{Kind: kind, Part: part})); got != 41 {
			t.Errorf("%d records, want 41", got)
		}
	}},
	{"one call takes 1,000 groups", func(t *storeTest) {
		keys := numbers("k", 1000)
		groups := make([]driver.Group, len(keys))
		for i, k := range keys {
			groups[i] = driver.Group{putOp(k, k.Sort)}
		}
		for i, res := range t.write(groups...) {
			if res.Err != nil {
				t.Fatalf("group %d: %v", i, res.Err)
			}
		}
		if got := len(t.scan(driver.ScanRequest{Kind: kind, Part: part})); got != 1000 {
			t.Errorf("%d records, want 1000", got)
		}
	}},
	{"a group may have MaxGroupOps operations and no more", func(t *storeTest) {
		group := func(prefix string, n int) driver.Group {
			var g driver.Group
			for _, k := range numbers(prefix, n) {
				g = append(g, putOp(k, "x"))
			}
			return g
		}
		t.apply(group("a", t.caps.MaxGroupOps)...)
		_, err := t.store.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{
			group("b", 1), group("c", t.caps.MaxGroupOps+1), group("d", 1),
		}})
		t.wantCode("one operation more", err, driver.TooLarge)
		if got := len(t.scan(driver.ScanRequest{Kind: kind, Part: part})); got != t.caps.MaxGroupOps {
			t.Errorf("%d records, want %d", got, t.caps.MaxGroupOps)
		}
	}},
}

var expiryClauses = []storeClause{
	{"an expired record is absent", func(t *storeTest) {
		op := putOp(key("a"), "old", entry("ip", "1"))
		op.Record.ExpireAt = t.now().Add(-time.Minute)
		v := t.apply(op)[0]
		t.wantBody(key("a"), "")
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part})
		res := t.conflict(ifVersion(putOp(key("a"), "new"), v))
		if res.Current != nil {
			t.Errorf("the conflict carries the expired record %+v", res.Current)
		}
		t.apply(ifAbsent(checkOp(key("a"))))
		t.apply(ifAbsent(putOp(key("a"), "new")))
		t.wantRecord(t.get(key("a"))[0], driver.Record{Key: key("a"), Body: []byte("new")})
		t.wantIndex(inIndex("ip"))
	}},
	{"expired records do not get in the way of a scan", func(t *storeTest) {
		var want []string
		for i, k := range numbers("k", 30) {
			op := putOp(k, "x")
			if i%5 == 0 {
				want = append(want, k.Sort)
			} else {
				op.Record.ExpireAt = t.now().Add(-time.Minute)
			}
			t.apply(op)
		}
		for _, limit := range []int{0, 1, 4} {
			t.wantScan(driver.ScanRequest{Kind: kind, Part: part, Limit: limit}, want...)
		}
	}},
	{"a record is there until it expires and not after", func(t *storeTest) {
		op := putOp(key("a"), "x")
		expireAt := t.now().Add(3 * time.Second).Truncate(time.Second)
		op.Record.ExpireAt = expireAt.Add(999 * time.Millisecond) // is cut
		t.apply(op)
		present := func() bool {
			r := t.get(key("a"))[0]
			if r != nil {
				t.wantRecord(r, op.Record)
			}
			return r != nil
		}
		if t.fixture.Clock != nil {
			t.fixture.Clock.Advance(expireAt.Sub(t.now()) - time.Millisecond)
			if !present() {
				t.Error("the record expired before its time")
			}
			t.fixture.Clock.Advance(time.Millisecond)
			if present() {
				t.Error("the record is there after its time")
			}
			return
		}
		if !present() && t.now().Before(expireAt) {
			t.Error("the record expired before its time")
		}
		t.eventually(false, func() string {
			switch there, late := present(), t.now().Sub(expireAt); {
			case there && late > 2*time.Second:
				t.Fatalf("the record is there %s after its time", late)
			case there:
				return "the record is there"
			case late < -2*time.Second:
				t.Errorf("the record expired %s before its time", -late)
			}
			return ""
		})
	}},
	{"a Put without expiry keeps the record", func(t *storeTest) {
		op := putOp(key("a"), "x")
		op.Record.ExpireAt = t.now().Add(time.Hour)
		t.apply(op)
		t.put(key("a"), "y")
		if got := t.get(key("a"))[0]; got == nil || !got.ExpireAt.IsZero() {
			t.Errorf("record %+v, want one without expiry", got)
		}
		op.Record.ExpireAt = t.now().Add(-time.Hour)
		t.apply(op)
		t.put(key("a"), "z")
		t.wantBody(key("a"), "z")
	}},
}
