package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

// trace notes when operations start and end.
type trace struct {
	mu    sync.Mutex
	from  time.Time
	notes []string
	now   int // running
	most  int
}

// around wraps a launcher.
func (tr *trace) around(launch LauncherFunc) LauncherFunc {
	tr.from = time.Now()
	note := func(what string, task *Task, by int) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.now += by
		tr.most = max(tr.most, tr.now)
		tr.notes = append(tr.notes, fmt.Sprintf("%s %s %s", time.Since(tr.from), what, task.Operation.Name))
	}
	return func(ctx context.Context, task *Task) (json.RawMessage, error) {
		note("start", task, 1)
		defer note("end", task, -1)
		return launch(ctx, task)
	}
}

func (tr *trace) all() []string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	sorted := slices.Clone(tr.notes)
	slices.Sort(sorted)
	return sorted
}

func TestAnOperationStartsWhenItsInputsAreThereAndGetsThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		payloads := map[string]string{}
		p := startPool(t, tr.around(func(_ context.Context, task *Task) (json.RawMessage, error) {
			tr.mu.Lock()
			payloads[task.Operation.Name] = string(task.Operation.Payload)
			tr.mu.Unlock()
			took := map[string]time.Duration{"a": time.Second, "b": 2 * time.Second, "c": 3 * time.Second, "d": time.Second, "e": time.Second}[task.Operation.Name]
			<-time.After(took)
			return json.RawMessage(`{"from": "` + task.Operation.Name + `", "n": 12345678901234567890}`), nil
		}), nil)
		a := agenda("a1",
			op("a", `{"id": "@<pop.agendaId>", "me": "@<pop.operationName>", "p": "@<pop.params::/x>"}`),
			op("b", `{"a": "@<a.out>"}`),
			op("c", `"@<a.out::/n>"`),
			op("d", `{"b": "@<b.out::/from>-@<c.out::/from>"}`),
			op("e", ``, "a"))
		a.Agenda.Params = model.Params{"x": json.RawMessage(`true`)}
		p.add(a)
		after(time.Minute)
		wantNotes := []string{
			"0s start a", "1s end a", "1s start b", "1s start c", "1s start e", "2s end e", "3s end b", "4s end c", "4s start d", "5s end d",
		}
		if diff := cmp.Diff(wantNotes, tr.all()); diff != "" {
			t.Errorf("course of the run (-want +got):\n%s", diff)
		}
		wantPayloads := map[string]string{
			"a": `{"id": "a1", "me": "a", "p": true}`,
			"b": `{"a": {"from": "a", "n": 12345678901234567890}}`,
			"c": `12345678901234567890`, "d": `{"b": "b-c"}`, "e": ``,
		}
		if diff := cmp.Diff(wantPayloads, payloads); diff != "" {
			t.Errorf("payloads (-want +got):\n%s", diff)
		}
		if final := p.final(t, "a1"); final.Outcome != model.Succeeded || final.PercentComplete != 100 {
			t.Errorf("final report: %+v", final.Status)
		}
		for name, op := range p.merged("a1") {
			if op.State != model.Complete || op.Outcome != model.Succeeded || op.PercentComplete != 100 || op.AttemptCount != 1 || len(op.ResultPayload) == 0 {
				t.Errorf("operation %s: %+v", name, op)
			}
		}
	})
}

func TestWhatHasSucceededBeforeIsNotRunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ran := map[string]*Task{}
		p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
			ran[task.Operation.Name] = task
			return nil, nil
		}, func(c *Config, _ *server) { c.AgendaOperations = 1 })
		a := agenda("a1", op("a", ``), op("b", `"@<a.out::/k>"`), op("c", ``, "b"), op("d", ``))
		old := time.Now().Add(-time.Hour)
		failedBefore := model.OperationProgress{
			Operation: "b", AttemptCount: 2, Params: model.Params{"job": json.RawMessage(`9`)},
			Status: model.Status{
				State: model.Complete, Outcome: model.Failed, StartedTime: old, PercentComplete: 70, CompletedTime: old, Message: "crashed",
				DiagnosticEvents: []model.DiagnosticEvent{{Message: "crashed"}},
			},
		}
		a.Progress.Operations = []model.OperationProgress{ // in another order than the agenda's
			failedBefore,
			{Operation: "a", AttemptCount: 1, Status: model.Status{State: model.Complete, Outcome: model.Succeeded}, ResultPayload: json.RawMessage(`{"k": "stored"}`)},
			{Operation: "c", Status: model.Status{State: model.Waiting}},
		}
		p.add(a)
		after(time.Minute)

		if ran["a"] != nil || len(ran) != 3 {
			t.Errorf("ran %v; want all but a", ran)
		}
		if got := ran["b"]; string(got.Operation.Payload) != `"stored"` || got.Attempt != 3 || !cmp.Equal(*got.LastProgress, failedBefore) {
			t.Errorf("b was given attempt %d, payload %s and last progress %+v", got.Attempt, got.Operation.Payload, got.LastProgress)
		}
		if got := ran["c"]; got.Attempt != 1 || got.LastProgress != nil {
			t.Errorf("c was given attempt %d and last progress %+v; want a first attempt", got.Attempt, got.LastProgress)
		}
		merged := p.merged("a1")
		if _, again := merged["a"]; again {
			t.Error("a was reported again")
		}
		want := failedBefore
		want.Status = model.Status{State: model.Complete, Outcome: model.Succeeded, PercentComplete: 100, StartedTime: old}
		want.AttemptCount = 3
		got := merged["b"]
		if got.AttemptTime.IsZero() || got.CompletedTime.IsZero() {
			t.Errorf("times are missing: %+v", got)
		}
		got.AttemptTime, got.CompletedTime = time.Time{}, time.Time{}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("progress of b (-want +got):\n%s", diff)
		}
	})
}

func TestAfterAFailureNothingStartsAndWhatRunsMayEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		p := startPool(t, tr.around(func(_ context.Context, task *Task) (json.RawMessage, error) {
			switch task.Operation.Name {
			case "bad":
				<-time.After(time.Second)
				task.Report(Progress{Percent: 100, Message: "almost", Params: model.Params{"job": json.RawMessage(`1`)}})
				f := &OperationError{model.DiagnosticEvent{Message: "boom", Payload: json.RawMessage(`"log"`)}}
				return nil, fmt.Errorf("wrapped: %w", f)
			case "slow":
				<-time.After(5 * time.Second)
			}
			return nil, nil
		}), func(c *Config, _ *server) { c.AgendaOperations = 2 })
		p.add(agenda("a1", op("bad", ``), op("slow", ``), op("third", ``), op("after slow", ``, "slow"), op("after bad", ``, "bad")))
		after(time.Minute)

		if diff := cmp.Diff([]string{"0s start bad", "0s start slow", "1s end bad", "5s end slow"}, tr.all()); diff != "" {
			t.Errorf("course of the run (-want +got):\n%s", diff)
		}
		final := p.final(t, "a1")
		event := model.DiagnosticEvent{Message: `operation "bad": boom`, Time: final.DiagnosticEvents[0].Time}
		want := model.Status{
			State: model.Complete, Outcome: model.Failed, Message: event.Message, PercentComplete: 20,
			CompletedTime: final.CompletedTime, DiagnosticEvents: []model.DiagnosticEvent{event},
		}
		if diff := cmp.Diff(want, final.Status); diff != "" {
			t.Errorf("final report (-want +got):\n%s", diff)
		}
		merged := p.merged("a1")
		if len(merged) != 2 {
			t.Errorf("reported %v; want nothing of operations that were not started", merged)
		}
		bad := merged["bad"]
		event.Message, event.Payload = "boom", json.RawMessage(`"log"`) // whose event it is need not be said
		if diff := cmp.Diff([]model.DiagnosticEvent{event}, bad.DiagnosticEvents); diff != "" {
			t.Errorf("event of the operation (-want +got):\n%s", diff)
		}
		if bad.State != model.Complete || bad.Outcome != model.Failed || string(bad.Params["job"]) != "1" {
			t.Errorf("the failed operation: %+v", bad)
		}
		if slow := merged["slow"]; slow.Outcome != model.Succeeded {
			t.Errorf("the operation that ran on: %+v", slow)
		}
	})
}

func TestFailuresThatARetryCannotMendAreMarked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		operations []model.Operation
		launch     LauncherFunc
		message    string
		marked     bool
	}{
		"a pointer to nothing": {
			[]model.Operation{op("a", ``), op("b", `"@<a.out::/absent>"`)},
			func(context.Context, *Task) (json.RawMessage, error) { return json.RawMessage(`{}`), nil },
			`operation "b": payload: reference @<a.out::/absent>`, true,
		},
		"a cycle": {[]model.Operation{op("a", ``, "b"), op("b", ``, "a")}, nil, "operations wait for each other", true},
		"what the launcher says": {
			[]model.Operation{op("a", ``)},
			func(context.Context, *Task) (json.RawMessage, error) {
				return nil, NonRetryable("no handler for %d", 7)
			},
			`operation "a": no handler for 7`, true,
		},
		"any other error": {
			[]model.Operation{op("a", ``)},
			func(context.Context, *Task) (json.RawMessage, error) { return nil, errors.New("out of luck") },
			`operation "a": out of luck`, false,
		},
		"a result that is not JSON": {
			[]model.Operation{op("a", ``)},
			func(context.Context, *Task) (json.RawMessage, error) { return json.RawMessage(`{oops`), nil },
			`operation "a": the result is not JSON: "{oops"`, false,
		},
		"a launcher that panics": {
			[]model.Operation{op("a", ``)},
			func(context.Context, *Task) (json.RawMessage, error) { panic("bug") },
			`operation "a": the launcher panicked: bug`, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := startPool(t, tc.launch, nil)
				p.add(agenda("a1", tc.operations...))
				after(time.Minute)
				final := p.final(t, "a1")
				if final.Outcome != model.Failed || len(final.DiagnosticEvents) != 1 || !strings.Contains(final.Message, tc.message) {
					t.Fatalf("final report: %+v; want one failure with %q", final.Status, tc.message)
				}
				if got := final.DiagnosticEvents[0].StatusCode == model.StatusNonRetryable; got != tc.marked {
					t.Errorf("marked as non-retryable: %t", got)
				}
			})
		})
	}
}

func TestAnAgendaWithoutOperationsSucceeds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, nil, nil)
		p.add(agenda("a1"))
		after(time.Second)
		if final := p.final(t, "a1"); final.Outcome != model.Succeeded || final.PercentComplete != 100 {
			t.Errorf("final report: %+v", final.Status)
		}
	})
}

func TestOperationsKeepToTheLimits(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ agendas, perAgenda, all, most, took int }{
		"of an agenda":    {1, 3, 100, 3, 4},
		"of the executor": {3, 10, 4, 4, 8},
		"both":            {2, 2, 3, 3, 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tr trace
				p := startPool(t, tr.around(takes(time.Second)), func(c *Config, _ *server) {
					c.AgendaOperations, c.Operations = tc.perAgenda, tc.all
				})
				for a := range tc.agendas {
					var operations []model.Operation
					for i := range 10 {
						operations = append(operations, op(fmt.Sprint("op", i), ``))
					}
					p.addTo(testInsight, agenda(fmt.Sprint("a", a), operations...))
				}
				after(time.Minute)
				if tr.most != tc.most {
					t.Errorf("%d operations ran at a time; want %d", tr.most, tc.most)
				}
				for a := range tc.agendas {
					if final := p.final(t, fmt.Sprint("a", a)); final.Outcome != model.Succeeded {
						t.Errorf("agenda %d: %+v", a, final.Status)
					}
				}
				last := p.callTime[len(p.callTime)-1]
				if took := math.Floor(last.Sub(tr.from).Seconds()); int(took) > tc.took {
					t.Errorf("took %v seconds; want at most %d", took, tc.took)
				}
			})
		})
	}
}

func TestAFailureKeepsOperationsThatWaitForRoomFromStarting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		p := startPool(t, tr.around(func(context.Context, *Task) (json.RawMessage, error) {
			<-time.After(time.Second)
			return nil, errors.New("no")
		}), func(c *Config, _ *server) { c.Operations = 1 })
		p.add(agenda("a1", op("a", ``), op("b", ``), op("c", ``)))
		after(time.Minute)
		if got := tr.all(); len(got) != 2 {
			t.Errorf("course of the run: %v; want one operation", got)
		}
		if merged := p.merged("a1"); len(merged) != 1 {
			t.Errorf("reported %v; want one operation", merged)
		}
	})
}

func TestProgressIsBoundedAndKeepsWhatItDoesNotMention(t *testing.T) {
	t.Parallel()
	progress := model.OperationProgress{Status: model.Status{State: model.Executing}}
	for _, p := range []Progress{
		{Percent: 40, Message: "first", Params: model.Params{"a": json.RawMessage(`1`), "b": json.RawMessage(`1`)}},
		{Params: model.Params{"b": json.RawMessage(`2`)}},
		{Percent: 20},
		{Percent: math.NaN()},
		{Percent: math.Inf(1), Message: strings.Repeat("ü", maxMessage)},
	} {
		advance(&progress, p)
	}
	if progress.PercentComplete != 100 || progress.Message != strings.Repeat("ü", maxMessage/2) {
		t.Errorf("%v percent, message of %d bytes", progress.PercentComplete, len(progress.Message))
	}
	if diff := cmp.Diff(model.Params{"a": json.RawMessage(`1`), "b": json.RawMessage(`2`)}, progress.Params); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	complete(&progress, model.Failed)
	before := progress
	advance(&progress, Progress{Percent: 100, Message: "too late"})
	if diff := cmp.Diff(before, progress); diff != "" {
		t.Errorf("progress after the end is taken in:\n%s", diff)
	}
}
