package engine

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// The random histories of the simulation crash anywhere. Here a short one crashes at each of its calls in turn, which either has done
// its work by then or has not, and from then on no call gets through. What was accepted ends all the same, and is started once under
// each fence.
func TestEveryCallIsAPlaceToCrash(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]memdriver.Fault{"before its work": memdriver.LostRequest(), "after its work": memdriver.LostReply()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at, more := int64(0), true; more; at++ {
				synctest.Test(t, func(t *testing.T) { more = crashAt(t, at, lost) })
				if t.Failed() {
					t.Fatalf("the crash was at call %d", at)
				}
				if !more && at < 10 {
					t.Fatalf("the history has %d calls: too few to prove anything", at)
				}
			}
		})
	}
}

// crashAt crashes at a call and reports whether there was one of that number.
func crashAt(t *testing.T, at int64, fault memdriver.Fault) bool {
	w := &world{TB: t, base: memdriver.NewStore(memdriver.StoreOptions{Capabilities: ownStore()})}
	var calls atomic.Int64
	var armed atomic.Bool
	w.faults = func(memdriver.Call) memdriver.Fault {
		if !armed.Load() {
			return memdriver.Fault{}
		}
		switch n := calls.Add(1) - 1; {
		case n < at:
			return memdriver.Fault{}
		case n == at:
			return fault
		default:
			return memdriver.LostRequest()
		}
	}
	w.start()
	w.furnish()
	started := map[model.Lease]int{}
	armed.Store(true)
	w.brief(started)
	armed.Store(false)
	w.crash()

	w.start() // with clients that repeat what was not answered
	defer w.Stop()
	deadline := time.Now().Add(time.Hour)
	for w.brief(started) < 3 {
		if time.Now().After(deadline) {
			t.Fatal("not all agendas end")
		}
		<-time.After(time.Second)
	}
	for lease, n := range started {
		if n > 1 {
			t.Errorf("agenda %s was started %d times under fence %d", lease.AgendaID, n, lease.Fence)
		}
	}
	return calls.Load() > at
}

// brief submits three agendas, the same ones each time, and executes what is pulled for as long as it is answered. It returns how many
// of them have ended.
func (w *world) brief(started map[model.Lease]int) (ended int) {
	var ids []string
	for i, customer := range []string{"a", "b", "a"} {
		got := w.Submit(w.ctx(), []Submission{{Agenda: agendaOf(customer), IdempotencyKey: fmt.Sprint(i)}})[0]
		if got.Err != nil {
			return 0
		}
		ids = append(ids, got.Agenda.ID)
	}
	session, err := w.OpenSession(w.ctx(), "executor")
	if err != nil {
		return 0
	}
	for range ids {
		got, err := w.Pull(w.ctx(), model.PullRequest{InsightID: insightID, SessionID: session.ID, Max: 1, WaitMs: 1000})
		if err != nil {
			return 0
		}
		for _, a := range got {
			started[a.Lease]++
			if _, err := w.Report(w.ctx(), []model.Report{complete(a, model.Succeeded)}); err != nil {
				return 0
			}
		}
	}
	for _, id := range ids {
		if p, _, err := w.Progress(w.ctx(), id); err == nil && p.State == model.Complete {
			ended++
		}
	}
	return ended
}
