package memdriver

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/tidwall/btree"

	"github.com/pop-platform/pop/plugins/driver"
)

// QueueOptions configure a [Queue]. The zero value is a queue with [FullQueue] capabilities on the system's clock.
type QueueOptions struct {
	// Now is the clock that decides when a lease has expired. The default is [time.Now]. A Receive that waits for a lease
	// to expire waits by package time, so that either the default or testing/synctest is right for it.
	Now func() time.Time

	// Capabilities are honoured and declared. The default is [FullQueue].
	Capabilities driver.QueueCapabilities
}

// FullQueue returns the capabilities of a queue that can do everything.
func FullQueue() driver.QueueCapabilities {
	return driver.QueueCapabilities{
		MaxBatch: 100, MaxBytes: 256 << 10, MaxWait: time.Minute, MaxLease: 12 * time.Hour,
		Depth: driver.Exact, Purge: driver.Exact, Durable: true,
	}
}

// LeastQueue returns the capabilities of a queue that can do little.
func LeastQueue() driver.QueueCapabilities {
	return driver.QueueCapabilities{
		MaxBatch: 1, MaxBytes: 1 << 10, MaxWait: time.Second, MinLease: 10 * time.Second, MaxLease: 10 * time.Minute,
	}
}

// Queue is a [driver.Queue] in memory.
type Queue struct {
	data   *queueData
	closed chan struct{} // closed under data.mu
}

// queueData is what all handles on a queue share.
type queueData struct {
	opts QueueOptions

	mu       sync.Mutex
	topics   map[string]*topic
	receipts uint64 // the last receipt
}

// topic is one named queue.
type topic struct {
	ready  []*message
	leased map[string]*message     // by receipt
	leases *btree.BTreeG[*message] // the same by the end of their lease
	change chan struct{}           // closed and replaced when messages become ready; nil while nobody waits
}

type message struct {
	driver.Message
	attempt int
	until   time.Time // end of the lease, if there is one
	receipt uint64    // of the lease; orders those that end together
}

func endsBefore(a, b *message) bool {
	if !a.until.Equal(b.until) {
		return a.until.Before(b.until)
	}
	return a.receipt < b.receipt
}

func newTopic() *topic {
	return &topic{
		leased: map[string]*message{},
		leases: btree.NewBTreeGOptions(endsBefore, btree.Options{NoLocks: true}),
	}
}

// NewQueue returns a queue without any named queues.
func NewQueue(opts QueueOptions) *Queue {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Capabilities == (driver.QueueCapabilities{}) {
		opts.Capabilities = FullQueue()
	}
	return &Queue{
		data:   &queueData{opts: opts, topics: map[string]*topic{}},
		closed: make(chan struct{}),
	}
}

// Open returns another handle on the same data, as a second or a restarted process would. Closing one handle leaves the
// others open.
func (q *Queue) Open() *Queue { return &Queue{data: q.data, closed: make(chan struct{})} }

// Capabilities implements [driver.Queue].
func (q *Queue) Capabilities(context.Context) (driver.QueueCapabilities, error) {
	return q.data.opts.Capabilities, nil
}

// Ensure implements [driver.Queue].
func (q *Queue) Ensure(ctx context.Context, req driver.EnsureRequest) error {
	if err := req.Validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ensure: %w", err)
	}
	q.data.mu.Lock()
	defer q.data.mu.Unlock()
	if q.isClosed() {
		return closedError("ensure")
	}
	if q.data.topics[req.Queue] == nil {
		q.data.topics[req.Queue] = newTopic()
	}
	return nil
}

// Send implements [driver.Queue].
func (q *Queue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	caps := q.data.opts.Capabilities
	if err := req.Validate(caps); err != nil {
		return driver.SendResponse{}, err
	}
	t, unlock, err := q.begin(ctx, "send", req.Queue)
	if err != nil {
		return driver.SendResponse{}, err
	}
	defer unlock()
	errs := make([]error, len(req.Messages))
	for i, m := range req.Messages {
		if errs[i] = m.Validate(caps); errs[i] == nil {
			m.Body = bytes.Clone(m.Body)
			t.ready = append(t.ready, &message{Message: m})
		}
	}
	t.wake()
	return driver.SendResponse{Errs: errs}, nil
}

// Receive implements [driver.Queue].
func (q *Queue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.ReceiveResponse{}, err
	}
	caps := q.data.opts.Capabilities
	batch := min(req.Max, caps.MaxBatch)
	lease := min(max(req.Lease, caps.MinLease), caps.MaxLease)
	ends := time.Now().Add(min(req.Wait, caps.MaxWait))
	for {
		t, unlock, err := q.begin(ctx, "receive", req.Queue)
		if err != nil {
			return driver.ReceiveResponse{}, err
		}
		wait := time.Until(ends)
		if deliveries := q.data.take(t, batch, lease); len(deliveries) > 0 || wait <= 0 {
			unlock()
			return driver.ReceiveResponse{Deliveries: deliveries}, nil
		}
		if m, ok := t.leases.Min(); ok {
			wait = min(wait, m.until.Sub(q.data.opts.Now()))
		}
		if t.change == nil {
			t.change = make(chan struct{})
		}
		change := t.change
		unlock()

		timer := time.NewTimer(wait)
		select {
		case <-change:
		case <-timer.C:
		case <-q.closed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// Ack implements [driver.Queue].
func (q *Queue) Ack(ctx context.Context, req driver.AckRequest) error {
	if err := req.Validate(q.data.opts.Capabilities); err != nil {
		return err
	}
	t, unlock, err := q.begin(ctx, "ack", req.Queue)
	if err != nil {
		return err
	}
	defer unlock()
	for _, receipt := range req.Receipts {
		if m := t.leased[receipt]; m != nil {
			t.release(m)
		}
	}
	return nil
}

// Depth implements [driver.Queue].
func (q *Queue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	if q.data.opts.Capabilities.Depth == driver.None {
		return driver.DepthResponse{}, driver.Errorf(driver.Unsupported, "depth", "the queue does not count")
	}
	t, unlock, err := q.begin(ctx, "depth", req.Queue)
	if err != nil {
		return driver.DepthResponse{}, err
	}
	defer unlock()
	return driver.DepthResponse{Ready: int64(len(t.ready)), Leased: int64(len(t.leased))}, nil
}

// Purge implements [driver.Queue].
func (q *Queue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	if q.data.opts.Capabilities.Purge == driver.None {
		return driver.Errorf(driver.Unsupported, "purge", "the queue can't be purged")
	}
	t, unlock, err := q.begin(ctx, "purge", req.Queue)
	if err != nil {
		return err
	}
	defer unlock()
	t.ready = nil
	clear(t.leased)
	t.leases.Clear()
	return nil
}

// Close implements [driver.Queue].
func (q *Queue) Close(context.Context) error {
	q.data.mu.Lock()
	defer q.data.mu.Unlock()
	if !q.isClosed() {
		close(q.closed)
	}
	return nil
}

// begin locks the data for one step on the named queue, with the messages whose lease has expired ready again.
func (q *Queue) begin(ctx context.Context, op, name string) (*topic, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	q.data.mu.Lock()
	t := q.data.topics[name]
	switch {
	case q.isClosed():
		q.data.mu.Unlock()
		return nil, nil, closedError(op)
	case t == nil:
		q.data.mu.Unlock()
		return nil, nil, driver.Errorf(driver.Invalid, op, "there is no queue %q: Ensure makes it", name)
	}
	t.expire(q.data.opts.Now())
	return t, q.data.mu.Unlock, nil
}

func (q *Queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

func closedError(op string) error {
	return driver.Errorf(driver.Unavailable, op, "the queue is closed")
}

// take leases up to n ready messages.
func (d *queueData) take(t *topic, n int, lease time.Duration) []driver.Delivery {
	n = min(n, len(t.ready))
	if n == 0 {
		return nil
	}
	until := d.opts.Now().Add(lease)
	deliveries := make([]driver.Delivery, n)
	for i, m := range t.ready[:n] {
		t.ready[i] = nil
		d.receipts++
		m.attempt, m.until, m.receipt = m.attempt+1, until, d.receipts
		receipt := receiptText(m)
		t.leased[receipt] = m
		t.leases.Set(m)
		deliveries[i] = driver.Delivery{
			Message: driver.Message{Group: m.Group, Body: bytes.Clone(m.Body)},
			Receipt: receipt,
			Attempt: m.attempt,
		}
	}
	t.ready = t.ready[n:]
	return deliveries
}

// expire makes the messages ready whose lease has ended.
func (t *topic) expire(now time.Time) {
	for m, ok := t.leases.Min(); ok && !now.Before(m.until); m, ok = t.leases.Min() {
		t.release(m)
		t.ready = append(t.ready, m)
		t.wake()
	}
}

// release ends the lease of a message.
func (t *topic) release(m *message) {
	delete(t.leased, receiptText(m))
	t.leases.Delete(m)
}

func (t *topic) wake() {
	if t.change != nil {
		close(t.change)
		t.change = nil
	}
}

func receiptText(m *message) string { return strconv.FormatUint(m.receipt, 36) }
