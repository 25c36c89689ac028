package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
)

var sendClauses = []queueClause{
	{"capabilities are the declared ones and make sense", func(t *queueTest) {
		got, err := t.queue.Capabilities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(t.caps, got); diff != "" {
			t.Errorf("capabilities (-declared +reported):\n%s", diff)
		}
		if got.MaxBatch < 1 || got.MaxBytes < 1 || got.MaxLease <= 0 || got.MaxLease < got.MinLease || got.MaxWait < 0 {
			t.Errorf("%+v", got)
		}
	}},
	{"a message is received with its group and body, and gone when acknowledged", func(t *queueTest) {
		body := make([]byte, 256)
		for i := range body {
			body[i] = byte(i)
		}
		for _, group := range append([]string{""}, unusualTexts...) {
			want := driver.Message{Group: group, Body: body}
			if err := t.send(queueName, want)[0]; err != nil {
				t.Fatalf("group %q: %v", group, err)
			}
			got := t.collect(queueName, 1, t.long())[0]
			if diff := cmp.Diff(want, got.Message); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
			if got.Attempt > 1 {
				t.Errorf("the first delivery is attempt %d", got.Attempt)
			}
			t.ack(queueName, got)
		}
		t.wantNone(queueName)
	}},
	{"a Body may have MaxBytes and no more, and each message has its own result", func(t *queueTest) {
		most := strings.Repeat("b", t.caps.MaxBytes)
		messages := []driver.Message{
			{Body: []byte(most)},
			{Body: []byte(most + "b")},
			{Body: []byte("ok")},
			{},
			{Group: "a\x00b", Body: []byte("x")},
			{Group: "\xff", Body: []byte("x")},
		}
		codes := []driver.Code{0, driver.TooLarge, 0, driver.Invalid, driver.Invalid, driver.Invalid}
		for len(messages) > 0 {
			n := min(len(messages), t.caps.MaxBatch)
			for i, err := range t.send(queueName, messages[:n]...) {
				if codes[i] == 0 && err != nil {
					t.Errorf("a good message: %v", err)
				} else if codes[i] != 0 {
					checkCode(t.T, "a bad message", err, codes[i])
				}
			}
			messages, codes = messages[n:], codes[n:]
		}
		t.wantAll(most, "ok")
		t.wantNone(queueName)
	}},
	{"Send and Ack take MaxBatch and no more", func(t *queueTest) {
		var messages []driver.Message
		for _, b := range bodies("m", t.caps.MaxBatch+1) {
			messages = append(messages, driver.Message{Body: []byte(b)})
		}
		_, err := t.queue.Send(t.Context(), driver.SendRequest{Queue: queueName, Messages: messages})
		checkCode(t.T, "Send", err, driver.TooLarge)
		for _, err := range t.send(queueName, messages[1:]...) {
			if err != nil {
				t.Errorf("Send: %v", err)
			}
		}
		deliveries := t.collect(queueName, t.caps.MaxBatch, t.long()) // would find that of the first Send
		var receipts []string
		for _, d := range deliveries {
			receipts = append(receipts, d.Receipt)
		}
		err = t.queue.Ack(t.Context(), driver.AckRequest{Queue: queueName, Receipts: append(receipts, receipts[0])})
		checkCode(t.T, "Ack", err, driver.TooLarge)
		t.ack(queueName, deliveries...)
		t.wantNone(queueName)
	}},
	{"Receive takes up to Max, is cut to MaxBatch, and less than one is Invalid", func(t *queueTest) {
		want := bodies("m", t.caps.MaxBatch+5)
		t.sendAll(want...)
		for _, limit := range []int{0, -1} {
			_, err := t.queue.Receive(t.Context(), driver.ReceiveRequest{Queue: queueName, Max: limit, Lease: t.long()})
			checkCode(t.T, fmt.Sprint("at most ", limit), err, driver.Invalid)
		}
		for _, limit := range []int{1, t.caps.MaxBatch + 5, 1 << 30} {
			got := t.receive(queueName, limit, time.Second, t.short()) // checks the number
			if len(got) == 0 {
				t.Errorf("Receive of at most %d found nothing", limit)
			}
		}
	}},
	{"requests for nothing succeed", func(t *queueTest) {
		t.send(queueName)
		if err := t.queue.Ack(t.Context(), driver.AckRequest{Queue: queueName}); err != nil {
			t.Errorf("Ack: %v", err)
		}
		t.wantNone(queueName)
	}},
	{"values belong to the caller after the call", func(t *queueTest) {
		m := driver.Message{Body: []byte("body")}
		t.send(queueName, m)
		copy(m.Body, "XXXX")
		got := t.collect(queueName, 1, t.short())[0]
		if string(got.Message.Body) != "body" {
			t.Errorf("body %q", got.Message.Body)
		}
		copy(got.Message.Body, "YYYY")
		t.wantAll("body")
	}},
	{"queues are apart", func(t *queueTest) {
		names := []string{queueName, otherQueueName}
		for _, name := range append([]string{"Queue", "QUEUE", longText(driver.MaxQueueName)}, unusualTexts...) {
			t.ensure(name)
			names = append(names, name)
		}
		for _, name := range names {
			t.sendTo(name, "to "+name)
		}
		for _, name := range names {
			t.wantAllOf(name, "to "+name)
			t.wantNone(name)
		}
	}},
	{"Ensure is idempotent and keeps the messages", func(t *queueTest) {
		t.sendAll("m")
		for range 10 {
			t.ensure(queueName)
		}
		t.wantAll("m")
	}},
	{"Ensure of a name that breaks a rule is Invalid", func(t *queueTest) {
		for what, name := range map[string]string{
			"empty": "", "too long": longText(driver.MaxQueueName + 1), "NUL": "a\x00b", "no UTF-8": "a\xff",
		} {
			checkCode(t.T, what, t.queue.Ensure(t.Context(), driver.EnsureRequest{Queue: name}), driver.Invalid)
		}
	}},
	{"a queue that Ensure never made is Invalid", func(t *queueTest) {
		for method, err := range t.callAll(t.Context(), "never made") {
			checkCode(t.T, method, err, driver.Invalid)
		}
	}},
}

var leaseClauses = []queueClause{
	{"Receive returns as soon as there is a message", func(t *queueTest) {
		t.wake(1, func() { t.sendAll("m") }, func(wait time.Duration) {
			if got := t.receive(queueName, 1, wait, t.long()); len(got) != 1 {
				t.Errorf("%d messages, want the one that was sent", len(got))
			}
		})
	}},
	{"Receive of nothing is empty, after its wait and no error", func(t *queueTest) {
		for _, wait := range []time.Duration{-time.Second, 0, time.Second} {
			start := time.Now()
			got := t.receive(queueName, 1, wait, t.long())
			if took := time.Since(start); len(got) > 0 || took > wait+5*time.Second {
				t.Errorf("%d messages after %s, of a wait of %s", len(got), took, wait)
			}
		}
	}},
	{"a Wait longer than MaxWait is cut to it", func(t *queueTest) {
		if t.caps.MaxWait > 5*time.Second { // too long for a test
			return
		}
		start := time.Now()
		got := t.receive(queueName, 1, t.caps.MaxWait+time.Hour, t.long())
		if took := time.Since(start); len(got) > 0 || took > t.caps.MaxWait+patience/2 {
			t.Errorf("%d messages after %s, with a MaxWait of %s", len(got), took, t.caps.MaxWait)
		}
	}},
	{"a message under a lease is not delivered", func(t *queueTest) {
		want := bodies("m", 5)
		t.sendAll(want...)
		held := t.collect(queueName, 5, t.long())
		t.wantNone(queueName)
		t.ack(queueName, held...)
		t.wantNone(queueName)
	}},
	{"a message is delivered again when its lease ends, with a new receipt", func(t *queueTest) {
		t.sendAll("m")
		first := t.collect(queueName, 1, t.short())[0]
		second := t.collect(queueName, 1, t.short())[0]
		third := t.collect(queueName, 1, t.long())[0]
		receipts := map[string]bool{first.Receipt: true, second.Receipt: true, third.Receipt: true}
		if len(receipts) != 3 {
			t.Errorf("3 deliveries had %d receipts", len(receipts))
		}
		if diff := cmp.Diff([]driver.Message{first.Message, first.Message}, []driver.Message{second.Message, third.Message}); diff != "" {
			t.Errorf("messages of later deliveries:\n%s", diff)
		}
		attempts := [3]int{first.Attempt, second.Attempt, third.Attempt}
		if attempts != [3]int{1, 2, 3} && attempts != [3]int{} {
			t.Errorf("attempts %v, want 1, 2 and 3, or all 0", attempts)
		}
		t.ack(queueName, third)
		t.wantNone(queueName)
	}},
	{"a stale receipt is ignored", func(t *queueTest) {
		t.sendAll("m")
		stale := t.collect(queueName, 1, t.short())
		t.collect(queueName, 1, max(2*time.Second, t.short())) // a lease that lasts until the next line is done
		t.ack(queueName, stale...)
		t.wantAll("m")
		t.ack(queueName, stale...)
	}},
	{"Ack is idempotent and lasts", func(t *queueTest) {
		name := t.inTime(func(name string) {
			t.sendTo(name, "acked", "left")
			for _, d := range t.collect(name, 2, t.short()) {
				if string(d.Message.Body) == "acked" {
					for range 10 {
						t.ack(name, d)
					}
				}
			}
		})
		t.wantAllOf(name, "left") // its lease ended when that of the other would have
		t.wantNone(name)
	}},
	{"leases are raised to MinLease and cut to MaxLease", func(t *queueTest) {
		t.sendAll("m")
		start := time.Now()
		t.receive(queueName, 1, time.Second, 0)
		if got := t.receive(queueName, 1, 0, 0); len(got) > 0 && time.Since(start) < t.caps.MinLease {
			t.Errorf("a message came again within the shortest lease, %s", t.caps.MinLease)
		}
		t.collect(queueName, 1, t.caps.MaxLease+time.Hour)
		t.wantNone(queueName)
	}},
	{"every message sent at once is received at once", func(t *queueTest) {
		const senders, each = 8, 50
		var missing sync.Map
		var left atomic.Int64
		left.Store(senders * each)
		for n := range senders {
			for _, b := range bodies(fmt.Sprint("s", n, "-"), each) {
				missing.Store(b, true)
			}
		}
		end := time.Now().Add(patience)
		parallel(2*senders, func(n int) {
			if n < senders {
				t.sendAll(bodies(fmt.Sprint("s", n, "-"), each)...)
				return
			}
			for left.Load() > 0 && time.Now().Before(end) {
				got := t.receive(queueName, 10, 100*time.Millisecond, t.long())
				for _, d := range got {
					if _, was := missing.LoadAndDelete(string(d.Message.Body)); was {
						left.Add(-1)
					}
				}
				t.ack(queueName, got...)
			}
		})
		if left.Load() > 0 {
			t.Errorf("%d messages of %d did not arrive in %s", left.Load(), senders*each, patience)
		}
		t.wantNone(queueName)
	}},
}

var depthClauses = []queueClause{
	{"Depth counts in the declared quality, or is Unsupported", func(t *queueTest) {
		if t.caps.Depth == driver.None {
			_, err := t.queue.Depth(t.Context(), driver.DepthRequest{Queue: queueName})
			checkCode(t.T, "Depth", err, driver.Unsupported)
			return
		}
		t.wantDepth(0, 0)
		t.sendAll("1", "2", "3")
		t.wantDepth(3, 0)
		held := t.collect(queueName, 2, t.long())
		t.wantDepth(1, 2)
		t.ack(queueName, held...)
		t.wantDepth(1, 0)
		t.collect(queueName, 1, t.short())
		t.eventually(false, func() string { return t.depthFault(1, 0) })
	}},
	{"Purge empties the queue in the declared quality, or is Unsupported", func(t *queueTest) {
		t.sendAll("1", "2", "3")
		t.sendTo(otherQueueName, "other")
		held := t.collect(queueName, 1, t.short())
		err := t.queue.Purge(t.Context(), driver.PurgeRequest{Queue: queueName})
		if t.caps.Purge == driver.None {
			checkCode(t.T, "Purge", err, driver.Unsupported)
			return
		}
		if err != nil {
			t.Fatalf("Purge: %v", err)
		}
		t.eventually(t.caps.Purge == driver.Exact, func() string {
			if got := t.receive(queueName, t.caps.MaxBatch, 0, t.short()); len(got) > 0 {
				return fmt.Sprintf("messages %q after Purge", bodiesOf(got))
			}
			return ""
		})
		t.ack(queueName, held...)
		if got := t.receive(queueName, 1, t.short()+time.Second, t.short()); len(got) > 0 && t.caps.Purge == driver.Exact {
			t.Errorf("message %q came back after Purge", bodiesOf(got))
		}
		t.wantAllOf(otherQueueName, "other")
		if t.caps.Purge == driver.Exact {
			t.sendAll("new")
			t.wantAll("new")
		}
	}},
}

// wantDepth checks what Depth reports: at once if that is exact.
func (t *queueTest) wantDepth(ready, leased int64) {
	t.Helper()
	t.eventually(t.caps.Depth == driver.Exact, func() string { return t.depthFault(ready, leased) })
}

func (t *queueTest) depthFault(ready, leased int64) string {
	t.Helper()
	got, err := t.queue.Depth(t.Context(), driver.DepthRequest{Queue: queueName})
	if err != nil {
		t.Fatalf("Depth: %v", err)
	}
	if got.Ready != ready || got.Leased != leased {
		return fmt.Sprintf("depth %+v, want %d ready and %d leased", got, ready, leased)
	}
	return ""
}

func (t *queueTest) eventually(atOnce bool, check func() (fault string)) {
	t.Helper()
	wait := patience
	if atOnce {
		wait = 0
	}
	if fault := poll(t.T, wait, check); fault != "" {
		t.Fatal(fault)
	}
}

var queueLifeClauses = []queueClause{
	{"a context that is done stops every method before it does anything", func(t *queueTest) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for method, err := range t.callAll(ctx, queueName) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want %v", method, err, context.Canceled)
			}
		}
		if err := t.queue.Ensure(ctx, driver.EnsureRequest{Queue: "new"}); !errors.Is(err, context.Canceled) {
			t.Errorf("Ensure: %v, want %v", err, context.Canceled)
		}
		t.wantNone(queueName)
	}},
	{"a context that ends wakes Receive", func(t *queueTest) {
		t.wake(1, func() {}, func(wait time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), wait/10)
			defer cancel()
			_, err := t.queue.Receive(ctx, driver.ReceiveRequest{Queue: queueName, Max: 1, Wait: wait, Lease: t.long()})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want %v", err, context.DeadlineExceeded)
			}
		})
	}},
	{"Close wakes every Receive", func(t *queueTest) {
		shut := func() {
			if err := t.queue.Close(t.Context()); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		t.wake(3, shut, func(wait time.Duration) {
			resp, err := t.queue.Receive(t.Context(), driver.ReceiveRequest{Queue: queueName, Max: 1, Wait: wait, Lease: t.long()})
			if len(resp.Deliveries) > 0 || (err != nil && driver.CodeOf(err) != driver.Unavailable) {
				t.Errorf("Receive: %+v, %v, want nothing or unavailable", resp, err)
			}
		})
	}},
	{"after Close every method is Unavailable, and Close is idempotent", func(t *queueTest) {
		for range 10 {
			if err := t.queue.Close(t.Context()); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		for method, err := range t.callAll(t.Context(), queueName) {
			checkCode(t.T, method, err, driver.Unavailable)
		}
		checkCode(t.T, "Ensure", t.queue.Ensure(t.Context(), driver.EnsureRequest{Queue: queueName}), driver.Unavailable)
		if got, err := t.queue.Capabilities(t.Context()); err != nil || got != t.caps {
			t.Errorf("Capabilities: %+v, %v", got, err)
		}
	}},
	{"accepted messages survive a restart if that is declared", func(t *queueTest) {
		if t.caps.Durable != (t.fixture.Reopen != nil) {
			t.Fatal("fixtures must have Reopen if the queue is durable, and only then")
		}
		if !t.caps.Durable {
			return
		}
		name := t.inTime(func(name string) {
			t.sendTo(name, "ready", "leased", "acked")
			for _, d := range t.collect(name, 3, t.short()) {
				if string(d.Message.Body) == "acked" {
					t.ack(name, d)
				}
			}
		})
		if err := t.queue.Close(t.Context()); err != nil {
			t.Fatalf("Close: %v", err)
		}
		t.queue = t.fixture.Reopen(t.T)
		t.ensure(name)
		t.wantAllOf(name, "ready", "leased")
		t.wantNone(name)
	}},
	{"accepted messages survive kill -9 if that is declared", func(t *queueTest) {
		if !t.caps.Durable || t.fixture.Kill == nil {
			return
		}
		want := bodies("m", 20)
		t.sendAll(want...)
		t.fixture.Kill(t.T)
		_ = t.queue.Close(t.Context())
		t.queue = t.fixture.Reopen(t.T)
		t.ensure(queueName)
		t.wantAll(want...)
		t.wantNone(queueName)
	}},
}

// callAll calls every method that needs a queue and returns the errors, without those of methods that are declared to be
// Unsupported.
func (t *queueTest) callAll(ctx context.Context, name string) map[string]error {
	errs := map[string]error{}
	_, errs["Send"] = t.queue.Send(ctx, driver.SendRequest{Queue: name, Messages: []driver.Message{{Body: []byte("x")}}})
	_, errs["Receive"] = t.queue.Receive(ctx, driver.ReceiveRequest{Queue: name, Max: 1, Lease: t.long()})
	errs["Ack"] = t.queue.Ack(ctx, driver.AckRequest{Queue: name, Receipts: []string{"x"}})
	if t.caps.Depth != driver.None {
		_, errs["Depth"] = t.queue.Depth(ctx, driver.DepthRequest{Queue: name})
	}
	if t.caps.Purge != driver.None {
		errs["Purge"] = t.queue.Purge(ctx, driver.PurgeRequest{Queue: name})
	}
	return errs
}
