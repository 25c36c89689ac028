package memdriver

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/pop-platform/pop/plugins/driver"
)

// UntilSettled is an index lag that only [Store.Settle] ends.
const UntilSettled time.Duration = math.MaxInt64

// StoreOptions configure a [Store]. The zero value is a store with [FullStore] capabilities on the system's clock.
type StoreOptions struct {
	// Now is the clock, which decides what has expired and what an index shows. The default is [time.Now].
	Now func() time.Time

	// Capabilities are honoured and declared, except that FreshIndexes follows from IndexLag. The default is [FullStore].
	Capabilities driver.StoreCapabilities

	// IndexLag makes index scans show the indexes as they were that long ago.
	IndexLag time.Duration

	// ShortPages makes every scan answer first an empty page and then pages of half the limit.
	ShortPages bool
}

// FullStore returns the capabilities of a store that can do everything.
func FullStore() driver.StoreCapabilities {
	return driver.StoreCapabilities{
		MaxRecordBytes: 1 << 20, MaxGroupOps: 100, MaxScanLimit: 1000,
		CheapGroups: true, FreshIndexes: true, ReturnsCurrent: true, Shared: true,
	}
}

// LeastStore returns the capabilities of the poorest store that the contract allows, with pages so small that every
// scan of note takes several.
func LeastStore() driver.StoreCapabilities {
	return driver.StoreCapabilities{MaxRecordBytes: 64 << 10, MaxGroupOps: 1, MaxScanLimit: 7}
}

// Store is a [driver.Store] in memory.
type Store struct {
	data   *storeData
	closed bool // guarded by data.mu
}

// storeData is what all handles on a store share. Records in it are never changed, only replaced.
type storeData struct {
	opts StoreOptions

	mu      sync.Mutex
	kinds   map[driver.Kind][]string // index names by kind
	trees   map[treeID]*tree
	mortal  map[driver.Key]time.Time // when which records expire
	unswept int                      // writes since expired records were last removed
	stamp   uint64                   // the last version
	pending []indexChange            // oldest first
}

// treeID names an ordered part of the store: a part of a kind, or of an index of a kind.
type treeID struct {
	kind  driver.Kind
	index string // empty for the primary key
	part  string
}

// tree holds the records of a part by Sort. In an index the primary key is appended to Sort, to tell records with the
// same entry apart.
type tree = btree.Map[string, *driver.Record]

type indexChange struct {
	at       time.Time
	old, new *driver.Record // nil if absent
}

// NewStore returns an empty store.
func NewStore(opts StoreOptions) *Store {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Capabilities == (driver.StoreCapabilities{}) {
		opts.Capabilities = FullStore()
	}
	opts.Capabilities.FreshIndexes = opts.IndexLag == 0
	return &Store{data: &storeData{
		opts:   opts,
		kinds:  map[driver.Kind][]string{},
		trees:  map[treeID]*tree{},
		mortal: map[driver.Key]time.Time{},
	}}
}

// Open returns another handle on the same data, as a second or a restarted process would. Closing one handle leaves the
// others open.
func (s *Store) Open() *Store { return &Store{data: s.data} }

// Settle brings all indexes up to date.
func (s *Store) Settle() {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	s.data.catchUp(func(indexChange) bool { return true })
}

// Len returns the number of records, among them expired ones that are not yet removed.
func (s *Store) Len() int {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	n := 0
	for id, t := range s.data.trees {
		if id.index == "" {
			n += t.Len()
		}
	}
	return n
}

// Capabilities implements [driver.Store].
func (s *Store) Capabilities(context.Context) (driver.StoreCapabilities, error) {
	return s.data.opts.Capabilities, nil
}

// Migrate implements [driver.Store].
func (s *Store) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	unlock, err := s.begin(ctx, "migrate")
	if err != nil {
		return driver.MigrateResponse{}, err
	}
	defer unlock()
	var steps []string
	for _, k := range req.Schema.Kinds {
		known, ok := s.data.kinds[k.Kind]
		if !ok {
			steps = append(steps, fmt.Sprintf("add kind %s", k.Kind))
		}
		for _, index := range k.Indexes {
			if !slices.Contains(known, index) {
				steps = append(steps, fmt.Sprintf("add index %s of kind %s", index, k.Kind))
				known = append(slices.Clone(known), index)
			}
		}
		if !req.DryRun {
			s.data.kinds[k.Kind] = known
		}
	}
	return driver.MigrateResponse{Steps: steps}, nil
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	unlock, err := s.begin(ctx, "get")
	if err != nil {
		return driver.GetResponse{}, err
	}
	defer unlock()
	now := s.data.opts.Now()
	records := make([]*driver.Record, len(req.Keys))
	for i, k := range req.Keys {
		if err := s.data.declared("get", k.Kind, ""); err != nil {
			return driver.GetResponse{}, err
		}
		records[i] = clone(s.data.live(k, now))
	}
	return driver.GetResponse{Records: records}, nil
}

// Scan implements [driver.Store]. A cursor is the rest of the range: ">" and where it starts, or, in reverse, "<" and
// where it ends.
func (s *Store) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.ScanResponse{}, err
	}
	direction, from, to := ">", req.From, req.To
	if req.Reverse {
		direction = "<"
	}
	if req.Cursor != "" {
		if req.Cursor[:1] != direction {
			return driver.ScanResponse{}, driver.Errorf(driver.Invalid, "scan", "the cursor is not of this scan")
		}
		if req.Reverse {
			to = req.Cursor[1:]
		} else {
			from = req.Cursor[1:]
		}
	}
	unlock, err := s.begin(ctx, "scan")
	if err != nil {
		return driver.ScanResponse{}, err
	}
	defer unlock()
	if err := s.data.declared("scan", req.Kind, req.Index); err != nil {
		return driver.ScanResponse{}, err
	}
	now := s.data.opts.Now()
	if req.Index != "" {
		s.data.catchUp(func(c indexChange) bool { return now.Sub(c.at) >= s.data.opts.IndexLag })
	}
	t := s.data.trees[treeID{req.Kind, req.Index, req.Part}]
	if t == nil {
		return driver.ScanResponse{}, nil
	}

	limit := s.data.opts.Capabilities.MaxScanLimit
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	if s.data.opts.ShortPages {
		limit = (limit + 1) / 2
		if req.Cursor == "" {
			limit = 0
		}
	}
	var page driver.ScanResponse
	add := func(key string, r *driver.Record) bool {
		switch {
		case expired(r, now):
		case len(page.Records) < limit:
			page.Records = append(page.Records, item(r, req.Index))
		case req.Reverse:
			page.Next = "<" + key + "\x00" // keys have no room between themselves and key+NUL
			return false
		default:
			page.Next = ">" + key
			return false
		}
		return true
	}
	if !req.Reverse {
		t.Ascend(from, func(key string, r *driver.Record) bool {
			return (to == "" || key < to) && add(key, r)
		})
		return page, nil
	}
	descend := func(key string, r *driver.Record) bool {
		if to != "" && key >= to {
			return true
		}
		return key >= from && add(key, r)
	}
	if to == "" {
		t.Reverse(descend)
	} else {
		t.Descend(to, descend)
	}
	return page, nil
}

// item returns what a scan shows of a record.
func item(r *driver.Record, index string) driver.Record {
	if index == "" {
		return *clone(r)
	}
	i := slices.IndexFunc(r.Index, func(e driver.IndexEntry) bool { return e.Index == index })
	return driver.Record{Key: r.Key, Index: []driver.IndexEntry{r.Index[i]}}
}

// Write implements [driver.Store].
func (s *Store) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	if err := req.Validate(s.data.opts.Capabilities); err != nil {
		return driver.WriteResponse{}, err
	}
	unlock, err := s.begin(ctx, "write")
	if err != nil {
		return driver.WriteResponse{}, err
	}
	defer unlock()
	for _, g := range req.Groups {
		for _, op := range g {
			if err := s.data.declared("write", op.Record.Key.Kind, ""); err != nil {
				return driver.WriteResponse{}, err
			}
			for _, e := range op.Record.Index {
				if err := s.data.declared("write", op.Record.Key.Kind, e.Index); op.Type == driver.Put && err != nil {
					return driver.WriteResponse{}, err
				}
			}
		}
	}
	now := s.data.opts.Now()
	s.data.sweep(now)
	results := make([]driver.WriteResult, len(req.Groups))
	for i, g := range req.Groups {
		results[i] = s.data.write(g, now)
	}
	return driver.WriteResponse{Results: results}, nil
}

// Close implements [driver.Store].
func (s *Store) Close(context.Context) error {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	s.closed = true
	return nil
}

// begin locks the store for one call.
func (s *Store) begin(ctx context.Context, op string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	s.data.mu.Lock()
	if s.closed {
		s.data.mu.Unlock()
		return nil, driver.Errorf(driver.Unavailable, op, "the store is closed")
	}
	return s.data.mu.Unlock, nil
}

func (d *storeData) declared(op string, kind driver.Kind, index string) error {
	indexes, ok := d.kinds[kind]
	if !ok {
		return driver.Errorf(driver.Invalid, op, "kind %q is in no schema that was migrated", kind)
	}
	if index != "" && !slices.Contains(indexes, index) {
		return driver.Errorf(driver.Invalid, op, "index %q of kind %q is in no schema that was migrated", index, kind)
	}
	return nil
}

func (d *storeData) write(g driver.Group, now time.Time) driver.WriteResult {
	for i, op := range g {
		current := d.live(op.Record.Key, now)
		if holds(op, current) {
			continue
		}
		res := driver.WriteResult{
			Failed: i,
			Err:    driver.Errorf(driver.Conflict, "write", "the condition on %q does not hold", op.Record.Key),
		}
		if d.opts.Capabilities.ReturnsCurrent {
			res.Current = clone(current)
		}
		return res
	}
	res := driver.WriteResult{Versions: make([]driver.Version, len(g))}
	for i, op := range g {
		switch op.Type {
		case driver.Put:
			r := clone(&op.Record)
			d.stamp++
			r.Version = driver.Version(strconv.FormatUint(d.stamp, 36))
			r.ExpireAt = r.ExpireAt.Truncate(time.Second)
			res.Versions[i] = r.Version
			d.replace(r.Key, r, now)
		case driver.Delete:
			d.replace(op.Record.Key, nil, now)
		case driver.Check:
		}
	}
	return res
}

func holds(op driver.Op, current *driver.Record) bool {
	switch op.Cond {
	case driver.IfAbsent:
		return current == nil
	case driver.IfVersion:
		return current != nil && current.Version == op.Version
	default:
		return true
	}
}

// live returns the record with the key, or nil.
func (d *storeData) live(k driver.Key, now time.Time) *driver.Record {
	t := d.trees[treeID{kind: k.Kind, part: k.Part}]
	if t == nil {
		return nil
	}
	if r, ok := t.Get(k.Sort); ok && !expired(r, now) {
		return r
	}
	return nil
}

// replace puts r at the key, or nothing if r is nil.
func (d *storeData) replace(k driver.Key, r *driver.Record, now time.Time) {
	id := treeID{kind: k.Kind, part: k.Part}
	var old *driver.Record
	if r == nil {
		old = d.remove(id, k.Sort)
	} else {
		old = d.set(id, k.Sort, r)
	}
	if r != nil && !r.ExpireAt.IsZero() {
		d.mortal[k] = r.ExpireAt
	} else if old != nil {
		delete(d.mortal, k)
	}
	if (old == nil || len(old.Index) == 0) && (r == nil || len(r.Index) == 0) {
		return
	}
	change := indexChange{at: now, old: old, new: r}
	if d.opts.IndexLag == 0 {
		d.reindex(change)
	} else {
		d.pending = append(d.pending, change)
	}
}

func (d *storeData) reindex(c indexChange) {
	if c.old != nil {
		for _, e := range c.old.Index {
			d.remove(treeID{c.old.Key.Kind, e.Index, e.Part}, indexKey(e, c.old))
		}
	}
	if c.new != nil {
		for _, e := range c.new.Index {
			d.set(treeID{c.new.Key.Kind, e.Index, e.Part}, indexKey(e, c.new), c.new)
		}
	}
}

func indexKey(e driver.IndexEntry, r *driver.Record) string {
	return e.Sort + "\x00" + r.Key.Part + "\x00" + r.Key.Sort
}

// catchUp applies the oldest pending changes of the indexes for as long as they are due.
func (d *storeData) catchUp(due func(indexChange) bool) {
	n := 0
	for n < len(d.pending) && due(d.pending[n]) {
		d.reindex(d.pending[n])
		n++
	}
	d.pending = slices.Delete(d.pending, 0, n)
}

func (d *storeData) set(id treeID, key string, r *driver.Record) (old *driver.Record) {
	t := d.trees[id]
	if t == nil {
		t = &tree{}
		d.trees[id] = t
	}
	old, _ = t.Set(key, r)
	return old
}

func (d *storeData) remove(id treeID, key string) (old *driver.Record) {
	t := d.trees[id]
	if t == nil {
		return nil
	}
	old, _ = t.Delete(key)
	if t.Len() == 0 {
		delete(d.trees, id)
	}
	return old
}

// sweep removes expired records once in as many writes as there are records to look at.
func (d *storeData) sweep(now time.Time) {
	if d.unswept++; d.unswept < len(d.mortal)+1000 {
		return
	}
	d.unswept = 0
	for k, at := range d.mortal {
		if !now.Before(at) {
			d.replace(k, nil, now)
		}
	}
}

func expired(r *driver.Record, now time.Time) bool {
	return !r.ExpireAt.IsZero() && !now.Before(r.ExpireAt)
}

func clone(r *driver.Record) *driver.Record {
	if r == nil {
		return nil
	}
	c := *r
	c.Index = slices.Clone(r.Index)
	c.Body = bytes.Clone(r.Body)
	return &c
}
