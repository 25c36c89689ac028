package local

import (
	"context"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pop-platform/pop/plugins/driver"
)

const (
	// A flush waits for the writers that shared the one before, which are likely to be back soon: for so many of them at
	// most, and so long. A lone writer never waits.
	gatherWriters = 32
	gatherTime    = time.Millisecond
)

// flusher makes what was applied durable. While it flushes one round of writes, the next one gathers. Its fields are
// guarded by Store.mu, so that whoever has seen something applied finds the round that makes it durable.
type flusher struct {
	next   *round // gathers writers; nil if there are none
	last   *round // the newest, whether it gathers, is being flushed or is done
	target int    // how many writers next waits for

	begun chan struct{} // next has its first writer
	full  chan struct{} // next has as many as target
}

// round is a set of calls that share a flush.
type round struct {
	writers int
	version uint64 // last version that the flush covers
	done    chan struct{}
	err     error // set before done is closed
}

func newFlusher() flusher {
	r := &round{done: make(chan struct{})}
	close(r.done)
	return flusher{last: r, begun: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// join adds a writer whose versions up to the given one are applied, and returns the round that makes them durable.
func (f *flusher) join(version uint64) *round {
	if f.next == nil {
		f.next = &round{done: make(chan struct{})}
		f.last = f.next
		notify(f.begun)
	}
	f.next.writers++
	f.next.version = max(f.next.version, version)
	if f.next.writers == f.target {
		notify(f.full)
	}
	return f.next
}

// take ends the gathering.
func (f *flusher) take() *round {
	r := f.next
	f.next = nil
	return r
}

// gathered reports whether as many writers have joined as are expected, and otherwise has them signal it.
func (f *flusher) gathered() bool {
	select {
	case <-f.full: // of an earlier round
	default:
	}
	return f.next.writers >= f.target
}

// expect sets how many writers the next round waits for: those who have just been answered and those who are waiting.
func (f *flusher) expect(answered int) {
	if f.next != nil {
		answered += f.next.writers
	}
	f.target = min(answered, gatherWriters)
}

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// flushLoop is the store's only caller of fsync. It ends when no call is left that could wait for one.
func (s *Store) flushLoop() {
	defer s.work.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.flusher.begun:
		case <-s.drained:
			return
		}
		s.mu.Lock()
		gathered := s.flusher.gathered()
		s.mu.Unlock()
		if !gathered {
			timer.Reset(gatherTime)
			select {
			case <-s.flusher.full:
			case <-timer.C:
			}
		}
		s.mu.Lock()
		r := s.flusher.take()
		s.mu.Unlock()
		err := s.sync()
		s.mu.Lock()
		if err == nil {
			s.durable.Store(r.version)
			s.stats.flushes.Add(1)
		} else {
			s.fail(err)
			r.err = err
		}
		s.flusher.expect(r.writers)
		s.mu.Unlock()
		close(r.done)
	}
}

// sync flushes the log.
func (s *Store) sync() error {
	defer s.log.crashOnPanic()
	b := s.db.NewBatch()
	if err := b.LogData(nil, nil); err != nil {
		return err
	}
	if err := s.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		return err
	}
	if err := b.SyncWait(); err != nil {
		return err
	}
	return b.Close()
}

// fail refuses all writes from now on: the engine's log takes nothing after an error. The caller holds s.mu.
func (s *Store) fail(err error) {
	if s.failed == nil {
		s.failed = err
		s.log.Error("the log of the data folder can't be written: writes are refused until a restart, nothing acknowledged is lost", "error", err)
	}
}

// logError is the error of a write that met a broken log.
func logError(op string, outcome driver.Outcome, err error) error {
	return &driver.Error{
		Code: driver.Unavailable, Outcome: outcome, Op: op, Err: err,
		Message: "the log of the data folder can't be written; mend the disk, then restart: " + err.Error(),
	}
}

// wait blocks until a round is on disk.
func (r *round) wait(ctx context.Context) error {
	select {
	case <-r.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.err != nil {
		return logError("local: flush", driver.Unknown, r.err)
	}
	return nil
}

// settled waits until what a reader has seen is on disk: records up to a version and, if it has seen that something is
// absent, the deletions before it.
func (s *Store) settled(ctx context.Context, version uint64, absent bool) error {
	if absent {
		version = max(version, s.deleted.Load())
	}
	if s.durable.Load() >= version {
		return nil
	}
	s.mu.Lock()
	r := s.flusher.last
	s.mu.Unlock()
	return r.wait(ctx)
}
