package drivertest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
)

var storeCapabilityClauses = []storeClause{
	{"capabilities are the declared ones", func(t *storeTest) {
		for range 2 {
			got, err := t.store.Capabilities(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(t.harness.Capabilities, got); diff != "" {
				t.Errorf("capabilities (-declared +reported):\n%s", diff)
			}
		}
	}},
	{"capabilities have the minimum that every store has", func(t *storeTest) {
		if t.caps.MaxRecordBytes < 64<<10 || t.caps.MaxScanLimit < 1 || t.caps.MaxGroupOps < 1 || t.caps.ExpiryLag < 0 {
			t.Errorf("%+v", t.caps)
		}
	}},
}

var getClauses = []storeClause{
	{"Get returns what Put wrote", func(t *storeTest) {
		body := make([]byte, 256)
		for i := range body {
			body[i] = byte(i)
		}
		want := driver.Record{
			Key:      key("a"),
			Body:     body,
			Index:    []driver.IndexEntry{entry("ip", "is"), {Index: index2, Part: "ip2", Sort: "is2"}},
			ExpireAt: t.now().Add(time.Hour),
		}
		want.Version = t.apply(driver.Op{Record: want})[0]
		t.wantRecord(t.get(want.Key)[0], want)
	}},
	{"Get of a record without body, index and expiry", func(t *storeTest) {
		for _, body := range [][]byte{nil, {}} {
			want := driver.Record{Key: key("a"), Body: body}
			t.apply(driver.Op{Record: want})
			t.wantRecord(t.get(want.Key)[0], want)
		}
	}},
	{"Get has one entry per key, in order, nil for an absent one", func(t *storeTest) {
		t.putAll([]driver.Key{key("a"), key("b")})
		var got []string
		for _, r := range t.get(key("b"), key("no"), key("a"), key("b"), key("no")) {
			got = append(got, bodyOf(r))
		}
		if diff := cmp.Diff([]string{"b", "", "a", "b", ""}, got); diff != "" {
			t.Error(diff)
		}
	}},
	{"Get of no keys", func(t *storeTest) { t.get() }},
	{"Get of 1,000 keys", func(t *storeTest) {
		keys := numbers("k", 1000)
		t.putAll(keys)
		slices.Reverse(keys)
		for i, r := range t.get(keys...) {
			if bodyOf(r) != keys[i].Sort {
				t.Fatalf("record %d is %q, want %q", i, bodyOf(r), keys[i].Sort)
			}
		}
	}},
	{"Get of 200 large records", func(t *storeTest) {
		keys := numbers("k", 200)
		body := strings.Repeat("b", 64<<10)
		for _, k := range keys {
			t.put(k, body)
		}
		for _, r := range t.get(keys...) {
			if bodyOf(r) != body {
				t.Fatal("a body differs")
			}
		}
	}},
	{"Get sees every acknowledged write at once", func(t *storeTest) {
		for i := range 50 {
			body := fmt.Sprint(i)
			v := t.put(key("a"), body)
			t.wantRecord(t.get(key("a"))[0], driver.Record{Key: key("a"), Version: v, Body: []byte(body)})
		}
		t.apply(deleteOp(key("a")))
		t.wantBody(key("a"), "")
	}},
	{"keys are any UTF-8", func(t *storeTest) {
		for _, k := range unusualKeys() {
			t.put(k, k.Part+"|"+k.Sort)
		}
		for _, k := range unusualKeys() {
			t.wantRecord(t.get(k)[0], driver.Record{Key: k, Body: []byte(k.Part + "|" + k.Sort)})
		}
	}},
	{"keys that look alike are different", func(t *storeTest) {
		keys := lookalikes()
		for i, k := range keys {
			if res := t.write(driver.Group{ifAbsent(putOp(k, fmt.Sprint(i)))})[0]; res.Err != nil {
				t.Errorf("%q: %v", k, res.Err)
			}
		}
		for i, r := range t.get(keys...) {
			if bodyOf(r) != fmt.Sprint(i) {
				t.Errorf("%q has the body of %q", keys[i], bodyOf(r))
			}
		}
	}},
	{"keys that break a rule are Invalid", func(t *storeTest) {
		for what, k := range invalidKeys() {
			_, err := t.store.Get(t.Context(), driver.GetRequest{Keys: []driver.Key{key("a"), k}})
			t.wantCode("Get, "+what, err, driver.Invalid)
			_, err = t.store.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{putOp(key("a"), "x")}, {putOp(k, "x")}}})
			t.wantCode("Write, "+what, err, driver.Invalid)
		}
		t.wantBody(key("a"), "")
	}},
	{"values belong to the caller after the call", func(t *storeTest) {
		op := putOp(key("a"), "body", entry("ip", "is"))
		t.apply(op)
		copy(op.Record.Body, "XXXX")
		op.Record.Index[0].Part = "XX"
		want := driver.Record{Key: key("a"), Body: []byte("body"), Index: []driver.IndexEntry{entry("ip", "is")}}
		for range 2 {
			got := t.get(key("a"))[0]
			t.wantRecord(got, want)
			copy(got.Body, "YYYY")
			got.Index[0].Part = "YY"
		}
		got := t.scan(driver.ScanRequest{Kind: kind, Part: part})[0]
		copy(got.Body, "ZZZZ")
		t.wantRecord(t.get(key("a"))[0], want)
	}},
}

// unusualKeys are keys of which each has one unusual text, or the longest.
func unusualKeys() []driver.Key {
	keys := []driver.Key{{Kind: kind, Part: longText(driver.MaxPartBytes), Sort: longText(driver.MaxSortBytes)}}
	for i, text := range unusualTexts {
		keys = append(keys, driver.Key{Kind: kind, Part: text, Sort: fmt.Sprint(i)}, driver.Key{Kind: kind, Part: part, Sort: text})
	}
	return keys
}

// lookalikes are keys that are the same if their fields are put together carelessly.
func lookalikes() []driver.Key {
	keys := []driver.Key{{Kind: kind, Part: "abc", Sort: "d"}, {Kind: kind, Part: "ab", Sort: "cd"}, {Kind: otherKind, Part: "abc", Sort: "d"}}
	for _, sep := range []string{"/", "#", ":", "|", "~", ".", " ", "%", "\\", "\x01", "\x1f", "\n", "%2F", "\\x00"} {
		keys = append(keys, driver.Key{Kind: kind, Part: "a" + sep + "b", Sort: "c"}, driver.Key{Kind: kind, Part: "a", Sort: "b" + sep + "c"})
	}
	for _, pair := range [][2]string{{"a", "A"}, {"é", "e\u0301"}, {"x", "x "}, {"1", "01"}, {"2", "2.0"}} {
		for _, s := range pair {
			keys = append(keys, driver.Key{Kind: kind, Part: "case", Sort: "s" + s}, driver.Key{Kind: kind, Part: "p" + s, Sort: "case"})
		}
	}
	return keys
}

func invalidKeys() map[string]driver.Key {
	return map[string]driver.Key{
		"empty kind":         {Part: part, Sort: "a"},
		"empty part":         {Kind: kind, Sort: "a"},
		"empty sort":         {Kind: kind, Part: part},
		"part too long":      {Kind: kind, Part: longText(driver.MaxPartBytes + 1), Sort: "a"},
		"sort too long":      {Kind: kind, Part: part, Sort: longText(driver.MaxSortBytes + 1)},
		"NUL in the part":    {Kind: kind, Part: "a\x00b", Sort: "a"},
		"NUL in the sort":    {Kind: kind, Part: part, Sort: "a\x00b"},
		"part without UTF-8": {Kind: kind, Part: "a\xff", Sort: "a"},
		"sort without UTF-8": {Kind: kind, Part: part, Sort: "\xc3"},
	}
}

var scanClauses = []storeClause{
	{"Scan of an empty range", func(t *storeTest) {
		t.put(key("b"), "x")
		t.wantScan(driver.ScanRequest{Kind: kind, Part: "other"})
		t.wantScan(driver.ScanRequest{Kind: otherKind, Part: part})
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part, From: "c"})
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part, To: "b"})
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part, From: "b", To: "b"})
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part, From: "c", To: "a"})
		t.wantScan(driver.ScanRequest{Kind: kind, Part: part, From: "c", To: "a", Reverse: true})
	}},
	{"Scan returns whole records", func(t *storeTest) {
		want := driver.Record{
			Key: key("a"), Body: []byte("body"), ExpireAt: t.now().Add(time.Hour),
			Index: []driver.IndexEntry{entry("ip", "is"), {Index: index2, Part: "ip2", Sort: "is2"}},
		}
		want.Version = t.apply(driver.Op{Record: want})[0]
		got := t.scan(driver.ScanRequest{Kind: kind, Part: part})
		if len(got) != 1 {
			t.Fatalf("%d records, want 1", len(got))
		}
		t.wantRecord(&got[0], want)
	}},
	{"Scan shows one part of one kind only", func(t *storeTest) {
		keys := lookalikes()
		t.putAll(keys)
		byPart := map[driver.Key][]string{}
		for _, k := range keys {
			p := driver.Key{Kind: k.Kind, Part: k.Part}
			byPart[p] = append(byPart[p], k.Sort)
		}
		for p, sorts := range byPart {
			slices.Sort(sorts)
			t.wantScan(driver.ScanRequest{Kind: p.Kind, Part: p.Part}, sorts...)
		}
	}},
	{"Scan sees every acknowledged write at once", func(t *storeTest) {
		var want []string
		for _, k := range numbers("k", 20) {
			t.put(k, "x")
			want = append(want, k.Sort)
			t.wantScan(driver.ScanRequest{Kind: kind, Part: part}, want...)
		}
		for len(want) > 0 {
			t.apply(deleteOp(key(want[0])))
			want = want[1:]
			t.wantScan(driver.ScanRequest{Kind: kind, Part: part}, want...)
		}
	}},
	{"Scan is in bytewise order, both ways", func(t *storeTest) {
		want := slices.Clone(unusualTexts)
		want = append(want, "aa", "ab", "a!", "a\x01", "B", "b", "10", "2", "\ue000", longText(driver.MaxSortBytes))
		slices.Sort(want)
		want = slices.Compact(want)
		var keys []driver.Key
		for _, s := range want {
			keys = append(keys, key(s))
		}
		t.putAll(keys)
		for _, limit := range []int{0, 1, 3} {
			t.wantScan(driver.ScanRequest{Kind: kind, Part: part, Limit: limit}, want...)
		}
		slices.Reverse(want)
		for _, limit := range []int{0, 1, 3} {
			t.wantScan(driver.ScanRequest{Kind: kind, Part: part, Limit: limit, Reverse: true}, want...)
		}
	}},
	{"Scan ranges are half open, both ways", func(t *storeTest) {
		t.putAll([]driver.Key{key("a"), key("b"), key("ba"), key("c"), key("d")})
		checkRanges(t, driver.ScanRequest{Kind: kind, Part: part}, t.wantScan)
	}},
	{"Scan pages have no more than Limit and MaxScanLimit records", func(t *storeTest) {
		n := t.caps.MaxScanLimit + 3
		keys := numbers("k", n)
		t.putAll(keys)
		want := make([]string, n)
		for i, k := range keys {
			want[i] = k.Sort
		}
		for _, limit := range []int{0, n / 3, t.caps.MaxScanLimit, t.caps.MaxScanLimit + 1, 1 << 30} {
			t.wantScan(driver.ScanRequest{Kind: kind, Part: part, Limit: limit}, want...) // page checks each length
		}
	}},
	{"Scan of large records returns all of them", func(t *storeTest) {
		body := strings.Repeat("b", 64<<10)
		var want []string
		for _, k := range numbers("k", 60) {
			t.put(k, body)
			want = append(want, k.Sort)
		}
		got := t.scan(driver.ScanRequest{Kind: kind, Part: part})
		if diff := cmp.Diff(want, sortsOf(got)); diff != "" {
			t.Error(diff)
		}
		for _, r := range got {
			if !bytes.Equal(r.Body, []byte(body)) {
				t.Fatal("a body differs")
			}
		}
	}},
	{"Scan pages go on where they were while records come and go", func(t *storeTest) {
		for _, reverse := range []bool{false, true} {
			checkPagingUnderWrites(t, reverse)
		}
	}},
	{"Scan goes on from a cursor with another Limit", func(t *storeTest) {
		var want []string
		for _, k := range numbers("k", 20) {
			t.put(k, "x")
			want = append(want, k.Sort)
		}
		req := driver.ScanRequest{Kind: kind, Part: part}
		var got []string
		for n := range 10_000 {
			req.Limit = []int{1, 3, 2, 0}[n%4]
			page := t.page(req)
			got = append(got, sortsOf(page.Records)...)
			if req.Cursor = page.Next; req.Cursor == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages of different length (-want +got):\n%s", diff)
		}
	}},
	{"Scan of what breaks a rule is Invalid", func(t *storeTest) {
		for what, req := range map[string]driver.ScanRequest{
			"empty kind":       {Part: part},
			"empty part":       {Kind: kind},
			"part too long":    {Kind: kind, Part: longText(driver.MaxPartBytes + 1)},
			"NUL in the part":  {Kind: kind, Part: "a\x00"},
			"NUL in From":      {Kind: kind, Part: part, From: "a\x00"},
			"To without UTF-8": {Kind: kind, Part: part, To: "a\xff"},
			"negative limit":   {Kind: kind, Part: part, Limit: -1},
		} {
			_, err := t.store.Scan(t.Context(), req)
			t.wantCode(what, err, driver.Invalid)
		}
	}},
}

// checkRanges checks all ranges over what has the Sorts a, b, ba, c and d, in the scan of req.
func checkRanges(t *storeTest, req driver.ScanRequest, want func(driver.ScanRequest, ...string)) {
	all := []string{"a", "b", "ba", "c", "d"}
	bounds := []string{"", "A", "a", "aa", "b", "b!", "ba", "bb", "c", "d", "e", "\U0010ffff"}
	for _, from := range bounds {
		for _, to := range bounds {
			var in []string
			for _, s := range all {
				if s >= from && (to == "" || s < to) {
					in = append(in, s)
				}
			}
			for _, limit := range []int{0, 2} {
				req.From, req.To, req.Limit, req.Reverse = from, to, limit, false
				want(req, in...)
				req.Reverse = true
				back := slices.Clone(in)
				slices.Reverse(back)
				want(req, back...)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// checkPagingUnderWrites inserts before, at and after the place of a scan between its pages, and deletes the record that
// the scan stands on.
func checkPagingUnderWrites(t *storeTest, reverse bool) {
	req := driver.ScanRequest{Kind: kind, Part: fmt.Sprint("paging", reverse), Limit: 4, Reverse: reverse}
	at := func(sort string) driver.Key { return driver.Key{Kind: kind, Part: req.Part, Sort: sort} }
	var old []driver.Key
	for _, k := range numbers("k", 40) {
		old = append(old, at(k.Sort))
	}
	t.putAll(old)
	seen := map[string]int{}
	var last string
	for n := 0; ; n++ {
		page := t.page(req)
		for _, r := range page.Records {
			s := r.Key.Sort
			seen[s]++
			if last != "" && (s > last) == reverse {
				t.Errorf("%q comes after %q", s, last)
			}
			last = s
		}
		if page.Next == "" {
			break
		}
		if n > 1000 {
			t.Fatal("the scan does not end")
		}
		req.Cursor = page.Next
		if last != "" && n < 10 {
			t.putAll([]driver.Key{
				at("a" + fmt.Sprint(n)), at("z" + fmt.Sprint(n)),
				at(last + "!"), at(last[:len(last)-1] + "!"), at(last + fmt.Sprint(n) + "~"),
			})
			t.apply(deleteOp(at(last)))
		}
	}
	for s, times := range seen {
		if times > 1 {
			t.Errorf("%q was returned %d times", s, times)
		}
	}
	for _, k := range old {
		if seen[k.Sort] == 0 {
			t.Errorf("%q was there all the time and was not returned", k.Sort)
		}
	}
}
