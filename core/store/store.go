package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// minRecordBytes is the smallest MaxRecordBytes the core can work with.
const minRecordBytes = 64 << 10

// Retries of calls that changed nothing: attempts and the delay before the second one, which doubles.
const (
	maxAttempts = 4
	firstDelay  = 10 * time.Millisecond
)

// Store is a [driver.Store] made safe and convenient. It is safe for concurrent use.
type Store struct {
	driver driver.Store
	caps   driver.StoreCapabilities
	steps  []string
	calls  struct{ get, scan, write, groups atomic.Int64 }
}

// Calls counts calls of the driver since the store was opened.
type Calls struct{ Get, Scan, Write, Groups int64 }

// Open asks the driver for its capabilities, refuses one that the core cannot work with, and migrates it to the schema.
func Open(ctx context.Context, d driver.Store, schema driver.Schema) (*Store, error) {
	caps, err := d.Capabilities(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: capabilities: %w", err)
	}
	if caps.MaxRecordBytes < minRecordBytes {
		return nil, fmt.Errorf("store: the driver takes records of %d bytes at most, at least %d are needed", caps.MaxRecordBytes, minRecordBytes)
	}
	migrated, err := d.Migrate(ctx, driver.MigrateRequest{Schema: schema})
	if err != nil {
		return nil, fmt.Errorf("store: migrate: %w", err)
	}
	return &Store{driver: d, caps: caps, steps: migrated.Steps}, nil
}

// Steps returns what was done to the backend when the store was opened, in words: for a new one, how it was made.
func (s *Store) Steps() []string { return s.steps }

// Capabilities returns the driver's capabilities.
func (s *Store) Capabilities() driver.StoreCapabilities { return s.caps }

// Calls returns how often the driver was called.
func (s *Store) Calls() Calls {
	return Calls{Get: s.calls.get.Load(), Scan: s.calls.scan.Load(), Write: s.calls.write.Load(), Groups: s.calls.groups.Load()}
}

// Close closes the driver.
func (s *Store) Close(ctx context.Context) error { return s.driver.Close(ctx) }

// Get reads records; an absent one is nil.
func (s *Store) Get(ctx context.Context, keys ...driver.Key) ([]*driver.Record, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	resp, err := retry(ctx, func() (driver.GetResponse, error) {
		s.calls.get.Add(1)
		return s.driver.Get(ctx, driver.GetRequest{Keys: keys})
	})
	return resp.Records, err
}

// GetOne reads one record; nil if it is absent.
func (s *Store) GetOne(ctx context.Context, key driver.Key) (*driver.Record, error) {
	records, err := s.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return records[0], nil
}

// Page reads one page of a range.
func (s *Store) Page(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	return retry(ctx, func() (driver.ScanResponse, error) {
		s.calls.scan.Add(1)
		return s.driver.Scan(ctx, req)
	})
}

// Scan iterates over a whole range, page by page. It ends at the first error.
func (s *Store) Scan(ctx context.Context, req driver.ScanRequest) iter.Seq2[driver.Record, error] {
	return func(yield func(driver.Record, error) bool) {
		for {
			page, err := s.Page(ctx, req)
			if err != nil {
				yield(driver.Record{}, err)
				return
			}
			for _, r := range page.Records {
				if !yield(r, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			req.Cursor = page.Next
		}
	}
}

// Write applies groups. Those that fail for a passing reason and are known to have changed nothing are tried again, without the others.
func (s *Store) Write(ctx context.Context, groups ...driver.Group) ([]driver.WriteResult, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	results := make([]driver.WriteResult, len(groups))
	open := make([]int, len(groups)) // groups without a result that lasts
	for i := range open {
		open[i] = i
	}
	answered := false
	_, err := retry(ctx, func() (struct{}, error) {
		batch := make([]driver.Group, len(open))
		for n, i := range open {
			batch[n] = groups[i]
		}
		s.calls.write.Add(1)
		s.calls.groups.Add(int64(len(batch)))
		resp, err := s.driver.Write(ctx, driver.WriteRequest{Groups: batch})
		if err != nil {
			for _, i := range open {
				results[i] = driver.WriteResult{Err: err}
			}
			return struct{}{}, err
		}
		answered = true
		var again []int
		var why error
		for n, i := range open {
			results[i] = resp.Results[n]
			if e, ok := errors.AsType[*driver.Error](results[i].Err); ok && passing(e) {
				again, why = append(again, i), e
			}
		}
		open = again
		return struct{}{}, why
	})
	if err != nil && !answered {
		return nil, err
	}
	return results, nil
}

// WriteOne applies one group and returns its versions.
func (s *Store) WriteOne(ctx context.Context, ops ...driver.Op) ([]driver.Version, error) {
	results, err := s.Write(ctx, ops)
	if err != nil {
		return nil, err
	}
	return results[0].Versions, results[0].Err
}

func retry[T any](ctx context.Context, call func() (T, error)) (T, error) {
	delay := firstDelay
	for attempt := 1; ; attempt++ {
		result, err := call()
		var e *driver.Error
		if err == nil || attempt == maxAttempts || !errors.As(err, &e) || !passing(e) {
			return result, err
		}
		wait := max(e.RetryAfter, delay/2+rand.N(delay))
		delay *= 2
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return result, err
		}
	}
}

func passing(e *driver.Error) bool {
	return e.Outcome == driver.NotApplied && (e.Code == driver.Throttled || e.Code == driver.Unavailable)
}
