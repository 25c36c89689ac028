package onaws

import (
	"fmt"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

// callsOfAPass returns the requests that AWS gets while 20 agendas are claimed and end and as many are scheduled, with so many customers that have nothing to
// do and so many agendas of another that wait.
func callsOfAPass(t *testing.T, idle, backlog int) (calls awstest.Calls) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		customers := []string{"acme"}
		for i := range idle {
			customers = append(customers, fmt.Sprintf("idle-%05d", i))
		}
		w := newWorld(t, customers...)
		one := agenda("acme", 1, 300)
		for n := backlog; n > 0; n -= 100 {
			batch := make([]model.Agenda, min(n, 100))
			for i := range batch {
				batch[i] = one
			}
			w.submit(batch...)
		}
		session, err := w.engine.OpenSession(t.Context(), "executor")
		w.must(err)
		<-time.After(10 * time.Second) // until all is in line and the queue is full
		before := w.server.Calls()
		var leases []model.Assignment
		for range 2 {
			got, err := w.engine.Pull(t.Context(), model.PullRequest{SessionID: session.ID, InsightID: insightID, Max: 10, WaitMs: 1000})
			w.must(err)
			leases = append(leases, got...)
		}
		if len(leases) != 20 {
			t.Fatalf("%d agendas were pulled, want 20", len(leases))
		}
		reports := make([]model.Report, len(leases))
		for i, l := range leases {
			reports[i] = model.Report{Lease: l.Lease, SessionID: session.ID, Status: model.Status{State: model.Complete, Outcome: model.Succeeded}}
		}
		_, err = w.engine.Report(t.Context(), reports)
		w.must(err)
		synctest.Wait()
		<-time.After(500 * time.Millisecond) // less than a sweep
		calls = w.server.Calls()
		maps.DeleteFunc(calls, func(operation string, n int) bool {
			calls[operation] = n - before[operation]
			return calls[operation] == 0
		})
	})
	return calls
}

func TestThePassesOfASchedulerMakeTheSameCallsWhateverWaitsAndWhoeverIsIdle(t *testing.T) {
	few := callsOfAPass(t, 0, 60)
	t.Log(few)
	if few["PutItem"] < 40 {
		t.Errorf("%v: 20 agendas were to end and 20 to be scheduled", few)
	}
	// What the owner of the insight does meanwhile is a few calls more or less, whatever waits.
	const slack = 12
	for _, much := range []struct{ idle, backlog int }{{300, 60}, {0, 1500}} {
		if calls := callsOfAPass(t, much.idle, much.backlog); count(calls) > count(few)+slack {
			t.Errorf("with %d idle customers and %d waiting agendas the calls are %v, and %v with none and 60", much.idle, much.backlog, calls, few)
		}
	}
}
