package engine

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/workflow"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// wait lets fake time pass.
func wait(d time.Duration) { <-time.After(d) }

// running is a report of a run that goes on.
func running(a model.Assignment, operations ...model.OperationProgress) model.Report {
	r := model.Report{Lease: a.Lease, SessionID: a.Progress.SessionID, Operations: operations}
	r.State = model.Executing
	return r
}

func begun(name string) model.OperationProgress {
	return model.OperationProgress{Operation: name, AttemptCount: 1, Status: model.Status{State: model.Executing}}
}

// pullWithin returns the agenda that is handed out within a time, or false.
func (w *world) pullWithin(session string, d time.Duration) (model.Assignment, bool) {
	w.Helper()
	got, err := w.Pull(w.ctx(), model.PullRequest{InsightID: insightID, SessionID: session, Max: 1, WaitMs: d.Milliseconds()})
	w.must(err)
	if len(got) == 0 {
		return model.Assignment{}, false
	}
	return got[0], true
}

func (w *world) progress(id string) model.AgendaProgress {
	w.Helper()
	p, _, err := w.Progress(w.ctx(), id)
	w.must(err)
	return p
}

func TestG18_TheNextAttemptWaitsLongerEachTimeAndFailuresBeyondRetryHaveNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		agenda := agendaOf("a")
		agenda.MaximumAttempts, agenda.Backoff = 4, &model.Backoff{InitialSeconds: new(8.0), MaximumSeconds: new(20.0)}
		id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
		for attempt, bounds := range [][2]float64{{4, 8}, {8, 16}, {10, 20}} {
			a := w.pullOne(session)
			w.taken(complete(a, model.Failed))
			from := time.Now()
			w.wantReasons(id, reasonBackoff)
			for w.progress(id).State == model.Waiting {
				wait(100 * time.Millisecond)
				_, err := w.Heartbeat(w.ctx(), session)
				w.must(err)
			}
			if took := time.Since(from); took.Seconds() < bounds[0] || took.Seconds() > bounds[1]+1 {
				t.Errorf("after attempt %d it waited %s; want %v seconds", attempt+1, took, bounds)
			}
		}
		event := model.DiagnosticEvent{Message: "no handler", StatusCode: model.StatusNonRetryable}
		r := complete(w.pullOne(session), model.Failed)
		r.DiagnosticEvents = []model.DiagnosticEvent{event}
		w.taken(r)
		w.wantState(id, model.Complete, model.Failed)

		other := w.submit("a")
		r = complete(w.pullOne(session), model.Failed)
		r.DiagnosticEvents = []model.DiagnosticEvent{event}
		w.taken(r)
		if p := w.progress(other); p.State != model.Complete || p.AttemptsCompleted != 1 {
			t.Errorf("a failure beyond retry leaves %s after %d attempts", p.State, p.AttemptsCompleted)
		}
	})
}

func TestG04_AnAgendaThatIsExecutedIsNotRunAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		a := w.pullOne(w.session("executor"))
		for _, req := range []model.Rerun{{}, {Continue: true}, {Operations: []string{"first"}}, {SkipExecution: true}} {
			_, err := w.Rerun(w.ctx(), id, req)
			wantKind(t, err, model.Conflict)
		}
		w.taken(complete(a, model.Succeeded))
		w.must(w.Rerun(w.ctx(), id, model.Rerun{}))
		if again := w.pullOne(w.session("executor")); again.Fence <= a.Fence {
			t.Errorf("the fence is %d after %d", again.Fence, a.Fence)
		}
		if kind := w.reportOne(complete(a, model.Succeeded)); kind != model.Fenced {
			t.Errorf("a report of the run before is answered with %q", kind)
		}
	})
}

// finale is an agenda with operations that run at the end.
func finale() model.Agenda {
	a := agendaOf("a", "alert", "clean")
	a.MaximumAttempts = 2
	a.Operations[1].When, a.Operations[2].When = workflow.OnFailure, workflow.Always
	return a
}

func TestTheEndIsRunThoughTheLastExecutorIsLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submitOne(Submission{Agenda: finale()}).Agenda.ID
		for attempt := range 2 {
			session := w.session(fmt.Sprint("executor ", attempt))
			a := w.pullOne(session)
			if a.Progress.Ending != "" {
				t.Errorf("attempt %d is told that the agenda ends", attempt+1)
			}
			w.taken(running(a, begun("first")))
			w.must(w.CloseSession(w.ctx(), session))
		}
		session := w.session("the end")
		a := w.pullOne(session)
		if p := a.Progress; p.Ending != model.Failed || p.AttemptsCompleted != 2 || p.Operations[0].Outcome != model.Failed {
			t.Errorf("the third executor is told %+v", p)
		}
		w.taken(running(a, begun("clean")))
		w.must(w.CloseSession(w.ctx(), session)) // lost, too
		session = w.session("the end again")
		a = w.pullOne(session)
		done := complete(a, model.Failed)
		done.Operations = []model.OperationProgress{operation("clean", model.Succeeded), operation("alert", model.Succeeded)}
		done.Message = "executor lost"
		w.taken(done)
		p := w.progress(id)
		if p.State != model.Complete || p.Outcome != model.Failed || p.Ending != "" || p.AttemptsCompleted != 2 || p.Operations[2].Outcome != model.Succeeded {
			t.Errorf("in the end: %+v", p)
		}

		// Run again, the end is run again, too, whatever it did before.
		w.must(w.Rerun(w.ctx(), id, model.Rerun{Continue: true}))
		if p := w.progress(id); p.Operations[1].State != model.Waiting || p.Operations[2].State != model.Waiting || p.Operations[0].Outcome != model.Failed {
			t.Errorf("to be run again: %+v", p.Operations)
		}
	})
}

func TestAnEndThatIsLostEachTimeEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submitOne(Submission{Agenda: finale()}).Agenda.ID
		pulls := 0
		for ; w.progress(id).State != model.Complete; pulls++ {
			session := w.session("executor")
			w.taken(running(w.pullOne(session), begun("first")))
			w.must(w.CloseSession(w.ctx(), session))
			wait(time.Second)
		}
		if pulls != 4 { // two attempts, and as many of the end
			t.Errorf("handed out %d times", pulls)
		}
		w.wantState(id, model.Complete, model.Failed)
	})
}

func TestAnExecutorSaysThatTheAgendaEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submitOne(Submission{Agenda: finale()}).Agenda.ID
		session := w.session("executor")
		a := w.pullOne(session)
		ends := running(a, operation("first", model.Failed), begun("clean"))
		ends.Ending, ends.Message = model.Failed, `operation "first": broken`
		w.taken(ends)
		if p := w.progress(id); p.Ending != model.Failed {
			t.Errorf("%+v", p)
		}
		w.must(w.CloseSession(w.ctx(), session)) // an attempt would be left
		if again := w.pullOne(w.session("executor")); again.Progress.Ending != model.Failed || again.Progress.Message != ends.Message {
			t.Errorf("the next executor is told %+v", again.Progress)
		}
	})
}

func TestACancelledAgendaRunsWhatRunsAlwaysIfItHadBegun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		id := w.submitOne(Submission{Agenda: finale()}).Agenda.ID
		a := w.pullOne(session)
		w.taken(running(a, begun("first")))
		p, err := w.Cancel(w.ctx(), id, "wrong input")
		w.must(err)
		if p.State != model.Waiting || p.Ending != model.Cancelled || p.Message != "wrong input" || p.Operations[0].Outcome != model.Cancelled {
			t.Errorf("cancelled: %+v", p)
		}
		s, err := w.Heartbeat(w.ctx(), session)
		w.must(err)
		if len(s.Revoked) != 1 || s.Revoked[0] != a.Lease {
			t.Errorf("the executor is told of %+v", s.Revoked)
		}
		w.wantReasons(id, reasonBackoff) // its executor has time to stop
		from := time.Now()
		last := w.pullOne(w.session("other"))
		if took := time.Since(from); took < DefaultLease-time.Second || last.Progress.Ending != model.Cancelled {
			t.Errorf("handed out after %s: %+v", took, last.Progress)
		}
		done := complete(last, model.Cancelled)
		done.Operations = []model.OperationProgress{operation("clean", model.Failed)}
		w.taken(done)
		w.wantState(id, model.Complete, model.Cancelled)
		if p := w.progress(id); p.Message != "wrong input" {
			t.Errorf("message %q", p.Message)
		}

		fresh := w.submitOne(Submission{Agenda: finale()}).Agenda.ID // nothing has begun
		w.must(w.Cancel(w.ctx(), fresh, ""))
		w.wantState(fresh, model.Complete, model.Cancelled)

		twice := w.submitOne(Submission{Agenda: finale()}).Agenda.ID
		w.must(w.pullOne(w.session("third")))
		w.must(w.Cancel(w.ctx(), twice, ""))
		w.must(w.Cancel(w.ctx(), twice, ""))
		w.wantState(twice, model.Complete, model.Cancelled)
	})
}

func TestAPausedAgendaWaitsUntilItIsResumed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		pause := model.Pause{By: "ops", Reason: "the disk is full"}
		for name, state := range map[string]model.State{"waiting": model.Waiting, "queued": model.Queued} {
			insight, err := w.catalog.Insights.Get(w.ctx(), insightID)
			w.must(err)
			insight.Object.Pause = nil
			if state == model.Waiting {
				insight.Object.Pause = &pause
			}
			w.must(w.catalog.Insights.Replace(w.ctx(), insight.Object, ""))
			id := w.submit("a")
			wait(time.Second)
			w.wantState(id, state, "")
			p, err := w.Pause(w.ctx(), id, pause, false)
			w.must(err)
			if p.State != model.Waiting || p.Message != "paused by ops: the disk is full" || p.Pause == nil {
				t.Errorf("%s: %+v", name, p)
			}
			w.wantReasons(id, reasonPaused)
			insight.Object.Pause = nil
			w.must(w.catalog.Insights.Replace(w.ctx(), insight.Object, ""))
			if a, ok := w.pullWithin(session, 20*time.Second); ok {
				t.Fatalf("%s: handed out all the same: %+v", name, a.Progress)
			}
			w.crash() // it is not forgotten
			w.start()
			session = w.session("executor")
			if _, ok := w.pullWithin(session, 5*time.Second); ok {
				t.Fatalf("%s: handed out after a restart", name)
			}
			w.must(w.Resume(w.ctx(), id))
			w.taken(complete(w.pullOne(session), model.Succeeded))
			w.wantState(id, model.Complete, model.Succeeded)
			_, err = w.Pause(w.ctx(), id, pause, false)
			wantKind(t, err, model.Conflict)
			_, err = w.Resume(w.ctx(), id)
			wantKind(t, err, model.Conflict)
		}
	})
}

func TestAPauseEndsByItself(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		id := w.submit("a")
		_, err := w.Pause(w.ctx(), id, model.Pause{By: "ops", Until: time.Now()}, false)
		wantKind(t, err, model.Invalid)
		_, err = w.Pause(w.ctx(), id, model.Pause{}, false)
		wantKind(t, err, model.Invalid)
		from := time.Now()
		w.must(w.Pause(w.ctx(), id, model.Pause{By: "ops", Until: from.Add(20 * time.Second)}, false))
		a := w.pullOne(session)
		if took := time.Since(from); took < 20*time.Second || a.Progress.Pause != nil {
			t.Errorf("handed out after %s with the pause %+v", took, a.Progress.Pause)
		}
	})
}

func TestAnAgendaIsPausedWhileItIsExecuted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		id := w.submit("a", "second")
		a := w.pullOne(session)
		w.taken(running(a, begun("first")))
		p, err := w.Pause(w.ctx(), id, model.Pause{By: "ops"}, false)
		w.must(err)
		if p.State != model.Executing || p.Pause == nil {
			t.Errorf("paused: %+v", p)
		}
		w.wantReasons(id, reasonPaused)
		s, err := w.Heartbeat(w.ctx(), session)
		w.must(err)
		if len(s.Paused) != 1 || s.Paused[0] != a.Lease {
			t.Errorf("the heartbeat tells of %+v", s.Paused)
		}
		results, err := w.Report(w.ctx(), []model.Report{running(a, operation("first", model.Succeeded))})
		w.must(err)
		if !results[0].Paused {
			t.Error("the answer to the report does not tell of the pause")
		}
		back := running(a)
		back.State = model.Waiting
		w.taken(back)
		if a, ok := w.pullWithin(session, 10*time.Second); ok {
			t.Fatalf("handed out all the same: %+v", a)
		}
		w.must(w.Resume(w.ctx(), id))
		again := w.pullOne(session)
		if again.Progress.AttemptsCompleted != 0 || again.Progress.Operations[0].Outcome != model.Succeeded {
			t.Errorf("goes on as %+v", again.Progress)
		}
		w.taken(running(again, begun("second")))

		// And now at once.
		p, err = w.Pause(w.ctx(), id, model.Pause{By: "ops"}, true)
		w.must(err)
		if p.State != model.Waiting || p.Operations[1].State != model.Waiting || p.Fence <= again.Fence {
			t.Errorf("interrupted: %+v", p)
		}
		if kind := w.reportOne(complete(again, model.Succeeded)); kind != model.Fenced {
			t.Errorf("the interrupted executor is answered with %q", kind)
		}
		s, err = w.Heartbeat(w.ctx(), session)
		w.must(err)
		if len(s.Revoked) != 1 || s.Revoked[0] != again.Lease {
			t.Errorf("the interrupted executor is told of %+v", s.Revoked)
		}

		// A failure while it pauses waits for the end of the pause, as well.
		w.must(w.Resume(w.ctx(), id))
		third := w.pullOne(session)
		w.must(w.Pause(w.ctx(), id, model.Pause{By: "ops"}, false))
		w.taken(complete(third, model.Failed))
		if _, ok := w.pullWithin(session, MaxWait); ok {
			t.Error("tried again in spite of the pause")
		}
		w.must(w.Cancel(w.ctx(), id, ""))
		w.wantState(id, model.Complete, model.Cancelled)
	})
}

// generator is a succeeded operation that has generated others.
func generator(name string, generated ...model.Operation) model.OperationProgress {
	op := operation(name, model.Succeeded)
	op.Generated = generated
	return op
}

func work(name string, dependsOn ...string) model.Operation {
	op := model.Operation{Name: name, Type: "work"}
	if len(dependsOn) > 0 {
		list, _ := json.Marshal(dependsOn)
		op.Params = model.Params{model.ParamDependsOn: list}
	}
	return op
}

func names(p model.AgendaProgress) string {
	var all []string
	for _, op := range p.Operations {
		all = append(all, op.Operation)
	}
	return strings.Join(all, " ")
}

func TestG16_WhatWasGeneratedIsTakenInOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		id := w.submit("a", "second")
		a := w.pullOne(session)
		r := running(a, generator("first", work("x"), work("y", "x")))
		w.taken(r)
		w.taken(r) // the answer was lost
		other := running(a, generator("first", work("z")))
		w.taken(other) // and what has succeeded stays as it was
		p := w.progress(id)
		if names(p) != "first second x y" || p.PercentComplete != 25 || p.Operations[2].GeneratedBy != "first" {
			t.Errorf("%s, %v%%: %+v", names(p), p.PercentComplete, p.Operations)
		}

		// The executor is lost; its successor is told, and cannot do it over.
		w.must(w.CloseSession(w.ctx(), session))
		b := w.pullOne(w.session("other"))
		w.taken(running(b, generator("first", work("again")), generator("x", work("x1")), operation("x1", model.Succeeded)))
		if p := w.progress(id); names(p) != "first second x y x1" || p.PercentComplete != 60 {
			t.Errorf("after another executor: %s, %v%%", names(p), p.PercentComplete)
		}
		agenda, err := w.Agenda(w.ctx(), id)
		w.must(err)
		if len(agenda.Operations) != 2 {
			t.Errorf("the accepted agenda has changed: %+v", agenda.Operations)
		}
	})
}

func TestG16_WhatCannotBeAddedIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.submit("a", "second")
		a := w.pullOne(w.session("executor"))
		for name, generated := range map[string][]model.Operation{
			"a name that is taken": {work("SECOND")},
			"an unknown operation": {work("x", "nope")},
			"a circle":             {work("x", "y"), work("y", "x")},
		} {
			results, err := w.Report(w.ctx(), []model.Report{running(a, generator("first", generated...))})
			w.must(err)
			if refused := results[0].Err; refused == nil || refused.Kind != model.Invalid ||
				!strings.HasPrefix(refused.Issues[0].Path, "operationProgress[0].generatedOperations.operations[") {
				t.Errorf("%s: %v", name, refused)
			}
		}
		clash, err := w.Report(w.ctx(), []model.Report{running(a, generator("first", work("x")), generator("second", work("X")))})
		w.must(err)
		if clash[0].Err == nil || clash[0].Err.Issues[0].Path != "operationProgress[1].generatedOperations.operations[0].name" {
			t.Errorf("two of the same name in one report: %v", clash[0].Err)
		}
	})
}

func TestG17_ResettingAnOperationTakesAwayWhatItHasGenerated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, test := range []struct {
			reset []string
			kept  string // names of operations that are there, those that keep their progress with a star
		}{
			{[]string{"other"}, "first* second* other x* y* x1*"},
			{[]string{"first"}, "first second other*"}, // y depends on x, so second has to generate it again
			{[]string{"second"}, "first* second other* x* x1*"},
			{[]string{"x"}, "first* second* other* x y"},
			{nil, "first second other"},
		} {
			id := w.submit("a", "second", "other")
			a := w.pullOne(w.session("executor"))
			w.taken(running(a, generator("first", work("x")), operation("other", model.Succeeded)))
			r := complete(a, model.Succeeded)
			r.Operations = []model.OperationProgress{
				generator("x", work("x1")), operation("x1", model.Succeeded), generator("second", work("y", "x")), operation("y", model.Succeeded),
			}
			w.taken(r)
			p, err := w.Rerun(w.ctx(), id, model.Rerun{Operations: test.reset, SkipExecution: true})
			w.must(err)
			var got []string
			done := 0.0
			for _, op := range p.Operations {
				name := op.Operation
				if op.Outcome == model.Succeeded {
					name += "*"
					done++
				}
				got = append(got, name)
			}
			if diff := cmp.Diff(test.kept, strings.Join(got, " ")); diff != "" {
				t.Errorf("resetting %v (-want +got):\n%s", test.reset, diff)
			}
			if want := 100 * done / float64(len(got)); p.PercentComplete != want {
				t.Errorf("resetting %v: %v%%, want %v", test.reset, p.PercentComplete, want)
			}
		}
	})
}

func TestAnAgendaThatSucceedsSkipsWhatWasNotNeeded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submitOne(Submission{Agenda: finale()}).Agenda.ID
		r := complete(w.pullOne(w.session("executor")), model.Succeeded)
		r.Operations = []model.OperationProgress{operation("first", model.Succeeded), operation("clean", model.Succeeded)}
		w.taken(r)
		if p := w.progress(id); p.PercentComplete != 100 || p.Operations[1].State != model.Complete || p.Operations[1].Outcome != model.Skipped {
			t.Errorf("%+v", p)
		}
	})
}

// TestTenThousandOperationsFitAnyStore runs an agenda of as many operations as there may be on a store of small records.
func TestTenThousandOperationsFitAnyStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		agenda := agendaOf("a", "late")
		agenda.Operations[1].When = workflow.Always
		id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
		a := w.pullOne(w.session("executor"))
		parts := make([]model.Operation, model.MaxOperations-2)
		for i := range parts {
			parts[i] = work(fmt.Sprint("part ", i))
		}
		w.taken(running(a, generator("first", parts...)))
		result := json.RawMessage(`"` + strings.Repeat("x", 100) + `"`)
		largest, written := 0, 0
		watch := func() {
			rec, err := w.store.GetOne(w.ctx(), runKey(id))
			w.must(err)
			largest, written = max(largest, len(rec.Body)), written+len(rec.Body)
		}
		for i := 0; i < len(parts); i += 50 {
			if i == 5000 { // what the server remembers is gone
				w.crash()
				w.start()
			}
			r := running(a)
			for j := i; j < min(i+50, len(parts)); j++ {
				op := operation(parts[j].Name, model.Succeeded)
				op.ResultPayload = result
				r.Operations = append(r.Operations, op)
			}
			w.taken(r)
			w.taken(r) // once more, which must not count
			watch()
		}
		p := w.progress(id)
		if want := 100 * 9999.0 / 10000; p.PercentComplete != want || len(p.Operations) != model.MaxOperations {
			t.Errorf("%v%% of %d operations", p.PercentComplete, len(p.Operations))
		}
		for i := range p.Operations[2:] {
			if op := &p.Operations[2+i]; op.Operation != parts[i].Name || string(op.ResultPayload) != string(result) || op.GeneratedBy != "first" {
				t.Fatalf("operation %d: %+v", i, op)
			}
		}
		if largest > 2*spillBytes || written > 200*2*spillBytes {
			t.Errorf("the run's record had up to %d bytes", largest)
		}

		w.must(w.CloseSession(w.ctx(), a.Progress.SessionID))
		b := w.pullOne(w.session("other"))
		if len(b.Progress.Operations) != model.MaxOperations-1 {
			t.Errorf("the next executor is told of %d operations", len(b.Progress.Operations))
		}
		w.taken(complete(b, model.Succeeded))
		reset, err := w.Rerun(w.ctx(), id, model.Rerun{Operations: []string{"part 17"}, SkipExecution: true})
		w.must(err)
		if want := 100 * 9998.0 / 10000; reset.PercentComplete != want || reset.Operations[19].State != model.Waiting {
			t.Errorf("after a reset: %v%%, %+v", reset.PercentComplete, reset.Operations[19])
		}
		if all, err := w.Rerun(w.ctx(), id, model.Rerun{SkipExecution: true}); err != nil || len(all.Operations) != 2 || all.PercentComplete != 0 {
			t.Errorf("after a reset of everything: %d operations, %v%%, %v", len(all.Operations), all.PercentComplete, err)
		}
		w.must(w.Delete(w.ctx(), id))
		for _, kind := range []driver.Kind{kindOverflow, kindBody, kindRun} {
			for rec, err := range w.store.Scan(w.ctx(), driver.ScanRequest{Kind: kind, Part: id}) {
				t.Errorf("left over: %s %v", rec.Key, err)
			}
		}
	})
}

func TestProgressBeyondItsBoundIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		operations := make([]string, 100)
		for i := range operations {
			operations[i] = fmt.Sprint("part ", i)
		}
		id := w.submit("a", operations...)
		a := w.pullOne(w.session("executor"))
		size := memdriver.FullStore().MaxRecordBytes / 3
		for i, name := range operations {
			op := operation(name, model.Succeeded)
			op.ResultPayload = json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
			kind := w.reportOne(running(a, op))
			if (i+2)*size < MaxProgressBytes && kind != "" || i*size > MaxProgressBytes && kind != model.TooLarge {
				t.Fatalf("result %d of %d bytes is answered with %q", i+1, size, kind)
			}
			if kind == model.TooLarge {
				break
			}
		}
		huge := operation("first", model.Succeeded)
		huge.ResultPayload = json.RawMessage(`"` + strings.Repeat("x", 4*size) + `"`)
		if kind := w.reportOne(running(a, huge)); kind != model.TooLarge {
			t.Errorf("a result that no record can hold is answered with %q", kind)
		}
		w.taken(complete(a, model.Failed))
		if p := w.progress(id); p.State == model.Executing {
			t.Errorf("%+v", p)
		}
	})
}

func TestManyAgendasAreRunAgainAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		session := w.session("executor")
		var failed, succeeded []string
		for i := range 7 {
			agenda := agendaOf("a")
			agenda.LinkID, agenda.MaximumAttempts = "order", 1
			id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
			outcome := model.Failed
			if i == 3 {
				outcome, succeeded = model.Succeeded, append(succeeded, id)
			} else {
				failed = append(failed, id)
			}
			w.taken(complete(w.pullOne(session), outcome))
			wait(time.Millisecond)
		}
		filter := Filter{LinkID: "order", Outcome: model.Failed}
		got := map[string]bool{}
		pages := 0
		for cursor := ""; ; pages++ {
			page, next, err := w.RerunAll(w.ctx(), filter, model.Rerun{Continue: true}, cursor, 4)
			w.must(err)
			for _, r := range page {
				if r.Err != nil || got[r.AgendaID] {
					t.Errorf("%+v", r)
				}
				got[r.AgendaID] = true
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		for _, id := range failed {
			if p := w.progress(id); !got[id] || p.State == model.Complete {
				t.Errorf("%s was not run again: %+v", id, p)
			}
		}
		w.wantState(succeeded[0], model.Complete, model.Succeeded)
		page, _, err := w.RerunAll(w.ctx(), Filter{LinkID: "order"}, model.Rerun{Operations: []string{"nope"}}, "", 100)
		w.must(err)
		if len(page) != 1 || model.KindOf(page[0].Err) != model.Invalid {
			t.Errorf("one that cannot be run again: %+v", page)
		}
	})
}
