package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// inCluster runs a test with two servers, of which the first owns the insight. They share a store and a queue.
func inCluster(t *testing.T, test func(t *testing.T, owner, other *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			TB: t, base: memdriver.NewStore(memdriver.StoreOptions{}), hints: memdriver.NewQueue(memdriver.QueueOptions{}),
			options: Options{Server: "first", Address: "http://first"},
		}
		w.start()
		w.furnish()
		synctest.Wait()
		other := w.beside(Options{Server: "second", Address: "http://second"})
		t.Cleanup(func() { w.Stop(); other.Stop() })
		if !w.Owns(insightID) || other.Owns(insightID) {
			t.Fatal("the first server is not the owner")
		}
		test(t, w, other)
	})
}

// settled waits until servers have told each other all there is to tell, which takes no time.
func settled(t *testing.T, event func()) {
	t.Helper()
	start := time.Now()
	event()
	synctest.Wait()
	if took := time.Since(start); took > 0 {
		t.Fatalf("it took %v", took)
	}
}

func TestAQueueThatIsAwayIsSaidOnceAndAgainWhenItIsBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var away atomic.Bool
		w := &world{
			TB: t, base: memdriver.NewStore(memdriver.StoreOptions{}), hints: memdriver.NewQueue(memdriver.QueueOptions{}),
			options: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))},
			faults: func(c memdriver.Call) memdriver.Fault {
				if c.Method == memdriver.Receive && away.Load() {
					return memdriver.Unavailable()
				}
				return memdriver.Fault{}
			},
		}
		w.start()
		w.furnish()
		<-time.After(10 * time.Second)
		for range 2 {
			away.Store(true)
			<-time.After(5 * time.Minute)
			away.Store(false)
			<-time.After(5 * time.Minute)
		}
		w.Stop()
		for _, said := range []string{"news of other servers not received", "news of other servers are received again"} {
			if n := strings.Count(log.String(), said); n != 2 {
				t.Errorf("%q is said %d times, want 2", said, n)
			}
		}
	})
}

func TestAnAgendaThatAnotherServerAcceptsIsQueuedAtOnce(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		var id string
		settled(t, func() { id = other.submit("a") })
		other.wantState(id, model.Queued, "")
		session := other.session("executor")
		var a model.Assignment
		settled(t, func() { a = other.pullOne(session) })
		owner.wantState(id, model.Executing, "")
		settled(t, func() { owner.taken(complete(a, model.Succeeded)) })
		other.wantState(id, model.Complete, model.Succeeded)
	})
}

func TestTheOwnerLearnsOfClaimsAndEndsOnOtherServersAtOnce(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		owner.limit("a", func(c *model.Customer) { c.MaxInFlight = new(1) })
		other.submit("a")
		synctest.Wait()
		second := other.submit("a")
		synctest.Wait()
		session := other.session("executor")
		a := other.pullOne(session)
		synctest.Wait()
		owner.wantState(second, model.Waiting, "")
		settled(t, func() { other.taken(complete(a, model.Succeeded)) })
		owner.wantState(second, model.Queued, "")
	})
}

func TestAChangeOnAnotherServerIsInForceAtOnce(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		settled(t, func() { other.limit("a", func(c *model.Customer) { c.Pause = &model.Pause{By: "ops"} }) })
		id := owner.submit("a")
		owner.wantReasons(id, "CUSTOMER_PAUSED")
		settled(t, func() { other.limit("a", func(c *model.Customer) { c.Pause = nil }) })
		owner.wantState(id, model.Queued, "")
		settled(t, func() { other.tune(func(i *model.Insight) { i.Pause = &model.Pause{By: "ops"} }) })
		id = owner.submit("a")
		synctest.Wait()
		owner.wantReasons(id, "INSIGHT_PAUSED")
	})
}

func TestInsightsOfAServerThatDiesMoveWithinItsLease(t *testing.T) {
	t.Parallel()
	for name, capabilities := range map[string]func(*driver.StoreCapabilities){
		"on a store with fresh indexes": func(*driver.StoreCapabilities) {},
		"on a store with stale indexes": func(c *driver.StoreCapabilities) { c.FreshIndexes = false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				caps := memdriver.FullStore()
				capabilities(&caps)
				w := &world{TB: t, base: memdriver.NewStore(memdriver.StoreOptions{Capabilities: caps}), hints: memdriver.NewQueue(memdriver.QueueOptions{})}
				w.start()
				w.furnish()
				w.tune(func(i *model.Insight) { i.QueueSize = new(1) })
				synctest.Wait()
				other := w.beside(Options{})
				defer other.Stop()
				queued := w.submit("a")
				<-time.After(7 * time.Second) // it beats every five
				w.crash()
				waiting := other.submit("b")
				other.wantReasons(waiting, "NO_OWNER")
				<-time.After(DefaultOwnerLease + DefaultOwnerLease/looksLease)
				synctest.Wait()
				if !other.Owns(insightID) {
					t.Fatal("nobody has taken over")
				}
				other.wantReasons(waiting, "QUEUE_FULL")
				session := other.session("executor")
				for _, id := range []string{queued, waiting} {
					if a := other.pullOne(session); a.Agenda.ID != id {
						t.Errorf("agenda %s is pulled, want %s", a.Agenda.ID, id)
					}
				}
			})
		})
	}
}

func TestInsightsOfAServerThatStopsMoveAtOnce(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		id := other.submit("a")
		synctest.Wait()
		owner.Stop()
		<-time.After(DefaultOwnerLease / looksLease)
		synctest.Wait()
		got, err := owner.Owner(t.Context(), insightID)
		if err != nil || got.Server != "second" || got.Epoch != 2 {
			t.Errorf("the owner is %+v, %v", got, err)
		}
		if a := other.pullOne(other.session("executor")); a.Agenda.ID != id {
			t.Errorf("agenda %s is pulled, want %s", a.Agenda.ID, id)
		}
	})
}

func TestServersShareWhatOneLeavesBehind(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		const more = 19
		for i := range more {
			owner.must(owner.catalog.Insights.Create(t.Context(), model.Insight{
				Meta: model.Meta{ID: fmt.Sprint("insight", i), CustomerID: "a", Title: "insight"}, ResourcePoolID: poolID,
			}))
		}
		third := owner.beside(Options{Server: "third"})
		defer third.Stop()
		<-time.After(2 * DefaultOwnerLease)
		owner.Stop()
		<-time.After(2 * DefaultOwnerLease)
		synctest.Wait()
		second, rest := len(other.allDispatchers()), len(third.allDispatchers())
		if second+rest != more+1 || second < more/2 || rest < more/2 {
			t.Errorf("the two that are left own %d and %d insights, want about %d each", second, rest, (more+1)/2)
		}
	})
}

// addInsights makes a number of insights that no agenda matches. In order of their ids the one that all match is the last.
func (w *world) addInsights(n int) {
	w.Helper()
	for i := range n {
		w.must(w.catalog.Insights.Create(w.ctx(), model.Insight{
			Meta: model.Meta{ID: fmt.Sprint("another", i), CustomerID: "a", Title: "insight"}, ResourcePoolID: poolID,
			Mappers: model.Mappers{OperationType: []string{"none"}},
		}))
	}
}

func TestAServerThatJoinsIsGivenItsPartAndNothingGoesBackAndForth(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		owner.addInsights(7)
		<-time.After(2 * DefaultOwnerLease)
		third := owner.beside(Options{Server: "third"})
		defer third.Stop()
		owns := func() string {
			return fmt.Sprint(len(owner.allDispatchers()), len(other.allDispatchers()), len(third.allDispatchers()))
		}
		<-time.After(DefaultOwnerLease - time.Second)
		if got := owns(); got != "4 4 0" {
			t.Errorf("the servers own %s insights before one that has joined has been there for a lease, want 4 4 0", got)
		}
		<-time.After(DefaultOwnerLease)
		if got := owns(); got != "3 3 2" {
			t.Errorf("the servers own %s insights a lease later, want 3 3 2", got)
		}
		writes := func() (n int64) {
			for _, w := range []*world{owner, other, third} {
				n += w.store.Calls().Write
			}
			return n
		}
		const leases = 10
		before := writes()
		<-time.After(leases * DefaultOwnerLease)
		if n := writes() - before; n > 3*leases*(beatsLease+1) {
			t.Errorf("%d writes of three servers in %d leases, each renews its own %d times in one", n, leases, beatsLease)
		}
	})
}

// loneOwner returns a server that owns four insights, and an agenda that is on the queue and one that waits.
func loneOwner(t *testing.T) (w *world, queued, waiting string) {
	t.Helper()
	w = &world{
		TB: t, base: memdriver.NewStore(memdriver.StoreOptions{}), hints: memdriver.NewQueue(memdriver.QueueOptions{}), options: Options{Server: "first"},
	}
	w.start()
	w.furnish()
	w.tune(func(i *model.Insight) { i.QueueSize = new(1) })
	w.addInsights(3)
	<-time.After(DefaultOwnerLease + DefaultOwnerLease/looksLease/2) // so that a second server looks at other moments than the first
	return w, w.submit("a"), w.submit("b")
}

func TestAnInsightThatIsHandedOverGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, queued, waiting := loneOwner(t)
		defer w.Stop()
		other := w.beside(Options{Server: "second"})
		defer other.Stop()
		<-time.After(2 * DefaultOwnerLease)
		synctest.Wait()
		if !other.Owns(insightID) || w.Owns(insightID) {
			t.Fatal("the insight is not handed over")
		}
		other.wantReasons(waiting, "QUEUE_FULL")
		session := w.session("executor")
		for _, id := range []string{queued, waiting} {
			if a := w.pullOne(session); a.Agenda.ID != id {
				t.Errorf("agenda %s is pulled, want %s", a.Agenda.ID, id)
			}
		}
	})
}

func TestAnInsightThatIsHandedToAServerThatDiesIsTakenBackWithinALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, queued, waiting := loneOwner(t)
		defer w.Stop()
		other := w.beside(Options{Server: "second"})
		for w.Owns(insightID) {
			<-time.After(time.Millisecond)
		}
		other.crash()
		if other.Owns(insightID) {
			t.Fatal("the other has begun already")
		}
		if got, err := w.Owner(t.Context(), insightID); err != nil || got.Server != "second" || got.Alive || got.Here {
			t.Errorf("the owner is %+v, %v, want the second, which has not begun", got, err)
		}
		w.wantReasons(waiting, "NO_OWNER")
		// Up to then what is on the queue is claimed.
		if a := w.pullOne(w.session("executor")); a.Agenda.ID != queued {
			t.Errorf("agenda %s is pulled, want %s", a.Agenda.ID, queued)
		}
		<-time.After(DefaultOwnerLease + DefaultOwnerLease/looksLease)
		synctest.Wait()
		if owned := len(w.allDispatchers()); owned != 4 || !w.Owns(insightID) {
			t.Errorf("the server that is left owns %d insights, want 4", owned)
		}
	})
}

func TestWhatOnlyTheOwnerKnowsIsRefusedWithItsName(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		id := owner.submit("a")
		synctest.Wait()
		other.wantReasons(id, "NO_OWNER")
		_, err := other.Preview(t.Context(), insightID, model.PreviewRequest{})
		wantKind(t, err, model.Unavailable)
		_, err = other.Fairness(t.Context(), insightID, 1)
		wantKind(t, err, model.Unavailable)
		for _, w := range []*world{owner, other} {
			got, err := w.Owner(t.Context(), insightID)
			want := model.Owner{InsightID: insightID, Server: "first", Address: "http://first", Epoch: 1, Since: got.Since, Alive: true, Here: w == owner}
			if err != nil || got != want {
				t.Errorf("the owner is %+v, %v, want %+v", got, err, want)
			}
		}
		_, err = other.Owner(t.Context(), "none")
		wantKind(t, err, model.NotFound)
	})
}

func TestAPullerOfAnotherServerCountsAsOne(t *testing.T) {
	inCluster(t, func(t *testing.T, owner, other *world) {
		session := other.session("executor")
		_, err := other.Pull(t.Context(), model.PullRequest{InsightID: insightID, SessionID: session, WaitMs: 1})
		other.must(err)
		synctest.Wait()
		id := owner.submit("a")
		synctest.Wait()
		owner.wantReasons(id, "NOT_CLAIMED")
		<-time.After(2 * pullerGone)
		owner.wantReasons(id, "NO_PULLER")
	})
}

// What the first owner has scheduled is void once the insight has a second one, however late the first finds out.
func TestAServerThatWakesUpLateSchedulesNothingThatCouldBeClaimed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asleep atomic.Pointer[time.Time] // until when
		sleep := func() time.Duration {
			if until := asleep.Load(); until != nil {
				return time.Until(*until)
			}
			return 0
		}
		w := &world{
			TB: t, base: memdriver.NewStore(memdriver.StoreOptions{}), hints: memdriver.NewQueue(memdriver.QueueOptions{}), witness: newWitness(),
			options: Options{Server: "first"},
		}
		w.faults = func(c memdriver.Call) memdriver.Fault {
			if c.Method != memdriver.Write {
				<-time.After(sleep())
			}
			return memdriver.Fault{}
		}
		w.held = func(req driver.WriteRequest) (time.Duration, bool) {
			if schedules(req) {
				asleep.CompareAndSwap(nil, new(time.Now().Add(time.Minute)))
			}
			return sleep(), true
		}
		w.start()
		defer w.Stop()
		w.furnish()
		w.tune(func(i *model.Insight) { i.MaxInFlight = new(1) })
		synctest.Wait()
		other := &world{TB: t, base: w.base, hints: w.hints, witness: w.witness, held: func(driver.WriteRequest) (time.Duration, bool) { return 0, false }}
		other.start()
		defer other.Stop()
		late := w.submit("a")
		<-time.After(2 * DefaultOwnerLease)
		session := other.session("executor")
		first := other.pullOne(session)
		if first.Agenda.ID != late {
			t.Fatalf("agenda %s is pulled, want %s", first.Agenda.ID, late)
		}
		other.taken(complete(first, model.Succeeded))
		<-time.After(time.Minute) // the first wakes up, and its write comes too late
		other.wantState(late, model.Complete, model.Succeeded)
		next := other.submit("a")
		if a := other.pullOne(other.session("executor")); a.Agenda.ID != next {
			t.Errorf("agenda %s is pulled, want %s", a.Agenda.ID, next)
		}
		w.witness.testify(t, true)
	})
}

// Its time has come, but the server may not act on it: it waits, and does not ask again and again for what is due.
func TestAServerWithoutALeaseWaitsWhenAnAgendaIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var frozen atomic.Bool // heartbeats take a minute
		w := &world{
			TB: t, base: memdriver.NewStore(memdriver.StoreOptions{}), hints: memdriver.NewQueue(memdriver.QueueOptions{}), witness: newWitness(),
			held: func(req driver.WriteRequest) (time.Duration, bool) {
				if frozen.Load() && req.Groups[0][0].Record.Key.Kind == kindServer {
					return time.Minute, true
				}
				return 0, true
			},
		}
		w.start()
		defer w.Stop()
		w.furnish()
		synctest.Wait()
		frozen.Store(true)
		later := agendaOf("a")
		later.NotBefore = time.Now().Add(2 * DefaultOwnerLease)
		id := w.submitOne(Submission{Agenda: later}).Agenda.ID
		<-time.After(3 * DefaultOwnerLease)
		if w.owners.mayAct() {
			t.Fatal("the server still has its lease")
		}
		w.wantState(id, model.Waiting, "")
		frozen.Store(false)
		<-time.After(4 * DefaultOwnerLease)
		w.wantState(id, model.Queued, "")
	})
}

func TestASingleServerKeepsNoLeases(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.submit("a")
		synctest.Wait()
		before := w.store.Calls()
		<-time.After(10 * DefaultOwnerLease)
		after := w.store.Calls()
		if w.owners != nil || after.Write != before.Write || after.Scan != before.Scan {
			t.Errorf("an idle server on a store of its own has made %d writes and %d scans", after.Write-before.Write, after.Scan-before.Scan)
		}
		got, err := w.Owner(t.Context(), insightID)
		if err != nil || !got.Here || !got.Alive || got.Server == "" {
			t.Errorf("the owner is %+v, %v", got, err)
		}
	})
}
