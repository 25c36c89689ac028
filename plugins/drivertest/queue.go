package drivertest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pop-platform/pop/plugins/driver"
)

// QueueHarness makes the queues that a suite tests.
type QueueHarness struct {
	// Open returns a driver without any named queues that anything else uses. It is called by parallel tests. What Close
	// does not release is released by t.Cleanup.
	Open func(t *testing.T) QueueFixture

	// Capabilities are what every queue reports.
	Capabilities driver.QueueCapabilities
}

// QueueFixture is a queue under test. It goes by the system's clock: the suite waits for leases to end.
type QueueFixture struct {
	Queue driver.Queue

	// Reopen returns a queue on the same data, as after a restart. The queue before it is closed. It is there if the queue
	// is Durable.
	Reopen func(t *testing.T) driver.Queue

	// Kill ends the process of the queue with no warning, as kill -9 does. It is nil if the queue runs in this process.
	// After it comes Close, whose error counts for nothing, and Reopen.
	Kill func(t *testing.T)
}

// RunQueue tests a queue against every clause of the contract.
func RunQueue(t *testing.T, h QueueHarness) {
	queueSuite.run(t, func(t *testing.T) *queueTest { return newQueueTest(t, h) })
}

var queueSuite = suite[*queueTest]{
	name:    "queue",
	clauses: slices.Concat(sendClauses, leaseClauses, depthClauses, queueLifeClauses),
	use: func(q *queueTest) {
		q.sendAll("m")
		q.wantAll("m")
	},
}

type queueClause = clause[*queueTest]

// The names that the suite uses in drivers.
const (
	queueName      = "queue"
	otherQueueName = "other"
)

// queueTest is one test of a queue.
type queueTest struct {
	*testing.T
	harness QueueHarness
	fixture QueueFixture
	queue   driver.Queue
	caps    driver.QueueCapabilities
}

// newQueueTest returns a test of a new driver.
func newQueueTest(t *testing.T, h QueueHarness) *queueTest {
	t.Helper()
	fixture := h.Open(t)
	return &queueTest{T: t, harness: h, fixture: fixture, queue: fixture.Queue, caps: h.Capabilities}
}

func (t *queueTest) driver() closer { return t.queue }

// prepare makes the two queues of the suite.
func (t *queueTest) prepare() {
	t.Helper()
	t.ensure(queueName)
	t.ensure(otherQueueName)
}

func (t *queueTest) ensure(name string) {
	t.Helper()
	if err := t.queue.Ensure(t.Context(), driver.EnsureRequest{Queue: name}); err != nil {
		t.Fatalf("Ensure %q: %v", name, err)
	}
}

// long is a lease that does not end during a test.
func (t *queueTest) long() time.Duration { return max(10*time.Minute, t.caps.MinLease) }

// short is a lease that a test can wait for.
func (t *queueTest) short() time.Duration { return max(500*time.Millisecond, t.caps.MinLease) }

// send sends messages, at most MaxBatch, and returns their errors.
func (t *queueTest) send(name string, messages ...driver.Message) []error {
	t.Helper()
	resp, err := t.queue.Send(t.Context(), driver.SendRequest{Queue: name, Messages: messages})
	if err != nil {
		t.Fatalf("Send: %v", err)
	}
	if len(resp.Errs) != len(messages) {
		t.Fatalf("Send of %d messages returned %d errors", len(messages), len(resp.Errs))
	}
	return resp.Errs
}

// sendAll sends any number of messages with the bodies to the queue.
func (t *queueTest) sendAll(bodies ...string) {
	t.Helper()
	t.sendTo(queueName, bodies...)
}

func (t *queueTest) sendTo(name string, bodies ...string) {
	t.Helper()
	for batch := range slices.Chunk(bodies, t.caps.MaxBatch) {
		var messages []driver.Message
		for _, b := range batch {
			messages = append(messages, driver.Message{Group: "g", Body: []byte(b)})
		}
		for _, err := range t.send(name, messages...) {
			if err != nil {
				t.Fatalf("Send: %v", err)
			}
		}
	}
}

// receive makes one call to Receive.
func (t *queueTest) receive(name string, limit int, wait, lease time.Duration) []driver.Delivery {
	t.Helper()
	resp, err := t.queue.Receive(t.Context(), driver.ReceiveRequest{Queue: name, Max: limit, Wait: wait, Lease: lease})
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	if len(resp.Deliveries) > min(limit, t.caps.MaxBatch) {
		t.Fatalf("Receive of at most %d returned %d messages", min(limit, t.caps.MaxBatch), len(resp.Deliveries))
	}
	for _, d := range resp.Deliveries {
		if d.Receipt == "" || d.Attempt < 0 {
			t.Errorf("delivery %+v has no receipt or no attempt", d)
		}
	}
	return resp.Deliveries
}

// collect receives until there are n messages, or patience is over.
func (t *queueTest) collect(name string, n int, lease time.Duration) []driver.Delivery {
	t.Helper()
	var all []driver.Delivery
	for end := time.Now().Add(patience); len(all) < n && time.Now().Before(end); {
		all = append(all, t.receive(name, n-len(all), time.Second, lease)...)
	}
	if len(all) < n {
		t.Fatalf("%d messages were received in %s, want %d", len(all), patience, n)
	}
	return all
}

// wantAll receives the messages with the bodies, in any order, and acknowledges them.
func (t *queueTest) wantAll(bodies ...string) {
	t.Helper()
	t.wantAllOf(queueName, bodies...)
}

func (t *queueTest) wantAllOf(name string, bodies ...string) {
	t.Helper()
	deliveries := t.collect(name, len(bodies), t.long())
	want, got := slices.Sorted(slices.Values(bodies)), slices.Sorted(slices.Values(bodiesOf(deliveries)))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("messages of %s (-want +got):\n%s", name, diff)
	}
	t.ack(name, deliveries...)
}

// wantNone checks that there is nothing to receive.
func (t *queueTest) wantNone(name string) {
	t.Helper()
	if got := t.receive(name, t.caps.MaxBatch, 0, t.long()); len(got) > 0 {
		t.Errorf("messages %q, want none", bodiesOf(got))
	}
}

// wake makes n calls of Receive at once that find nothing, interrupts them when they had time to find that out, and checks that they do
// not wait any longer.
func (t *queueTest) wake(n int, interrupt func(), receive func(wait time.Duration)) {
	t.Helper()
	wait := min(t.caps.MaxWait, 10*time.Second) // a busy machine wakes nobody at once
	var calling sync.WaitGroup
	calling.Add(n)
	parallel(n+1, func(i int) {
		if i == n {
			calling.Wait()
			timer := time.NewTimer(min(wait/10, 300*time.Millisecond))
			defer timer.Stop()
			<-timer.C
			interrupt()
			return
		}
		start := time.Now()
		calling.Done()
		receive(wait)
		if took := time.Since(start); took > wait*8/10 {
			t.Errorf("Receive returned after %s of a wait of %s", took, wait)
		}
	})
}

// inTime makes attempts, each on a queue of its own, until one has taken less than a short lease: on a busy machine the lease of what
// an attempt has received may end before it goes on. It returns the queue.
func (t *queueTest) inTime(attempt func(name string)) (name string) {
	t.Helper()
	name = queueName
	for n, start := 2, time.Now(); ; n++ {
		attempt(name)
		if time.Since(start) < t.short() || n > 10 {
			return name
		}
		name = fmt.Sprint(queueName, n)
		t.ensure(name)
		start = time.Now()
	}
}

func (t *queueTest) ack(name string, deliveries ...driver.Delivery) {
	t.Helper()
	for batch := range slices.Chunk(deliveries, t.caps.MaxBatch) {
		var receipts []string
		for _, d := range batch {
			receipts = append(receipts, d.Receipt)
		}
		if err := t.queue.Ack(t.Context(), driver.AckRequest{Queue: name, Receipts: receipts}); err != nil {
			t.Fatalf("Ack: %v", err)
		}
	}
}

func bodiesOf(deliveries []driver.Delivery) []string {
	var bodies []string
	for _, d := range deliveries {
		bodies = append(bodies, string(d.Message.Body))
	}
	return bodies
}

// bodies returns n different ones.
func bodies(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%04d", prefix, i)
	}
	return all
}
