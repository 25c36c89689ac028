package drivertest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pop-platform/pop/plugins/driver"
)

// StoreHarness makes the stores that a suite tests.
type StoreHarness struct {
	// Open returns an empty store that nothing else uses. It is called by parallel tests. What Close does not release is
	// released by t.Cleanup.
	Open func(t *testing.T) StoreFixture

	// Capabilities are what every store reports.
	Capabilities driver.StoreCapabilities

	// Volatile says that the store keeps nothing when it is closed, and that fixtures have no Reopen.
	Volatile bool
}

// StoreFixture is a store under test.
type StoreFixture struct {
	Store driver.Store

	// Reopen returns a store on the same data, as after a restart. The store before it is closed, unless the data may be
	// Shared.
	Reopen func(t *testing.T) driver.Store

	// Kill ends the process of the store with no warning, as kill -9 does. It is nil if the store runs in this process.
	// After it comes Close, whose error counts for nothing, and Reopen.
	Kill func(t *testing.T)

	// Clock is the clock that the store was given; nil means the system's, for which the suite waits.
	Clock *Clock
}

// Clock is a clock that moves only when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows now.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// RunStore tests a store against every clause of the contract.
func RunStore(t *testing.T, h StoreHarness) {
	storeSuite.run(t, func(t *testing.T) *storeTest { return newStoreTest(t, h) })
}

var storeSuite = suite[*storeTest]{
	name: "store",
	clauses: slices.Concat(storeCapabilityClauses, getClauses, scanClauses, indexClauses, writeClauses, groupClauses, expiryClauses,
		concurrencyClauses, storeLifeClauses, storeCrashClauses),
	use: func(s *storeTest) {
		s.put(key("a"), "x")
		s.scan(driver.ScanRequest{Kind: kind, Part: part})
	},
}

type storeClause = clause[*storeTest]

// The names that the suite uses in stores.
const (
	kind      driver.Kind = "alpha"
	otherKind driver.Kind = "beta"
	index                 = "one"
	index2                = "two"
	part                  = "p"
)

var schema = driver.Schema{Kinds: []driver.KindSchema{
	{Kind: kind, Indexes: []string{index, index2}},
	{Kind: otherKind, Indexes: []string{index}},
}}

// patience is how long the suite waits for what a driver does in its own time.
var patience = 20 * time.Second

// storeTest is one test of a store.
type storeTest struct {
	*testing.T
	harness StoreHarness
	fixture StoreFixture
	store   driver.Store
	caps    driver.StoreCapabilities
}

// newStoreTest returns a test of a new store.
func newStoreTest(t *testing.T, h StoreHarness) *storeTest {
	t.Helper()
	fixture := h.Open(t)
	return &storeTest{T: t, harness: h, fixture: fixture, store: fixture.Store, caps: h.Capabilities}
}

func (t *storeTest) driver() closer { return t.store }

func (t *storeTest) prepare() {
	t.Helper()
	t.migrate(false)
}

func (t *storeTest) migrate(dryRun bool) []string {
	t.Helper()
	resp, err := t.store.Migrate(t.Context(), driver.MigrateRequest{Schema: schema, DryRun: dryRun})
	if err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	return resp.Steps
}

// reopen closes the store and opens it again.
func (t *storeTest) reopen() {
	t.Helper()
	if err := t.store.Close(t.Context()); err != nil {
		t.Fatalf("Close: %v", err)
	}
	t.store = t.fixture.Reopen(t.T)
	t.migrate(false)
}

func (t *storeTest) now() time.Time {
	if t.fixture.Clock != nil {
		return t.fixture.Clock.Now()
	}
	return time.Now()
}

func key(sort string) driver.Key { return driver.Key{Kind: kind, Part: part, Sort: sort} }

func entry(part, sort string) driver.IndexEntry {
	return driver.IndexEntry{Index: index, Part: part, Sort: sort}
}

func putOp(k driver.Key, body string, entries ...driver.IndexEntry) driver.Op {
	return driver.Op{Record: driver.Record{Key: k, Body: []byte(body), Index: entries}}
}

func deleteOp(k driver.Key) driver.Op {
	return driver.Op{Type: driver.Delete, Record: driver.Record{Key: k}}
}

func checkOp(k driver.Key) driver.Op {
	return driver.Op{Type: driver.Check, Record: driver.Record{Key: k}}
}

func ifAbsent(op driver.Op) driver.Op {
	op.Cond = driver.IfAbsent
	return op
}

func ifVersion(op driver.Op, v driver.Version) driver.Op {
	op.Cond, op.Version = driver.IfVersion, v
	return op
}

// write returns the results of the groups of one call.
func (t *storeTest) write(groups ...driver.Group) []driver.WriteResult {
	t.Helper()
	resp, err := t.store.Write(t.Context(), driver.WriteRequest{Groups: groups})
	if err != nil {
		t.Fatalf("Write: %v", err)
	}
	if len(resp.Results) != len(groups) {
		t.Fatalf("Write of %d groups returned %d results", len(groups), len(resp.Results))
	}
	for i, res := range resp.Results {
		if res.Err == nil && len(res.Versions) != len(groups[i]) {
			t.Fatalf("group %d of %d operations returned %d versions", i, len(groups[i]), len(res.Versions))
		}
	}
	return resp.Results
}

// apply writes a group that has to succeed and returns the versions.
func (t *storeTest) apply(ops ...driver.Op) []driver.Version {
	t.Helper()
	res := t.write(ops)[0]
	if res.Err != nil {
		t.Fatalf("Write: %v", res.Err)
	}
	return res.Versions
}

// conflict writes a group that has to be a conflict.
func (t *storeTest) conflict(ops ...driver.Op) driver.WriteResult {
	t.Helper()
	res := t.write(ops)[0]
	if !driver.IsConflict(res.Err) {
		t.Fatalf("Write: %v, want a conflict", res.Err)
	}
	return res
}

// put writes a record and returns its version.
func (t *storeTest) put(k driver.Key, body string, entries ...driver.IndexEntry) driver.Version {
	t.Helper()
	return t.apply(putOp(k, body, entries...))[0]
}

// putAll writes one record for each key, with the Sort as its body.
func (t *storeTest) putAll(keys []driver.Key, entries ...driver.IndexEntry) {
	t.Helper()
	for len(keys) > 0 {
		n := min(len(keys), 100)
		groups := make([]driver.Group, n)
		for i, k := range keys[:n] {
			groups[i] = driver.Group{putOp(k, k.Sort, entries...)}
		}
		for _, res := range t.write(groups...) {
			if res.Err != nil {
				t.Fatalf("Write: %v", res.Err)
			}
		}
		keys = keys[n:]
	}
}

// get returns the records with the keys.
func (t *storeTest) get(keys ...driver.Key) []*driver.Record {
	t.Helper()
	resp, err := t.store.Get(t.Context(), driver.GetRequest{Keys: keys})
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if len(resp.Records) != len(keys) {
		t.Fatalf("Get of %d keys returned %d records", len(keys), len(resp.Records))
	}
	return resp.Records
}

// wantBody checks the body of the record with the key; "" means that there is none.
func (t *storeTest) wantBody(k driver.Key, want string) {
	t.Helper()
	if got := bodyOf(t.get(k)[0]); got != want {
		t.Errorf("body of %q is %q, want %q", k, got, want)
	}
}

func bodyOf(r *driver.Record) string {
	if r == nil {
		return ""
	}
	return string(r.Body)
}

// scan returns the records of all pages of a range.
func (t *storeTest) scan(req driver.ScanRequest) []driver.Record {
	t.Helper()
	var all []driver.Record
	for range 10_000 {
		page := t.page(req)
		all = append(all, page.Records...)
		if page.Next == "" {
			return all
		}
		req.Cursor = page.Next
	}
	t.Fatal("the scan does not end")
	return nil
}

// page returns one page of a range.
func (t *storeTest) page(req driver.ScanRequest) driver.ScanResponse {
	t.Helper()
	page, err := t.store.Scan(t.Context(), req)
	if err != nil {
		t.Fatalf("Scan: %v", err)
	}
	limit := t.caps.MaxScanLimit
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	if len(page.Records) > limit {
		t.Fatalf("a page has %d records, want at most %d", len(page.Records), limit)
	}
	if !utf8.ValidString(page.Next) {
		t.Errorf("the cursor %q is not UTF-8", page.Next)
	}
	return page
}

// wantScan checks the Sorts of a range.
func (t *storeTest) wantScan(req driver.ScanRequest, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, sortsOf(t.scan(req)), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("scan of %+v (-want +got):\n%s", req, diff)
	}
}

// wantIndex checks the Sorts of the primary keys in a range of an index: at once if the store's indexes are fresh, else
// before long.
func (t *storeTest) wantIndex(req driver.ScanRequest, want ...string) {
	t.Helper()
	t.eventually(t.caps.FreshIndexes, func() string {
		diff := cmp.Diff(want, sortsOf(t.scan(req)), cmpopts.EquateEmpty())
		if diff != "" {
			return fmt.Sprintf("scan of %+v (-want +got):\n%s", req, diff)
		}
		return ""
	})
}

// eventually calls check until it finds no fault, once only if it has to hold at once.
func (t *storeTest) eventually(atOnce bool, check func() (fault string)) {
	t.Helper()
	wait := patience
	if atOnce {
		wait = 0
	}
	if fault := poll(t.T, wait, check); fault != "" {
		t.Error(fault)
	}
}

// poll calls check until it finds no fault or the wait is over, and returns the fault of the last call.
func poll(t *testing.T, wait time.Duration, check func() (fault string)) string {
	t.Helper()
	fault := check()
	if fault == "" || wait == 0 {
		return fault
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	end := time.Now().Add(wait)
	for fault != "" && time.Now().Before(end) {
		<-ticker.C
		fault = check()
	}
	return fault
}

// wantCode checks the code of an error, and that it knows that nothing was done.
func (t *storeTest) wantCode(what string, err error, want driver.Code) {
	t.Helper()
	checkCode(t.T, what, err, want)
}

func checkCode(t *testing.T, what string, err error, want driver.Code) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error, want %s", what, want)
	case driver.CodeOf(err) != want:
		t.Errorf("%s: %v, want %s", what, err, want)
	case driver.OutcomeOf(err) != driver.NotApplied:
		t.Errorf("%s: %v: the outcome is unknown, want not applied", what, err)
	}
}

// wantRecord checks a record, whose version it ignores if want has none.
func (t *storeTest) wantRecord(got *driver.Record, want driver.Record) {
	t.Helper()
	if got == nil {
		t.Fatalf("there is no record %q", want.Key)
	}
	if got.Version == "" {
		t.Errorf("record %q has no version", want.Key)
	}
	if want.Version == "" {
		want.Version = got.Version
	}
	if diff := diffRecords(&want, got); diff != "" {
		t.Errorf("record %q (-want +got):\n%s", want.Key, diff)
	}
}

// diffRecords compares records by what the contract promises.
func diffRecords(want, got any) string {
	return cmp.Diff(want, got,
		cmpopts.EquateEmpty(),
		cmpopts.SortSlices(func(a, b driver.IndexEntry) bool { return a.Index < b.Index }),
		cmp.Transformer("seconds", cutToSecond))
}

func cutToSecond(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Truncate(time.Second).Format(time.RFC3339)
}

func sortsOf(records []driver.Record) []string {
	var sorts []string
	for _, r := range records {
		sorts = append(sorts, r.Key.Sort)
	}
	return sorts
}

// numbers returns the keys prefix+"000" and so on.
func numbers(prefix string, n int) []driver.Key {
	keys := make([]driver.Key, n)
	for i := range keys {
		keys[i] = key(fmt.Sprintf("%s%06d", prefix, i))
	}
	return keys
}

// unusualTexts are texts that are not special, but that a backend may take for special.
var unusualTexts = []string{
	"a", "A", "a b", " ", " a", "a ", ".", "..", "./a", "a/b", "/", "//", "a\\b", "%", "%2F", "%00", "_", "__a__", "a_b", "a%b",
	"'", `"`, "`", "'; DROP TABLE x; --", "a#b", "a:b", "a~b", "a|b", "a,b", "a;b", "a=b", "a&b", "a?b", "a*b", "a\nb", "a\tb",
	"\x01", "a\x01b", "\x1f", "\x7f", "é", "e\u0301", "ß", "日本語", "\ufeff", "\ufffd", "\uffff", "\U00010000", "🎬", "\U0010ffff",
	"true", "null", "0", "-1", "1e9", "$a", "${a}", "{{a}}", "<a>", "\u202e", "\u0085", "\u2028",
}

// longText returns a text of n bytes.
func longText(n int) string { return strings.Repeat("x", n) }
