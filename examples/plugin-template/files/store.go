package files

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/pop-platform/pop/plugins/driver"
)

// Options configure a [Store].
type Options struct {
	Dir string // folder; it is made if it is not there
	// Log takes what an operator should know. The default drops it.
	Log *slog.Logger
	// Now is the clock that says what has expired. The default is [time.Now].
	Now func() time.Time
}

// Store is a [driver.Store].
type Store struct {
	Options
	lock *os.File // held while the store is open, so that no other process opens the folder

	// A write holds mu for as long as it takes, fsync included. That is slow, and easy to see right.
	mu      sync.RWMutex
	entries btree.Map[string, *driver.Record] // by keyText and entryText, without bodies
	kinds   map[driver.Kind][]string
	closed  bool
	stop    chan struct{} // closed when the store is
}

// capabilities are the least that there can be but for fresh indexes and conflicts with the record that is there, which cost
// nothing here. A file is replaced in one step and two are not, so there are no groups.
var capabilities = driver.StoreCapabilities{
	MaxRecordBytes: 1 << 20, MaxGroupOps: 1, MaxScanLimit: 1000,
	FreshIndexes: true, ReturnsCurrent: true, ExpiryLag: time.Hour,
}

// Open opens the store in a folder.
func Open(o Options) (*Store, error) {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{Options: o, kinds: map[driver.Kind][]string{}, stop: make(chan struct{})}
	if err := s.load(); err != nil {
		if s.lock != nil {
			_ = s.lock.Close() // the other error says more
		}
		return nil, err
	}
	go s.sweep()
	return s, nil
}

// Capabilities implements [driver.Store].
func (s *Store) Capabilities(context.Context) (driver.StoreCapabilities, error) {
	return capabilities, nil
}

// begin looks whether a call may go on. The caller holds mu.
func (s *Store) begin(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if s.closed {
		return driver.Errorf(driver.Unavailable, op, "the store is closed")
	}
	return nil
}

// Migrate implements [driver.Store].
func (s *Store) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, "migrate"); err != nil {
		return driver.MigrateResponse{}, err
	}
	kinds, steps := merge(s.kinds, req.Schema)
	if len(steps) == 0 || req.DryRun {
		return driver.MigrateResponse{Steps: steps}, nil
	}
	if err := s.writeSchema(kinds); err != nil {
		return driver.MigrateResponse{}, err
	}
	s.kinds = kinds
	return driver.MigrateResponse{Steps: steps}, nil
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.begin(ctx, "get"); err != nil {
		return driver.GetResponse{}, err
	}
	records := make([]*driver.Record, len(req.Keys))
	for i, k := range req.Keys {
		r := s.live(k)
		if r == nil {
			continue
		}
		var err error
		if records[i], err = s.read(r); err != nil {
			return driver.GetResponse{}, err
		}
	}
	return driver.GetResponse{Records: records}, nil
}

// Write implements [driver.Store]. Every group has at most one operation, so groups are applied one after the other.
func (s *Store) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	if err := req.Validate(capabilities); err != nil {
		return driver.WriteResponse{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.begin(ctx, "write"); err != nil {
		return driver.WriteResponse{}, err
	}
	results := make([]driver.WriteResult, len(req.Groups))
	for i, g := range req.Groups {
		if len(g) == 1 {
			results[i] = s.apply(g[0])
		}
	}
	if err := syncDir(s.Dir); err != nil { // what was written may be there after a power failure, or not
		return driver.WriteResponse{}, &driver.Error{Code: driver.Unavailable, Outcome: driver.Unknown, Op: "write", Message: err.Error(), Err: err}
	}
	return driver.WriteResponse{Results: results}, nil
}

// apply applies one operation, but for the sync of the folder.
func (s *Store) apply(op driver.Op) driver.WriteResult {
	k := op.Record.Key
	current := s.live(k)
	if !holds(op, current) {
		res := driver.WriteResult{Err: driver.Errorf(driver.Conflict, "write", "the condition on %q does not hold", k)}
		if current != nil {
			r, err := s.read(current)
			if err != nil {
				return driver.WriteResult{Err: err}
			}
			res.Current = r
		}
		return res
	}
	res := driver.WriteResult{Versions: make([]driver.Version, 1)}
	switch op.Type {
	case driver.Put:
		r := op.Record
		r.Version = driver.Version(rand.Text()) // 128 random bits are never issued again, whatever is lost
		r.ExpireAt = r.ExpireAt.Truncate(time.Second)
		if err := s.writeRecord(r); err != nil {
			return driver.WriteResult{Err: err}
		}
		s.index(r)
		res.Versions[0] = r.Version
	case driver.Delete:
		if err := s.removeRecord(k); err != nil {
			return driver.WriteResult{Err: err}
		}
		s.unindex(k)
	case driver.Check:
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

// Close implements [driver.Store].
func (s *Store) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.stop)
	return s.lock.Close()
}

// sweepInterval is how often records that have expired are removed, so that they keep their space no longer than declared.
const sweepInterval = 30 * time.Minute

// sweep removes what has expired until the store is closed.
func (s *Store) sweep() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := s.removeExpired(); err != nil {
				s.Log.Warn("expired records were not removed", "error", err)
			}
		case <-s.stop:
			return
		}
	}
}

func (s *Store) removeExpired() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var expired []driver.Key
	s.entries.Scan(func(text string, r *driver.Record) bool {
		if s.expired(r) && text == keyText(r.Key) {
			expired = append(expired, r.Key)
		}
		return true
	})
	for _, k := range expired {
		if s.closed {
			return nil
		}
		if err := s.removeRecord(k); err != nil {
			return err
		}
		s.unindex(k)
	}
	return nil
}

// CheckHealth implements [driver.HealthChecker].
func (s *Store) CheckHealth(context.Context) error {
	if _, err := os.Stat(s.Dir); err != nil {
		return fault("check health", err)
	}
	return nil
}
