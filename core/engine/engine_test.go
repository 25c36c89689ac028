package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// world is a store, a queue and an engine over them, in a bubble of fake time. The engine can be restarted: only the store stays.
type world struct {
	testing.TB
	base    *memdriver.Store
	hints   *memdriver.Queue                                            // that servers share; if nil each start makes a new one, as hints may be lost
	witness *witness                                                    // sees what is written, if there is one
	before  func(driver.Store) driver.Store                             // puts a store before base, if not nil
	faults  func(memdriver.Call) memdriver.Fault                        // of the store and the queue
	held    func(driver.WriteRequest) (late time.Duration, frozen bool) // how long writes are held up
	options Options
	driver  driver.Store // a new handle on base with every start
	queue   driver.Queue
	catalog *catalog.Catalog
	*Engine
}

const insightID, poolID = "insight", "pool"

func schema() driver.Schema {
	return driver.Schema{Kinds: append(Schema(), catalog.Schema()...)}
}

// beside returns another server on the same store and queue.
func (w *world) beside(o Options) *world {
	w.Helper()
	other := &world{TB: w.TB, base: w.base, hints: w.hints, witness: w.witness, options: o}
	other.start()
	return other
}

// inWorld runs a test in fake time on a store with everything that agendas of customers a and b need.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{TB: t, base: memdriver.NewStore(memdriver.StoreOptions{Capabilities: ownStore()})}
		w.start()
		t.Cleanup(func() { w.Stop() })
		w.furnish()
		test(t, w)
	})
}

// furnish makes the objects that agendas of customers a and b need.
func (w *world) furnish() {
	w.Helper()
	w.must(w.catalog.ResourcePools.Create(w.ctx(), model.ResourcePool{Meta: model.Meta{ID: poolID, CustomerID: "a", Title: "pool"}}))
	for _, id := range []string{"a", "b"} {
		w.must(w.catalog.Customers.Create(w.ctx(), model.Customer{Meta: model.Meta{ID: id, Title: id}, ResourcePoolID: poolID}))
	}
	w.must(w.catalog.Insights.Create(w.ctx(), model.Insight{
		Meta: model.Meta{ID: insightID, CustomerID: "a", Title: "insight"}, ResourcePoolID: poolID,
		Sharing: model.Sharing{IsGlobal: true}, Mappers: model.Mappers{OperationType: []string{"work"}}, QueueSize: new(10),
	}))
}

func (w *world) ctx() context.Context { return context.Background() }

// must fails the test if its last argument is an error.
func (w *world) must(results ...any) {
	w.Helper()
	if err, ok := results[len(results)-1].(error); ok && err != nil {
		w.Fatal(err)
	}
}

// start begins anew with nothing but what is stored.
func (w *world) start() {
	w.Helper()
	w.driver = w.witness.watch(w.base.Open(), w.held)
	if w.before != nil {
		w.driver = w.before(w.driver)
	}
	w.driver = memdriver.NewFaultyStore(w.driver, w.faults)
	if w.hints != nil {
		w.queue = memdriver.NewFaultyQueue(w.hints.Open(), w.faults)
	} else {
		w.queue = memdriver.NewFaultyQueue(memdriver.NewQueue(memdriver.QueueOptions{}), w.faults)
	}
	st, err := store.Open(w.ctx(), w.driver, schema())
	w.must(err)
	q, err := queue.Open(w.ctx(), w.queue)
	w.must(err)
	w.catalog = catalog.New(st, catalog.Options{})
	w.Engine = New(st, q, w.catalog, w.options)
	w.must(w.Start(w.ctx()))
}

// crash ends the engine without any farewell: calls in flight have done their work or never will.
func (w *world) crash() {
	w.Helper()
	w.must(w.driver.Close(w.ctx()))
	w.must(w.queue.Close(w.ctx()))
	w.Stop()
}

func agendaOf(customer string, operations ...string) model.Agenda {
	a := model.Agenda{Meta: model.Meta{CustomerID: customer}}
	for _, name := range append([]string{"first"}, operations...) {
		a.Operations = append(a.Operations, model.Operation{Name: name, Type: "work"})
	}
	return a
}

func (w *world) submit(customer string, operations ...string) string {
	w.Helper()
	return w.submitOne(Submission{Agenda: agendaOf(customer, operations...)}).Agenda.ID
}

func (w *world) submitOne(s Submission) Submitted {
	w.Helper()
	got := w.Submit(w.ctx(), []Submission{s})[0]
	w.must(got.Err)
	return got
}

func (w *world) session(name string) string {
	w.Helper()
	s, err := w.OpenSession(w.ctx(), name)
	w.must(err)
	return s.ID
}

// pull waits for agendas.
func (w *world) pull(session string, limit int) []model.Assignment {
	w.Helper()
	got, err := w.Pull(w.ctx(), model.PullRequest{InsightID: insightID, SessionID: session, Max: limit, WaitMs: MaxWait.Milliseconds()})
	w.must(err)
	return got
}

func (w *world) pullOne(session string) model.Assignment {
	w.Helper()
	got := w.pull(session, 1)
	if len(got) != 1 {
		w.Fatalf("%d agendas pulled, want one", len(got))
	}
	return got[0]
}

func complete(a model.Assignment, outcome model.Outcome) model.Report {
	r := model.Report{Lease: a.Lease, SessionID: a.Progress.SessionID}
	r.State, r.Outcome = model.Complete, outcome
	return r
}

func operation(name string, outcome model.Outcome) model.OperationProgress {
	op := model.OperationProgress{Operation: name}
	op.State, op.Outcome = model.Complete, outcome
	return op
}

// reportOne sends one report and returns the kind of error that answers it, "" for none.
func (w *world) reportOne(r model.Report) model.ErrorKind {
	w.Helper()
	results, err := w.Report(w.ctx(), []model.Report{r})
	w.must(err)
	if results[0].Err != nil {
		return results[0].Err.Kind
	}
	return ""
}

func (w *world) taken(r model.Report) {
	w.Helper()
	if kind := w.reportOne(r); kind != "" {
		w.Fatalf("the report was refused: %s", kind)
	}
}

func (w *world) state(id string) (model.State, model.Outcome) {
	w.Helper()
	p, _, err := w.Progress(w.ctx(), id)
	w.must(err)
	return p.State, p.Outcome
}

func (w *world) wantState(id string, state model.State, outcome model.Outcome) {
	w.Helper()
	if s, o := w.state(id); s != state || o != outcome {
		w.Fatalf("the agenda is %s %s, want %s %s", s, o, state, outcome)
	}
}

func wantKind(t testing.TB, err error, kind model.ErrorKind) {
	t.Helper()
	if err == nil || model.KindOf(err) != kind {
		t.Fatalf("error is %v, want one of kind %s", err, kind)
	}
}

func TestAnAgendaIsSubmittedScheduledClaimedAndCompleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		agenda := agendaOf("a", "second")
		agenda.LinkID, agenda.Params = "link", model.Params{"externalId": json.RawMessage(`"ext"`)}
		got := w.submitOne(Submission{Agenda: agenda})
		id := got.Agenda.ID
		if got.Agenda.AgendaInsight.InsightID != insightID || got.Progress.State != model.Waiting || got.Progress.ExternalID != "ext" {
			t.Errorf("submitted: %+v", got)
		}
		a := w.pullOne(session)
		if a.AgendaID != id || a.Fence != 1 || len(a.Agenda.Operations) != 2 {
			t.Errorf("assignment: %+v", a)
		}
		w.wantState(id, model.Executing, "")

		running := model.Report{Lease: a.Lease, SessionID: session, Operations: []model.OperationProgress{operation("first", model.Succeeded)}}
		running.State = model.Executing
		w.taken(running)
		p, _, err := w.Progress(w.ctx(), id)
		w.must(err)
		if p.PercentComplete != 50 || p.Operations[0].Outcome != model.Succeeded || p.Operations[1].State != model.Waiting {
			t.Errorf("half way: %+v", p)
		}
		if p.Operations[1].ID != id+"-second" || p.Operations[1].AgendaProgressID != id {
			t.Errorf("operation ids: %+v", p.Operations[1])
		}

		w.taken(complete(a, model.Succeeded))
		w.wantState(id, model.Complete, model.Succeeded)
		s, err := w.Summary(w.ctx(), "link", nil)
		w.must(err)
		if len(s.Agendas) != 1 || s.Outcome != model.Succeeded || s.PercentComplete != 100 {
			t.Errorf("summary: %+v", s)
		}
	})
}

func TestSubmittingAgainWithTheSameKeyIsOneAgenda(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first := w.submitOne(Submission{Agenda: agendaOf("a"), IdempotencyKey: "k"})
		again := w.submitOne(Submission{Agenda: agendaOf("a"), IdempotencyKey: "k"})
		if !again.Replayed || again.Agenda.ID != first.Agenda.ID {
			t.Errorf("got %+v, want a replay of %s", again, first.Agenda.ID)
		}
		wantKind(t, w.Submit(w.ctx(), []Submission{{Agenda: agendaOf("a", "more"), IdempotencyKey: "k"}})[0].Err, model.Conflict)
		if other := w.submitOne(Submission{Agenda: agendaOf("b"), IdempotencyKey: "k"}); other.Replayed {
			t.Error("keys of different customers must not meet")
		}
		batch := w.Submit(w.ctx(), []Submission{{Agenda: agendaOf("a"), IdempotencyKey: "n"}, {Agenda: agendaOf("a"), IdempotencyKey: "n"}})
		w.must(batch[0].Err)
		wantKind(t, batch[1].Err, model.Conflict)
	})
}

func TestASubmissionThatCannotBeAcceptedSaysWhatAndWhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.must(w.catalog.Customers.Create(w.ctx(), model.Customer{Meta: model.Meta{ID: "homeless", Title: "no pool"}}))
		big := agendaOf("a")
		big.Operations[0].Payload = json.RawMessage(`"` + strings.Repeat("x", memdriver.FullStore().MaxRecordBytes) + `"`)
		unknown := agendaOf("a")
		unknown.Operations[0].Type = "unheard of"
		for name, c := range map[string]struct {
			agenda model.Agenda
			kind   model.ErrorKind
			path   string
		}{
			"no operations":              {model.Agenda{Meta: model.Meta{CustomerID: "a"}}, model.Invalid, "operations"},
			"unknown customer":           {agendaOf("nobody"), model.Invalid, "customerId"},
			"customer without a pool":    {agendaOf("homeless"), model.Invalid, "customerId"},
			"no insight matches":         {unknown, model.Invalid, "operations"},
			"larger than the store take": {big, model.TooLarge, ""},
		} {
			err := w.Submit(w.ctx(), []Submission{{Agenda: c.agenda}})[0].Err
			if model.KindOf(err) != c.kind {
				t.Errorf("%s: error %v, want kind %s", name, err, c.kind)
				continue
			}
			if c.path != "" && err.(*model.Error).Issues[0].Path != c.path { //nolint:errorlint // the engine returns it as it is
				t.Errorf("%s: issues %+v, want one at %s", name, err.(*model.Error).Issues, c.path) //nolint:errorlint // as above
			}
		}
		page, err := w.List(w.ctx(), Filter{}, "", 10)
		w.must(err)
		if len(page.Progress) != 0 {
			t.Errorf("%d agendas were stored all the same", len(page.Progress))
		}
	})
}

func TestOneBadAgendaOfABatchDoesNotSpoilTheOthers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		got := w.Submit(w.ctx(), []Submission{{Agenda: agendaOf("a")}, {Agenda: agendaOf("nobody")}, {Agenda: agendaOf("b")}})
		w.must(got[0].Err)
		wantKind(t, got[1].Err, model.Invalid)
		w.must(got[2].Err)
	})
}

func TestAFailedAgendaIsRunAgainUpToItsMaximum(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		agenda := agendaOf("a", "second")
		agenda.MaximumAttempts = 2
		id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID

		first := w.pullOne(session)
		failed := complete(first, model.Failed)
		failed.Operations = []model.OperationProgress{operation("first", model.Succeeded), operation("second", model.Failed)}
		w.taken(failed)
		if p, _, err := w.Progress(w.ctx(), id); err != nil || p.PercentComplete != 50 {
			t.Errorf("%v%% with one of two operations succeeded, error %v", p.PercentComplete, err)
		}
		second := w.pullOne(session)
		if second.Fence != first.Fence+1 || second.Progress.AttemptsCompleted != 1 {
			t.Errorf("second attempt: %+v", second)
		}
		if ops := second.Progress.Operations; len(ops) != 2 || ops[0].Outcome != model.Succeeded {
			t.Errorf("the second attempt is not told what had succeeded: %+v", ops)
		}
		w.taken(complete(second, model.Failed))
		w.wantState(id, model.Complete, model.Failed)
	})
}

func TestAFailureThatARetryCannotMendIsFinal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		r := complete(w.pullOne(w.session("executor")), model.Failed)
		op := operation("first", model.Failed)
		op.DiagnosticEvents = []model.DiagnosticEvent{{Message: "no handler", StatusCode: model.StatusNonRetryable}}
		r.Operations = []model.OperationProgress{op}
		w.taken(r)
		w.wantState(id, model.Complete, model.Failed)
	})
}

func TestG03_ReportsAreFenced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session, other := w.session("executor"), w.session("other")
		id := w.submit("a")
		a := w.pullOne(session)
		stale, stranger := complete(a, model.Succeeded), complete(a, model.Succeeded)
		stale.Fence--
		stranger.SessionID = other
		for name, r := range map[string]model.Report{"an older fence": stale, "another session": stranger} {
			if kind := w.reportOne(r); kind != model.Fenced {
				t.Errorf("%s: answered %q, want %s", name, kind, model.Fenced)
			}
		}
		w.taken(complete(a, model.Succeeded))
		w.taken(complete(a, model.Succeeded)) // a repetition is not an error
		w.wantState(id, model.Complete, model.Succeeded)
		p, _, err := w.Progress(w.ctx(), id)
		w.must(err)
		if p.AttemptsCompleted != 1 {
			t.Errorf("%d attempts counted, want 1", p.AttemptsCompleted)
		}
	})
}

func TestAnAgendaHandedBackCostsNoAttempt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		w.submit("a")
		a := w.pullOne(session)
		back := model.Report{Lease: a.Lease, SessionID: session}
		back.State = model.Waiting
		w.taken(back)
		if again := w.pullOne(session); again.Progress.AttemptsCompleted != 0 || again.Fence != a.Fence+1 {
			t.Errorf("claimed again: %+v", again)
		}
	})
}

func TestTheAgendasOfALostSessionAreReclaimed(t *testing.T) {
	t.Parallel()
	t.Run("when it expires, within a lease and a sweep", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			id := w.submit("a")
			lost := w.pullOne(w.session("lost"))
			running := model.Report{Lease: lost.Lease, SessionID: lost.Progress.SessionID}
			running.State = model.Executing
			w.taken(running)
			rescuer := w.session("rescuer")
			start := time.Now()
			a := w.pullOne(rescuer)
			if took := time.Since(start); took > w.Lease+w.Sweep+time.Millisecond {
				t.Errorf("reclaimed after %s, want at most %s", took, w.Lease+w.Sweep)
			}
			if a.AgendaID != id || a.Progress.AttemptsCompleted != 1 {
				t.Errorf("reclaimed: %+v", a)
			}
			if kind := w.reportOne(complete(lost, model.Succeeded)); kind != model.Fenced {
				t.Errorf("the lost executor's report is answered %q, want %s", kind, model.Fenced)
			}
		})
	})
	t.Run("at once when one of the same name is opened", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.submit("a")
			w.pullOne(w.session("executor"))
			start := time.Now()
			w.pullOne(w.session("executor"))
			if took := time.Since(start); took > 0 {
				t.Errorf("reclaimed after %s, want at once", took)
			}
		})
	})
	t.Run("at once when it is closed", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.submit("a")
			a := w.pullOne(w.session("closing"))
			w.must(w.CloseSession(w.ctx(), a.Progress.SessionID))
			w.must(w.CloseSession(w.ctx(), a.Progress.SessionID)) // closing twice is not an error
			start := time.Now()
			w.pullOne(w.session("executor"))
			if took := time.Since(start); took > 0 {
				t.Errorf("reclaimed after %s, want at once", took)
			}
		})
	})
	t.Run("and fail when no attempt is left", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			agenda := agendaOf("a")
			agenda.MaximumAttempts = 1
			id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
			w.pullOne(w.session("executor"))
			w.session("executor")
			synctest.Wait()
			w.wantState(id, model.Complete, model.Failed)
		})
	})
}

func TestHeartbeatsKeepASessionAndItsAgendas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.OpenSession(w.ctx(), "executor")
		w.must(err)
		id := w.submit("a")
		a := w.pullOne(s.ID)
		running := model.Report{Lease: a.Lease, SessionID: s.ID}
		running.State = model.Executing
		w.taken(running)
		for range 20 {
			<-time.After(time.Duration(s.Heartbeat) * time.Millisecond)
			w.must(w.Heartbeat(w.ctx(), s.ID))
		}
		w.wantState(id, model.Executing, "")
		<-time.After(w.Lease + 2*w.Sweep)
		w.wantState(id, model.Queued, "")
		w.session("executor")
		_, err = w.Heartbeat(w.ctx(), s.ID)
		wantKind(t, err, model.Fenced)
		_, err = w.Pull(w.ctx(), model.PullRequest{InsightID: insightID, SessionID: s.ID})
		wantKind(t, err, model.Fenced)
	})
}

func TestASessionThatHeldNothingNeedsNoHeartbeatToGetAgendas(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("idle")
		<-time.After(3 * w.Lease)
		id := w.submit("a")
		before := w.store.Calls().Groups
		a := w.pullOne(session)
		if got := w.store.Calls().Groups - before; got > 3 { // scheduled, session renewed, claimed
			t.Errorf("%d writes for the claim; want one more for the session", got)
		}
		<-time.After(2 * w.Lease / heartbeatsLease)
		w.wantState(id, model.Executing, "")
		if _, err := w.Heartbeat(w.ctx(), session); err != nil {
			t.Fatal(err)
		}
		w.taken(complete(a, model.Succeeded))
	})
}

func TestHintsGoToOthersIfTheSessionThatPulledThemHasEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		old := w.session("executor")
		<-time.After(2 * w.Lease)
		pulled := make(chan error)
		go func() {
			_, err := w.Pull(w.ctx(), model.PullRequest{InsightID: insightID, SessionID: old, WaitMs: MaxWait.Milliseconds()})
			pulled <- err
		}()
		synctest.Wait()
		session := w.session("executor")
		start := time.Now()
		id := w.submit("a")
		wantKind(t, <-pulled, model.Fenced)
		if a := w.pullOne(session); a.AgendaID != id || a.Progress.AttemptsCompleted != 0 || time.Since(start) > 0 {
			t.Errorf("claimed after %s: %+v", time.Since(start), a)
		}
	})
}

func TestAfterARestartExecutorsHaveALeaseToBeHeardOfAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		a := w.pullOne(w.session("executor"))
		lost := w.submit("a")
		w.pullOne(w.session("dead"))
		synctest.Wait()
		w.crash()
		<-time.After(10 * w.Lease)
		w.start()
		<-time.After(w.Lease - time.Second)
		w.taken(complete(a, model.Succeeded)) // it had ended while the server was away
		w.wantState(id, model.Complete, model.Succeeded)
		<-time.After(2*time.Second + w.Sweep)
		w.wantState(lost, model.Queued, "")
	})
}

// The answer to a pull may be lost, while the session lives on.
func TestG02_AClaimThatTheExecutorNeverHeardOfIsReclaimed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		s, err := w.OpenSession(w.ctx(), "executor")
		w.must(err)
		id := w.submit("a")
		w.pullOne(s.ID) // never reported on
		for range 4 {
			<-time.After(time.Duration(s.Heartbeat) * time.Millisecond)
			w.must(w.Heartbeat(w.ctx(), s.ID))
		}
		if a := w.pullOne(s.ID); a.AgendaID != id || a.Fence != 2 {
			t.Errorf("claimed again: %+v", a)
		}
	})
}

func TestG10_ACancelledAgendaEndsAndItsExecutorIsTold(t *testing.T) {
	t.Parallel()
	t.Run("ends an agenda that waits in its queue", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			id := w.submit("a")
			synctest.Wait()
			w.wantState(id, model.Queued, "")
			w.must(w.Cancel(w.ctx(), id, "changed my mind"))
			w.wantState(id, model.Complete, model.Cancelled)
			_, err := w.Cancel(w.ctx(), id, "")
			wantKind(t, err, model.Conflict)
			next := w.submit("a")
			if a := w.pullOne(w.session("executor")); a.AgendaID != next {
				t.Error("a cancelled agenda was handed out")
			}
		})
	})
	t.Run("tells the executor with its next heartbeat and refuses its reports", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			session := w.session("executor")
			id := w.submit("a")
			a := w.pullOne(session)
			w.must(w.Cancel(w.ctx(), id, ""))
			s, err := w.Heartbeat(w.ctx(), session)
			w.must(err)
			if len(s.Revoked) != 1 || s.Revoked[0] != a.Lease {
				t.Errorf("revoked leases %+v, want %+v", s.Revoked, a.Lease)
			}
			if kind := w.reportOne(complete(a, model.Succeeded)); kind != model.Fenced {
				t.Errorf("the report is answered %q, want %s", kind, model.Fenced)
			}
			w.wantState(id, model.Complete, model.Cancelled)
		})
	})
}

func TestRerun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		agenda := agendaOf("a", "second", "third")
		agenda.MaximumAttempts = 1
		agenda.Operations[1].Payload = json.RawMessage(`"@<first.out>"`)
		id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
		r := complete(w.pullOne(session), model.Failed)
		r.Operations = []model.OperationProgress{operation("first", model.Succeeded), operation("second", model.Failed), operation("third", model.Succeeded)}
		w.taken(r)

		for _, c := range []struct {
			name string
			req  model.Rerun
			kept int
		}{
			{"from where it failed", model.Rerun{Continue: true}, 3},
			{"one operation and what depends on it", model.Rerun{Operations: []string{"first"}}, 1},
			{"everything", model.Rerun{}, 0},
		} {
			w.must(w.Rerun(w.ctx(), id, c.req))
			a := w.pullOne(session)
			if got := len(a.Progress.Operations); got != c.kept {
				t.Errorf("%s: the progress of %d operations is kept, want %d", c.name, got, c.kept)
			}
			_, err := w.Rerun(w.ctx(), id, c.req)
			wantKind(t, err, model.Conflict) // it is EXECUTING
			w.taken(func() model.Report {
				again := complete(a, model.Failed)
				again.Operations = r.Operations
				return again
			}())
		}
		_, err := w.Rerun(w.ctx(), id, model.Rerun{Operations: []string{"nope"}})
		wantKind(t, err, model.Invalid)
	})
}

func TestDoNotRunStoresWithoutScheduling(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		agenda := agendaOf("a")
		agenda.Params = model.Params{model.ParamDoNotRun: json.RawMessage("null")}
		id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
		synctest.Wait()
		w.wantState(id, model.Waiting, "")
		w.must(w.Delete(w.ctx(), id))
		_, err := w.Agenda(w.ctx(), id)
		wantKind(t, err, model.NotFound)
	})
}

func TestDeleteRefusesALiveAgenda(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		wantKind(t, w.Delete(w.ctx(), id), model.Conflict)
		w.must(w.Cancel(w.ctx(), id, ""))
		w.must(w.Delete(w.ctx(), id))
		wantKind(t, w.Delete(w.ctx(), id), model.NotFound)
	})
}

func TestTheQueueHoldsNoMoreThanItsSize(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 25 {
			w.submit("a")
		}
		session := w.session("executor")
		for _, want := range []int{10, 10, 10, 10, 5, 0} { // each round claims 5
			synctest.Wait()
			page, err := w.List(w.ctx(), Filter{State: model.Queued}, "", 100)
			w.must(err)
			if len(page.Progress) != want {
				t.Fatalf("%d agendas are QUEUED, want %d", len(page.Progress), want)
			}
			if want > 0 {
				w.pull(session, 5)
			}
		}
	})
}

func TestCustomersTakeTurnsWhateverTheirBacklog(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 40 {
			w.submit("a")
		}
		synctest.Wait()
		for range 3 {
			w.submit("b")
		}
		session := w.session("executor")
		for got, n := 0, 1; n <= 16; n++ { // 10 of a are in the queue already
			a := w.pullOne(session)
			synctest.Wait()
			if a.Agenda.CustomerID == "b" {
				if got++; got == 3 {
					return
				}
			}
		}
		t.Error("the three agendas of b did not come within 6 of leaving the queue")
	})
}

func TestEverythingGoesOnAfterARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const n = 30 // 10 QUEUED, the others WAITING
		for i := range n {
			w.submit(fmt.Sprintf("%c", 'a'+i%2))
		}
		synctest.Wait()
		executing := w.pull(w.session("executor"), 4)
		synctest.Wait()
		w.crash()
		w.start()
		session := w.session("executor")
		w.taken(func() model.Report { return complete(w.pullOne(session), model.Succeeded) }())
		seen := map[string]bool{}
		for len(seen) < n-1 {
			for _, a := range w.pull(session, 7) {
				if seen[a.AgendaID] {
					t.Fatalf("agenda %s handed out twice", a.AgendaID)
				}
				seen[a.AgendaID] = true
				w.taken(complete(a, model.Succeeded))
			}
		}
		for _, a := range executing {
			p, _, err := w.Progress(w.ctx(), a.AgendaID)
			w.must(err)
			if p.Fence != 2 || p.Outcome != model.Succeeded {
				t.Errorf("an agenda that was EXECUTING: fence %d, %s", p.Fence, p.Outcome)
			}
		}
	})
}

func TestG01_ALostHintIsSentAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		synctest.Wait()
		w.must(w.queue.Purge(w.ctx(), driver.PurgeRequest{Queue: insightID}))
		start := time.Now()
		session := w.session("executor")
		var got []model.Assignment
		for len(got) == 0 {
			w.must(w.Heartbeat(w.ctx(), session))
			var err error
			got, err = w.Pull(w.ctx(), model.PullRequest{InsightID: insightID, SessionID: session, WaitMs: 5000})
			w.must(err)
		}
		if got[0].AgendaID != id || time.Since(start) > w.Resend+2*w.Sweep {
			t.Errorf("agenda %s after %s", got[0].AgendaID, time.Since(start))
		}
	})
}

func TestAwaitReturnsWithTheNextChange(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		synctest.Wait()
		_, seen, err := w.Progress(w.ctx(), id)
		w.must(err)
		start := time.Now()
		_, same, err := w.Await(w.ctx(), id, seen, 5*time.Second)
		w.must(err)
		if same != seen || time.Since(start) != 5*time.Second {
			t.Errorf("without a change: version %q after %s", same, time.Since(start))
		}
		go func() {
			<-time.After(1500 * time.Millisecond)
			_, _ = w.Cancel(w.ctx(), id, "")
		}()
		start = time.Now()
		p, _, err := w.Await(w.ctx(), id, seen, time.Minute)
		w.must(err)
		if p.Outcome != model.Cancelled || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("%s after %s", p.State, time.Since(start))
		}
	})
}

func TestListsPageThroughEveryAgendaOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		want := map[string]bool{}
		for i := range 25 {
			agenda := agendaOf(string(rune('a' + i%2)))
			agenda.LinkID = fmt.Sprint("link", i%3)
			want[w.submitOne(Submission{Agenda: agenda}).Agenda.ID] = true
			<-time.After(time.Millisecond)
		}
		count := func(f Filter) int {
			got := map[string]bool{}
			for cursor := ""; ; {
				page, err := w.List(w.ctx(), f, cursor, 4)
				w.must(err)
				if len(page.Progress) == 0 || len(page.Progress) > 4 {
					t.Fatalf("a page of %d", len(page.Progress))
				}
				for _, p := range page.Progress {
					if got[p.ID] || !want[p.ID] {
						t.Fatalf("%s is listed twice, or by mistake", p.ID)
					}
					got[p.ID] = true
				}
				if cursor = page.Next; cursor == "" {
					return len(got)
				}
			}
		}
		for name, c := range map[string]struct {
			filter Filter
			want   int
		}{
			"all":                    {Filter{}, 25},
			"a customer's":           {Filter{CustomerIDs: []string{"b"}}, 12},
			"a link's":               {Filter{LinkID: "link0"}, 9},
			"a link's of a customer": {Filter{LinkID: "link0", CustomerIDs: []string{"a"}}, 5},
			"an insight's":           {Filter{InsightID: insightID}, 25},
			"those in a state":       {Filter{State: model.Queued}, 10},
		} {
			if got := count(c.filter); got != c.want {
				t.Errorf("%s: %d agendas, want %d", name, got, c.want)
			}
		}
	})
}

func TestAgendasAndLiveReadManyAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var ids []string
		for range 5 {
			ids = append(ids, w.submit("a"))
		}
		w.must(w.Cancel(w.ctx(), ids[0], ""))
		agendas, err := w.Agendas(w.ctx(), append(ids, "00000000-0000-0000-0000-000000000000"))
		w.must(err)
		if len(agendas) != 5 || agendas[3].ID != ids[3] || agendas[3].AddedTime.IsZero() {
			t.Errorf("%d agendas: %+v", len(agendas), agendas)
		}
		for limit, want := range map[int]int{3: 3, 10: 4} {
			live, err := w.Live(w.ctx(), insightID, limit)
			w.must(err)
			if len(live) != want || slices.Contains(live, ids[0]) {
				t.Errorf("%d live agendas of at most %d: %v", len(live), limit, live)
			}
		}
	})
}

func TestAResetWithoutExecutionHoldsUntilTheNextRerun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		id := w.submit("a")
		w.taken(complete(w.pullOne(session), model.Succeeded))
		w.must(w.Rerun(w.ctx(), id, model.Rerun{SkipExecution: true}))
		synctest.Wait()
		w.wantState(id, model.Waiting, "")
		w.must(w.Rerun(w.ctx(), id, model.Rerun{}))
		if a := w.pullOne(session); a.AgendaID != id {
			t.Errorf("agenda %s was handed out", a.AgendaID)
		}
	})
}

func TestNoOperationIsLeftExecutingWhenNoAttemptIsLeft(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		agenda := agendaOf("a")
		agenda.MaximumAttempts = 1
		id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
		a := w.pullOne(w.session("executor"))
		r := model.Report{Lease: a.Lease, SessionID: a.Progress.SessionID, Operations: []model.OperationProgress{{Operation: "first"}}}
		r.State, r.Operations[0].State = model.Executing, model.Executing
		w.taken(r)
		w.session("executor")
		synctest.Wait()
		p, _, err := w.Progress(w.ctx(), id)
		w.must(err)
		if op := p.Operations[0]; op.State != model.Complete || op.Outcome != model.Failed {
			t.Errorf("the operation is %s %s", op.State, op.Outcome)
		}
	})
}

func TestAResultThatCouldNotBeReadAgainIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.submit("a")
		a := w.pullOne(w.session("executor"))
		r := complete(a, model.Succeeded)
		r.Operations = []model.OperationProgress{operation("first", model.Succeeded)}
		r.Operations[0].ResultPayload = json.RawMessage(strings.Repeat("[", 9999) + strings.Repeat("]", 9999))
		if kind := w.reportOne(r); kind != model.Invalid {
			t.Errorf("answered %q, want %s", kind, model.Invalid)
		}
	})
}

func TestARunThatCannotBeReadSpoilsNoListAndCanBeDeleted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		bad, good := w.submit("a"), w.submit("a")
		synctest.Wait()
		got, err := w.driver.Get(w.ctx(), driver.GetRequest{Keys: []driver.Key{runKey(bad)}})
		w.must(err)
		rec := *got.Records[0]
		rec.Index = []driver.IndexEntry{{Index: indexCustomer, Part: "a", Sort: "0"}}
		rec.Body = []byte("not a run")
		_, err = w.driver.Write(w.ctx(), driver.WriteRequest{Groups: []driver.Group{{{Type: driver.Put, Record: rec}}}})
		w.must(err)
		page, err := w.List(w.ctx(), Filter{}, "", 10)
		w.must(err)
		if len(page.Progress) != 1 || page.Progress[0].ID != good {
			t.Errorf("listed %+v", page.Progress)
		}
		w.must(w.Delete(w.ctx(), bad))
		_, err = w.Agenda(w.ctx(), bad)
		wantKind(t, err, model.NotFound)
	})
}

// ownStore is that of a single server.
func ownStore() driver.StoreCapabilities {
	c := memdriver.FullStore()
	c.Shared = false
	return c
}
