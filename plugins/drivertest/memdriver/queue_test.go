package memdriver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

func newQueue(t *testing.T, opts memdriver.QueueOptions) *memdriver.Queue {
	t.Helper()
	q := memdriver.NewQueue(opts)
	if err := q.Ensure(t.Context(), driver.EnsureRequest{Queue: "q"}); err != nil {
		t.Fatal(err)
	}
	return q
}

func send(t *testing.T, q driver.Queue, bodies ...string) []error {
	t.Helper()
	req := driver.SendRequest{Queue: "q"}
	for _, b := range bodies {
		req.Messages = append(req.Messages, driver.Message{Body: []byte(b)})
	}
	resp, err := q.Send(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Errs
}

// receive returns the bodies that arrive at once.
func receive(t *testing.T, q driver.Queue, wait time.Duration) []string {
	t.Helper()
	resp, err := q.Receive(t.Context(), driver.ReceiveRequest{Queue: "q", Max: 10, Wait: wait, Lease: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	var bodies []string
	for _, d := range resp.Deliveries {
		bodies = append(bodies, string(d.Message.Body))
	}
	return bodies
}

func TestReceiveWaitsInFakeTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(t, memdriver.QueueOptions{})
		start := time.Now()
		if got := receive(t, q, 20*time.Second); got != nil || time.Since(start) != 20*time.Second {
			t.Fatalf("empty queue: %v after %s, want nothing after 20s", got, time.Since(start))
		}

		time.AfterFunc(3*time.Second, func() { send(t, q, "m") })
		start = time.Now()
		if got := receive(t, q, 20*time.Second); len(got) != 1 || time.Since(start) != 3*time.Second {
			t.Fatalf("message after 3s: %v after %s", got, time.Since(start))
		}

		start = time.Now()
		if got := receive(t, q, time.Minute); len(got) != 1 || time.Since(start) != 30*time.Second {
			t.Fatalf("end of the lease after 30s: %v after %s", got, time.Since(start))
		}
	})
}

func TestLeasesFollowTheInjectedClock(t *testing.T) {
	t.Parallel()
	c := newClock()
	q := newQueue(t, memdriver.QueueOptions{Now: c.Now})
	send(t, q, "m")
	if got := receive(t, q, 0); len(got) != 1 {
		t.Fatalf("first delivery: %v", got)
	}
	c.add(29 * time.Second)
	if got := receive(t, q, 0); got != nil {
		t.Fatalf("before the end of the lease: %v", got)
	}
	c.add(time.Second)
	if got := receive(t, q, 0); len(got) != 1 {
		t.Fatalf("after the end of the lease: %v", got)
	}
}
