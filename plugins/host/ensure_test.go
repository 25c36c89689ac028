package host_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

func TestAQueueThatWasEnsuredIsThereAfterItsProcessWasKilled(t *testing.T) {
	t.Parallel()
	p := process(t, driver.QueueService)
	q := must(t, p.Queue)
	defer q.Close(t.Context())
	if err := q.Ensure(t.Context(), driver.EnsureRequest{Queue: "hints"}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.Status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); p.Status().Starts < 2; {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("not started again: %+v", p.Status())
		}
	}
	resp, err := q.Send(t.Context(), driver.SendRequest{Queue: "hints", Messages: []driver.Message{{Body: []byte("m")}}})
	if err != nil || resp.Errs[0] != nil {
		t.Fatalf("Send: %+v, %v", resp, err)
	}
	if _, err := q.Receive(t.Context(), driver.ReceiveRequest{Queue: "other", Max: 1}); driver.CodeOf(err) != driver.Invalid {
		t.Errorf("a queue that nobody ensured: %v", err)
	}
}
