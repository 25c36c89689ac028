package local

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pop-platform/pop/plugins/driver"
)

// sweepBatch is how many expired records are removed in one step.
const sweepBatch = 500

// sweepLoop removes expired records once in a while.
func (s *Store) sweepLoop() {
	defer s.work.Done()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.closing:
			return
		case <-tick.C:
		}
		if err := s.sweep(ctx); err != nil && !s.isClosing() {
			s.log.Warn("expired records could not be removed, which is tried again", "error", err)
		}
	}
}

// sweep removes the records that have expired.
func (s *Store) sweep(ctx context.Context) error {
	for {
		n, err := s.sweepSome(ctx)
		if err != nil || n < sweepBatch {
			return err
		}
	}
}

func (s *Store) sweepSome(ctx context.Context) (int, error) {
	const op = "local: sweep"
	if err := s.begin(ctx, op); err != nil {
		return 0, err
	}
	defer s.calls.Done()
	if err := s.disk.check(op, 0); err != nil {
		return 0, err
	}
	cat := s.catalog.Load()
	due, err := s.due(cat)
	if err != nil {
		return 0, err
	}
	r, err := s.commit(op, cat, func(e *evaluator) {
		for _, k := range due {
			e.expire(k)
		}
	})
	if err != nil {
		return 0, err
	}
	return len(due), r.wait(ctx)
}

// due returns the keys of records that have expired, the first of them first.
func (s *Store) due(cat *catalog) ([]driver.Key, error) {
	const op = "local: sweep"
	upper := binary.BigEndian.AppendUint64([]byte{tableExpiry}, uint64(s.now().Unix())+1)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tableExpiry}, UpperBound: upper})
	if err != nil {
		return nil, fault(op, err)
	}
	var due []driver.Key
	for ok := it.First(); ok && len(due) < sweepBatch; ok = it.Next() {
		k := it.Key()[9:]
		kind, known := cat.named(k[0])
		part, sort, found := bytes.Cut(k[1:], []byte{0})
		if !known || !found {
			return nil, fault(op, errors.Join(errShort, it.Close()))
		}
		due = append(due, driver.Key{Kind: kind, Part: string(part), Sort: string(sort)})
	}
	if err := it.Close(); err != nil {
		return nil, fault(op, err)
	}
	return due, nil
}

// expire deletes a record if it has expired: since it was found due, it may have been written anew.
func (e *evaluator) expire(key driver.Key) {
	e.stored, e.arena = e.stored[:0], e.arena[:0]
	if _, err := e.check(&driver.Op{Type: driver.Delete, Record: driver.Record{Key: key}}); err != nil {
		e.done(err)
		return
	}
	if was := e.stored[0]; was.there && !was.header.live(e.now) {
		e.delete(key, was.header)
	}
}
