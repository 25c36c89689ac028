package local

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

func TestQueueConforms(t *testing.T) {
	drivertest.RunQueue(t, drivertest.QueueHarness{
		Capabilities: queueCapabilities,
		Open: func(*testing.T) drivertest.QueueFixture {
			return drivertest.QueueFixture{Queue: NewQueue(QueueOptions{})}
		},
	})
}

// testQueue is a queue with one named queue, "q".
type testQueue struct {
	t *testing.T
	*Queue
}

func newTestQueue(t *testing.T, opts QueueOptions) testQueue {
	q := testQueue{t, NewQueue(opts)}
	if err := q.Ensure(t.Context(), driver.EnsureRequest{Queue: "q"}); err != nil {
		t.Fatal(err)
	}
	return q
}

func (q testQueue) send(bodies ...string) []error {
	q.t.Helper()
	req := driver.SendRequest{Queue: "q"}
	for _, b := range bodies {
		req.Messages = append(req.Messages, driver.Message{Body: []byte(b)})
	}
	resp, err := q.Send(q.t.Context(), req)
	if err != nil {
		q.t.Fatal(err)
	}
	return resp.Errs
}

func (q testQueue) receive(ctx context.Context, n int, wait, lease time.Duration) ([]driver.Delivery, error) {
	resp, err := q.Receive(ctx, driver.ReceiveRequest{Queue: "q", Max: n, Wait: wait, Lease: lease})
	return resp.Deliveries, err
}

func (q testQueue) want(wait time.Duration, want ...string) []driver.Delivery {
	q.t.Helper()
	got, err := q.receive(q.t.Context(), 10, wait, time.Minute)
	if err != nil {
		q.t.Fatal(err)
	}
	if diff := cmp.Diff(want, bodiesOf(got)); diff != "" {
		q.t.Errorf("received (-want +got):\n%s", diff)
	}
	return got
}

func bodiesOf(list []driver.Delivery) []string {
	var bodies []string
	for _, d := range list {
		bodies = append(bodies, string(d.Message.Body))
	}
	return bodies
}

func TestMessagesGoToTheReceiversThatWaitedLongestAndWakeNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue(t, QueueOptions{})
		woken := make(chan string, 5)
		for i := range 5 {
			go func() {
				got, err := q.receive(t.Context(), 2, time.Minute, time.Hour)
				if err != nil {
					t.Error(err)
				}
				woken <- fmt.Sprint(i, " ", bodiesOf(got))
			}()
			synctest.Wait() // so that they wait in this order
		}
		want := func(what string, want ...string) {
			t.Helper()
			synctest.Wait()
			got := make([]string, len(woken))
			for i := range got {
				got[i] = <-woken
			}
			slices.Sort(got) // those that are woken together run in any order
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("after %s (-want +got):\n%s", what, diff)
			}
		}
		start := time.Now()
		q.send("a", "b", "c")
		want("three messages", "0 [a b]", "1 [c]")
		q.send("d")
		want("another", "2 [d]")
		if waited := time.Since(start); waited != 0 {
			t.Errorf("receivers were woken %v after their messages came", waited)
		}
		<-time.After(time.Minute)
		want("their whole wait", "3 []", "4 []")
	})
}

func TestAMessageIsDeliveredAgainTheMomentItsLeaseEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue(t, QueueOptions{})
		q.send("a", "b")
		first, err := q.receive(t.Context(), 1, 0, 10*time.Second)
		if err != nil || len(first) != 1 {
			t.Fatal(first, err)
		}
		if _, err := q.receive(t.Context(), 1, 0, 20*time.Second); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"a", "b"} {
			start := time.Now()
			got := q.want(time.Minute, want)
			if waited := time.Since(start); waited != 10*time.Second {
				t.Errorf("delivery %d came after %v", i, waited)
			}
			if got[0].Attempt != 2 || got[0].Receipt == first[0].Receipt {
				t.Errorf("delivery %d has attempt %d and receipt %s", i, got[0].Attempt, got[0].Receipt)
			}
		}
		if err := q.Ack(t.Context(), driver.AckRequest{Queue: "q", Receipts: []string{first[0].Receipt, "!"}}); err != nil {
			t.Error(err)
		}
		depth, err := q.Depth(t.Context(), driver.DepthRequest{Queue: "q"})
		if err != nil || depth.Leased != 2 {
			t.Errorf("a stale receipt removed a message: %+v, %v", depth, err)
		}
	})
}

func TestAReceiverThatGivesUpTakesNoMessageAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue(t, QueueOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() {
			_, err := q.receive(ctx, 1, time.Minute, time.Minute)
			result <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-result; err == nil {
			t.Error("a cancelled Receive returned no error")
		}
		q.send("a")
		if got := q.want(0, "a"); got[0].Attempt != 1 {
			t.Errorf("attempt %d", got[0].Attempt)
		}
	})
}

func TestMessagesHandedToAReceiverThatIsCancelledGoBackToTheFront(t *testing.T) {
	q := newTestQueue(t, QueueOptions{})
	q.send("a", "b", "c")
	topic, err := q.lock(t.Context(), "", "q")
	if err != nil {
		t.Fatal(err)
	}
	q.giveBack(topic, q.take(topic, &receiver{max: 2, lease: time.Minute}))
	q.mu.Unlock()
	for _, d := range q.want(0, "a", "b", "c") {
		if d.Attempt != 1 {
			t.Errorf("%s has attempt %d", d.Message.Body, d.Attempt)
		}
	}
}

func TestCloseWakesEveryReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newTestQueue(t, QueueOptions{})
		q.send("leased")
		q.want(0, "leased")
		errs := make(chan error)
		for range 3 {
			go func() {
				_, err := q.receive(t.Context(), 1, time.Minute, time.Minute)
				errs <- err
			}()
		}
		synctest.Wait()
		start := time.Now()
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := <-errs; driver.CodeOf(err) != driver.Unavailable {
				t.Errorf("Receive: %v", err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("woken after %v", waited)
		}
	})
}

func TestAFullQueueRefusesAndRecovers(t *testing.T) {
	q := newTestQueue(t, QueueOptions{MaxMessages: 2})
	errs := q.send("a", "b", "c")
	if errs[0] != nil || errs[1] != nil || driver.CodeOf(errs[2]) != driver.Throttled {
		t.Fatalf("Send: %v", errs)
	}
	got := q.want(0, "a", "b")
	if errs := q.send("c"); driver.CodeOf(errs[0]) != driver.Throttled {
		t.Errorf("delivered messages don't count: %v", errs)
	}
	if err := q.Ack(t.Context(), driver.AckRequest{Queue: "q", Receipts: []string{got[0].Receipt}}); err != nil {
		t.Fatal(err)
	}
	if errs := q.send("c"); errs[0] != nil {
		t.Errorf("Send after Ack: %v", errs)
	}
}

func BenchmarkQueue(b *testing.B) {
	q := NewQueue(QueueOptions{})
	if err := q.Ensure(b.Context(), driver.EnsureRequest{Queue: "q"}); err != nil {
		b.Fatal(err)
	}
	message := []driver.Message{{Group: "customer", Body: []byte(`{"agenda":"01j0000000000000000","seq":1,"version":"1z141z3"}`)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := q.Send(b.Context(), driver.SendRequest{Queue: "q", Messages: message}); err != nil {
			b.Fatal(err)
		}
		got, err := q.Receive(b.Context(), driver.ReceiveRequest{Queue: "q", Max: 1, Lease: time.Minute})
		if err != nil {
			b.Fatal(err)
		}
		if err := q.Ack(b.Context(), driver.AckRequest{Queue: "q", Receipts: []string{got.Deliveries[0].Receipt}}); err != nil {
			b.Fatal(err)
		}
	}
}
