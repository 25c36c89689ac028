// Package queue is the portable type over a [driver.Queue]: it keeps to the driver's limits, so that the engine need not.
//
// It imports plugins/driver and the standard library.
package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// minBytes is the smallest MaxBytes the core can work with: a hint has a few hundred.
const minBytes = 4 << 10

// Queue is a [driver.Queue] made convenient. It is safe for concurrent use.
type Queue struct {
	driver driver.Queue
	caps   driver.QueueCapabilities
}

// Open asks the driver for its capabilities and refuses one that the core cannot work with.
func Open(ctx context.Context, d driver.Queue) (*Queue, error) {
	caps, err := d.Capabilities(ctx)
	if err != nil {
		return nil, fmt.Errorf("queue: capabilities: %w", err)
	}
	if caps.MaxBatch < 1 || caps.MaxBytes < minBytes {
		return nil, fmt.Errorf("queue: the driver takes batches of %d messages of %d bytes, at least 1 of %d is needed", caps.MaxBatch, caps.MaxBytes, minBytes)
	}
	return &Queue{driver: d, caps: caps}, nil
}

// Capabilities returns the driver's capabilities.
func (q *Queue) Capabilities() driver.QueueCapabilities { return q.caps }

// Ensure creates the named queue or checks that it is there.
func (q *Queue) Ensure(ctx context.Context, name string) error {
	return q.driver.Ensure(ctx, driver.EnsureRequest{Queue: name})
}

// Send adds messages and returns the first error, if any was refused. The engine sends those again whose effect it misses.
func (q *Queue) Send(ctx context.Context, name string, messages []driver.Message) error {
	var first error
	for batch := range slices.Chunk(messages, q.caps.MaxBatch) {
		resp, err := q.driver.Send(ctx, driver.SendRequest{Queue: name, Messages: batch})
		if err == nil {
			for _, e := range resp.Errs {
				if e != nil {
					err = e
					break
				}
			}
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// Receive waits for messages, at most max, and leases them.
func (q *Queue) Receive(ctx context.Context, name string, limit int, wait, lease time.Duration) ([]driver.Delivery, error) {
	resp, err := q.driver.Receive(ctx, driver.ReceiveRequest{
		Queue: name, Max: min(limit, q.caps.MaxBatch), Wait: wait, Lease: lease,
	})
	return resp.Deliveries, err
}

// Ack removes messages.
func (q *Queue) Ack(ctx context.Context, name string, receipts []string) error {
	for batch := range slices.Chunk(receipts, q.caps.MaxBatch) {
		if err := q.driver.Ack(ctx, driver.AckRequest{Queue: name, Receipts: batch}); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the driver.
func (q *Queue) Close(ctx context.Context) error { return q.driver.Close(ctx) }
