package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pop-platform/pop/plugins/driver"
)

// StoreOptions configure a [Store].
type StoreOptions struct {
	// Dir is the data folder. It is made if it isn't there, and belongs to one store at a time.
	Dir string

	// Logger takes what an operator should know. The default drops it.
	Logger *slog.Logger

	// Now is the clock that decides what has expired. The default is [time.Now].
	Now func() time.Time

	// ReserveBytes of the disk are kept free: with less left, writes are refused and reads go on. The engine can't go on
	// without its log, so this is what it needs to finish its work in the background. The default is 64 MiB.
	ReserveBytes uint64
}

const (
	maxRecordBytes = 4 << 20
	maxGroupOps    = 1000
	maxScanLimit   = 1000
	maxPageBytes   = 4 << 20 // of the bodies on a page, unless the first is larger

	sweepInterval = time.Minute
)

// Store is a [driver.Store] on an embedded key-value engine. A write is on disk before Write returns. Writes that are
// under way at the same time share a flush of the disk.
type Store struct {
	db     *pebble.DB
	log    *engineLog
	now    func() time.Time
	disk   *diskGuard
	unlock func() error
	stats  counters

	catalog atomic.Pointer[catalog]
	migrate sync.Mutex // held by Migrate

	// durable is the last version that is on disk. What readers see of a later one, they wait for.
	durable atomic.Uint64
	// deleted is the version of the last deletion, which leaves no record that could tell.
	deleted atomic.Uint64

	mu      sync.Mutex // makes evaluating and applying a call one step
	ceiling uint64     // stored: where versions go on after a restart
	eval    evaluator
	failed  error // of the log: nothing can be written any more

	flusher flusher

	closing chan struct{} // closed by Close
	drained chan struct{} // closed when no call is left
	closed  chan struct{} // closed when Close is through
	closeMu sync.Mutex
	calls   sync.WaitGroup // Add only with closeMu held and closing open
	work    sync.WaitGroup // the store's own goroutines
	shut    error          // result of Close
}

// Stats are counters since the store was opened.
type Stats struct {
	Flushes uint64 // of the disk, each making one or more calls of Write durable
	Calls   uint64 // of Write that changed something
	Groups  uint64 // applied
	Ops     uint64 // in them
	Bytes   uint64 // given to the log
}

type counters struct{ flushes, calls, groups, ops, bytes atomic.Uint64 }

// Stats returns the store's counters.
func (s *Store) Stats() Stats {
	return Stats{
		Flushes: s.stats.flushes.Load(),
		Calls:   s.stats.calls.Load(),
		Groups:  s.stats.groups.Load(),
		Ops:     s.stats.ops.Load(),
		Bytes:   s.stats.bytes.Load(),
	}
}

var capabilities = driver.StoreCapabilities{
	MaxRecordBytes: maxRecordBytes,
	MaxGroupOps:    maxGroupOps,
	MaxScanLimit:   maxScanLimit,
	CheapGroups:    true,
	FreshIndexes:   true,
	ReturnsCurrent: true,
	ExpiryLag:      sweepInterval,
}

// Capabilities implements [driver.Store].
func (s *Store) Capabilities(context.Context) (driver.StoreCapabilities, error) {
	return capabilities, nil
}

// Close implements [driver.Store].
func (s *Store) Close(ctx context.Context) error {
	s.closeMu.Lock()
	first := !s.isClosing()
	if first {
		close(s.closing)
	}
	s.closeMu.Unlock()
	if first {
		go func() {
			defer close(s.closed)
			s.calls.Wait()
			close(s.drained)
			s.work.Wait()
			s.shut = errors.Join(s.db.Close(), s.unlock())
		}()
	}
	select {
	case <-s.closed:
		return s.shut
	case <-ctx.Done():
		return fmt.Errorf("local: close store: %w", ctx.Err())
	}
}

func (s *Store) isClosing() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}

// begin registers a call, so that Close waits for it until s.calls.Done.
func (s *Store) begin(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	if s.isClosing() {
		return driver.Errorf(driver.Unavailable, op, "the store is closed")
	}
	s.calls.Add(1)
	return nil
}

// fault classifies an error of the engine.
func fault(op string, err error) *driver.Error {
	code := driver.Internal
	if pebble.IsCorruptionError(err) || errors.Is(err, errShort) {
		code = driver.Corrupt
	}
	return &driver.Error{Code: code, Op: op, Message: err.Error(), Err: err}
}
