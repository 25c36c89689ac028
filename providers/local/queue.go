package local

import (
	"bytes"
	"cmp"
	"container/heap"
	"container/list"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// QueueOptions configure a [Queue].
type QueueOptions struct {
	// MaxMessages is how many messages a named queue holds at most, delivered ones included; more are refused as
	// Throttled. A message takes about 200 bytes besides its body. The default is 1,000,000.
	MaxMessages int
}

const defaultMaxMessages = 1_000_000

var queueCapabilities = driver.QueueCapabilities{
	MaxBatch: 1000,
	MaxBytes: 64 << 10,
	MaxWait:  time.Minute,
	MinLease: time.Millisecond,
	MaxLease: 12 * time.Hour,
	Depth:    driver.Exact,
	Purge:    driver.Exact,
}

// Queue is a [driver.Queue] in memory: first in, first out, whatever the group. Messages don't outlive it. A message goes
// at once to the receiver that has waited longest, and to no other.
type Queue struct {
	max    int
	closed chan struct{} // closed under mu

	mu      sync.Mutex
	topics  map[string]*topic
	receipt uint64 // last given out; starts anywhere, so that a receipt of an earlier Queue is stale
}

// topic is one named queue. Messages and receivers never wait at the same time.
type topic struct {
	ready     []*message
	leases    leaseHeap
	byReceipt map[string]*message
	waiting   *list.List  // of *receiver, the longest waiting first
	alarm     *time.Timer // rings when a lease ends for which somebody waits
}

type message struct {
	driver.Message
	attempt int
	receipt string
	until   time.Time // end of the lease
	place   int       // in the heap of leases
}

// receiver is a call of Receive that waits.
type receiver struct {
	max   int
	lease time.Duration
	got   chan []driver.Delivery // has room for one
}

// NewQueue returns a queue without any named queues.
func NewQueue(opts QueueOptions) *Queue {
	return &Queue{
		max:     cmp.Or(opts.MaxMessages, defaultMaxMessages),
		closed:  make(chan struct{}),
		topics:  map[string]*topic{},
		receipt: rand.Uint64() >> 1,
	}
}

// Capabilities implements [driver.Queue].
func (q *Queue) Capabilities(context.Context) (driver.QueueCapabilities, error) {
	return queueCapabilities, nil
}

// Ensure implements [driver.Queue].
func (q *Queue) Ensure(ctx context.Context, req driver.EnsureRequest) error {
	const op = "local: ensure"
	if err := req.Validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isClosed() {
		return queueClosed(op)
	}
	if q.topics[req.Queue] == nil {
		q.topics[req.Queue] = &topic{byReceipt: map[string]*message{}, waiting: list.New()}
	}
	return nil
}

// Send implements [driver.Queue].
func (q *Queue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	const op = "local: send"
	if err := req.Validate(queueCapabilities); err != nil {
		return driver.SendResponse{}, err
	}
	t, err := q.lock(ctx, op, req.Queue)
	if err != nil {
		return driver.SendResponse{}, err
	}
	defer q.mu.Unlock()
	errs := make([]error, len(req.Messages))
	for i, m := range req.Messages {
		if errs[i] = m.Validate(queueCapabilities); errs[i] != nil {
			continue
		}
		if len(t.ready)+len(t.leases) >= q.max {
			errs[i] = &driver.Error{
				Code: driver.Throttled, Op: op, RetryAfter: time.Second,
				Message: fmt.Sprintf("queue %q is full: it holds %d messages", req.Queue, q.max),
			}
			continue
		}
		m.Body = bytes.Clone(m.Body)
		t.ready = append(t.ready, &message{Message: m})
	}
	q.serve(t)
	return driver.SendResponse{Errs: errs}, nil
}

// Receive implements [driver.Queue].
func (q *Queue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	const op = "local: receive"
	if err := req.Validate(); err != nil {
		return driver.ReceiveResponse{}, err
	}
	t, err := q.lock(ctx, op, req.Queue)
	if err != nil {
		return driver.ReceiveResponse{}, err
	}
	r := &receiver{
		max:   min(req.Max, queueCapabilities.MaxBatch),
		lease: min(max(req.Lease, queueCapabilities.MinLease), queueCapabilities.MaxLease),
	}
	if len(t.ready) > 0 || req.Wait <= 0 {
		defer q.mu.Unlock()
		return driver.ReceiveResponse{Deliveries: q.take(t, r)}, nil
	}
	r.got = make(chan []driver.Delivery, 1)
	place := t.waiting.PushBack(r)
	q.serve(t)
	q.mu.Unlock()

	timer := time.NewTimer(min(req.Wait, queueCapabilities.MaxWait))
	defer timer.Stop()
	select {
	case got := <-r.got:
		return driver.ReceiveResponse{Deliveries: got}, nil
	case <-timer.C:
	case <-ctx.Done():
	case <-q.closed:
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	t.waiting.Remove(place) // does nothing if it was served since
	var got []driver.Delivery
	select {
	case got = <-r.got:
	default:
	}
	if q.isClosed() {
		return driver.ReceiveResponse{}, queueClosed(op)
	}
	if err := ctx.Err(); err != nil {
		q.giveBack(t, got)
		return driver.ReceiveResponse{}, fmt.Errorf("%s: %w", op, err)
	}
	return driver.ReceiveResponse{Deliveries: got}, nil
}

// Ack implements [driver.Queue].
func (q *Queue) Ack(ctx context.Context, req driver.AckRequest) error {
	if err := req.Validate(queueCapabilities); err != nil {
		return err
	}
	t, err := q.lock(ctx, "local: ack", req.Queue)
	if err != nil {
		return err
	}
	defer q.mu.Unlock()
	for _, text := range req.Receipts {
		if m := t.byReceipt[text]; m != nil {
			t.release(m)
		}
	}
	return nil
}

// Depth implements [driver.Queue].
func (q *Queue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	t, err := q.lock(ctx, "local: depth", req.Queue)
	if err != nil {
		return driver.DepthResponse{}, err
	}
	defer q.mu.Unlock()
	return driver.DepthResponse{Ready: int64(len(t.ready)), Leased: int64(len(t.leases))}, nil
}

// Purge implements [driver.Queue].
func (q *Queue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	t, err := q.lock(ctx, "local: purge", req.Queue)
	if err != nil {
		return err
	}
	defer q.mu.Unlock()
	t.ready, t.leases = nil, nil
	clear(t.byReceipt)
	return nil
}

// Close implements [driver.Queue].
func (q *Queue) Close(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isClosed() {
		close(q.closed)
		for _, t := range q.topics {
			if t.alarm != nil {
				t.alarm.Stop()
			}
		}
	}
	return nil
}

// lock locks q.mu for one step on a named queue whose leases are up to date. With an error it is not locked.
func (q *Queue) lock(ctx context.Context, op, name string) (*topic, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	q.mu.Lock()
	t := q.topics[name]
	switch {
	case q.isClosed():
		q.mu.Unlock()
		return nil, queueClosed(op)
	case t == nil:
		q.mu.Unlock()
		return nil, driver.Errorf(driver.Invalid, op, "there is no queue %q: Ensure makes it", name)
	}
	q.serve(t)
	return t, nil
}

func (q *Queue) isClosed() bool {
	select {
	case <-q.closed:
		return true
	default:
		return false
	}
}

func queueClosed(op string) error {
	return driver.Errorf(driver.Unavailable, op, "the queue is closed")
}

// serve makes messages ready whose leases have ended, hands what is ready to those who wait, and sets the alarm for those
// who go on waiting.
func (q *Queue) serve(t *topic) {
	for len(t.leases) > 0 && !time.Now().Before(t.leases[0].until) {
		m := t.leases[0]
		t.release(m)
		t.ready = append(t.ready, m)
	}
	for t.waiting.Len() > 0 && len(t.ready) > 0 {
		r := t.waiting.Remove(t.waiting.Front()).(*receiver)
		r.got <- q.take(t, r)
	}
	if t.waiting.Len() == 0 || len(t.leases) == 0 {
		return
	}
	in := time.Until(t.leases[0].until)
	if t.alarm != nil {
		t.alarm.Reset(in)
		return
	}
	t.alarm = time.AfterFunc(in, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !q.isClosed() {
			q.serve(t)
		}
	})
}

// take leases what is ready to a receiver.
func (q *Queue) take(t *topic, r *receiver) []driver.Delivery {
	n := min(r.max, len(t.ready))
	list := make([]driver.Delivery, n)
	until := time.Now().Add(r.lease)
	for i, m := range t.ready[:n] {
		t.ready[i] = nil
		q.receipt++
		m.attempt, m.until, m.receipt = m.attempt+1, until, strconv.FormatUint(q.receipt, 36)
		t.byReceipt[m.receipt] = m
		heap.Push(&t.leases, m)
		list[i] = driver.Delivery{
			Message: driver.Message{Group: m.Group, Body: bytes.Clone(m.Body)}, // m may be delivered again
			Receipt: m.receipt,
			Attempt: m.attempt,
		}
	}
	t.ready = t.ready[n:]
	return list
}

// giveBack undoes take.
func (q *Queue) giveBack(t *topic, list []driver.Delivery) {
	var back []*message
	for _, d := range list {
		if m := t.byReceipt[d.Receipt]; m != nil {
			t.release(m)
			m.attempt--
			back = append(back, m)
		}
	}
	t.ready = append(back, t.ready...)
	q.serve(t)
}

// release ends the lease of a message.
func (t *topic) release(m *message) {
	delete(t.byReceipt, m.receipt)
	heap.Remove(&t.leases, m.place)
}

// leaseHeap has the lease that ends first at its top.
type leaseHeap []*message

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }

func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *leaseHeap) Push(x any) {
	m := x.(*message)
	m.place = len(*h)
	*h = append(*h, m)
}

func (h *leaseHeap) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return m
}
