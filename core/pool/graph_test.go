package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/workflow"
)

// when returns an operation that is run in a course.
func when(w workflow.When, o model.Operation) model.Operation {
	o.When = w
	return o
}

// fails returns a launcher whose operations fail as they are named, and succeed otherwise, after a second.
func fails(names ...string) LauncherFunc {
	return func(ctx context.Context, task *Task) (json.RawMessage, error) {
		took := time.Second
		if task.Operation.Name == "slow" {
			took = 3 * time.Second
		}
		if err := sleep(ctx, took); err != nil {
			return nil, context.Cause(ctx)
		}
		for _, name := range names {
			if name == task.Operation.Name {
				return nil, errors.New(name + " is broken")
			}
		}
		return json.RawMessage(`{"file": "` + task.Operation.Name + `"}`), nil
	}
}

// TestG14_AFailureSaysWhichOperationAndWhyWhateverItReportedLast fails an operation that has said that all was well.
func TestG14_AFailureSaysWhichOperationAndWhyWhateverItReportedLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
			task.Report(Progress{Percent: 100, Message: "succeeded"})
			<-time.After(time.Second) // it is reported
			return nil, &OperationError{model.DiagnosticEvent{Message: "exit status 1", Payload: json.RawMessage(`{"output":"boom"}`)}}
		}, nil)
		p.add(agenda("a1", op("a", ``)))
		after(time.Minute)
		got := p.merged("a1")["a"]
		if got.State != model.Complete || got.Outcome != model.Failed || got.Message != "exit status 1" || string(got.DiagnosticEvents[0].Payload) != `{"output":"boom"}` {
			t.Errorf("the operation is reported as %+v", got)
		}
		if final := p.final(t, "a1"); final.Outcome != model.Failed || final.Message != `operation "a": exit status 1` {
			t.Errorf("final report: %+v", final.Status)
		}
	})
}

func TestG15_AFailedOperationCountsForNothingInThePercentage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, fails("b"), nil)
		p.add(agenda("a1", op("a", ``), op("b", ``), op("c", ``, "b"), op("d", ``, "b")))
		after(time.Minute)
		if final := p.final(t, "a1"); final.PercentComplete != 25 {
			t.Errorf("%v percent", final.PercentComplete)
		}
	})
}

func TestTheFailurePolicySaysWhatIsRunAfterAFailure(t *testing.T) {
	t.Parallel()
	for policy, want := range map[model.FailurePolicy]string{
		"":                    "bad slow",
		model.FailureStop:     "bad slow",
		model.FailureContinue: "after slow bad independent last slow",
	} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := startPool(t, fails("bad"), func(c *Config, _ *server) { c.AgendaOperations = 2 })
				a := agenda("a1", op("bad", ``), op("slow", ``), op("independent", ``), op("after bad", ``, "bad"), op("after slow", ``, "slow"), op("last", ``, "after slow"))
				a.Agenda.FailurePolicy = policy
				p.add(a)
				after(time.Minute)
				if got := began(p); got != want {
					t.Errorf("ran %s; want %s", got, want)
				}
				if final := p.final(t, "a1"); final.Outcome != model.Failed || len(final.DiagnosticEvents) != 1 {
					t.Errorf("final report: %+v", final.Status)
				}
			})
		})
	}
}

// began returns the operations of agenda a1 that were started, in order of their names.
func began(p *pool) string {
	var names []string
	for name := range p.merged("a1") {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestWhatRunsAtTheEndRunsOnceTheAgendaIsAboutToEnd(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name      string
		fails     []string
		completed int // attempts before this one, of three
		final     bool
		want      string
		outcome   model.Outcome
		ending    model.Outcome
	}{
		{"it succeeds", nil, 0, true, "clean encode probe", model.Succeeded, ""},
		{"it fails and is tried again: there is no end yet", []string{"encode"}, 0, false, "encode probe", model.Failed, ""},
		{"it fails for the last time", []string{"encode"}, 2, true, "alert clean encode probe", model.Failed, model.Failed},
		{"only the end fails, and is tried again", []string{"clean"}, 0, false, "clean encode probe", model.Failed, ""},
		{"only the end fails, for the last time", []string{"clean"}, 2, true, "alert clean encode probe", model.Failed, model.Failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tr trace
				payloads := sync.Map{}
				p := startPool(t, tr.around(func(ctx context.Context, task *Task) (json.RawMessage, error) {
					payloads.Store(task.Operation.Name, string(task.Operation.Payload))
					return fails(test.fails...)(ctx, task)
				}), nil)
				a := agenda("a1", op("probe", ``), op("encode", ``, "probe"),
					when(workflow.OnFailure, op("alert", `{"what": "@<pop.failures>", "n": "@<encode.out::/n??0>"}`)),
					when(workflow.Always, op("clean", `"@<encode.out::/file?none>"`)))
				a.Progress.MaximumAttempts, a.Progress.AttemptsCompleted = 3, test.completed
				p.add(a)
				after(time.Minute)
				if got := began(p); got != test.want {
					t.Errorf("ran %s; want %s; %v", got, test.want, tr.all())
				}
				final := p.final(t, "a1")
				if final.Outcome != test.outcome || final.Ending != test.ending {
					t.Errorf("final report: %s, ending %q; %+v", final.Outcome, final.Ending, final.Status)
				}
				if what, ok := payloads.Load("alert"); ok && len(test.fails) == 1 && test.fails[0] == "encode" {
					if want := `{"what": [{"operation":"encode","message":"encode is broken"}], "n": 0}`; what != want {
						t.Errorf("alert was given %s; want %s", what, want)
					}
				}
				if file, ok := payloads.Load("clean"); ok && (file == `"none"`) != (len(test.fails) > 0 && test.fails[0] == "encode") {
					t.Errorf("clean was given %s", file)
				}
			})
		})
	}
}

// TestAnotherExecutorRunsTheEnd hands an agenda out whose outcome is certain.
func TestAnotherExecutorRunsTheEnd(t *testing.T) {
	t.Parallel()
	for ending, want := range map[model.Outcome]string{model.Failed: "alert clean", model.Cancelled: "clean"} {
		t.Run(string(ending), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := startPool(t, fails(), nil)
				a := agenda("a1", op("encode", ``), op("publish", ``, "encode"),
					when(workflow.OnFailure, op("alert", `"@<pop.failures::/0/operation>"`)), when(workflow.Always, op("clean", ``)))
				a.Progress.MaximumAttempts, a.Progress.AttemptsCompleted = 3, 1
				a.Progress.Ending, a.Progress.Message = ending, "told before"
				a.Progress.Operations = []model.OperationProgress{{
					Operation: "encode", AttemptCount: 1, Status: model.Status{State: model.Complete, Outcome: model.Failed, Message: "lost"},
				}}
				p.add(a)
				after(time.Minute)
				if got := began(p); got != want {
					t.Errorf("ran %s; want %s", got, want)
				}
				if final := p.final(t, "a1"); final.Outcome != ending || final.DiagnosticEvents != nil {
					t.Errorf("final report: %+v", final.Status)
				}
			})
		})
	}
}

func TestG18_AnOperationIsTriedAgainWithinLimitsAndAfterPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		var mu sync.Mutex
		var last []string
		p := startPool(t, tr.around(func(_ context.Context, task *Task) (json.RawMessage, error) {
			mu.Lock()
			defer mu.Unlock()
			if task.LastProgress != nil {
				last = append(last, fmt.Sprintf("%d: %s", task.Attempt, task.LastProgress.Message))
			}
			switch {
			case task.Operation.Name == "flaky" && task.Attempt < 3, task.Operation.Name == "broken":
				return nil, errors.New("not now")
			case task.Operation.Name == "hopeless":
				return nil, NonRetryable("never")
			}
			return nil, nil
		}), func(c *Config, _ *server) { c.AgendaOperations = 1 })
		flaky, broken, hopeless := op("flaky", ``), op("broken", ``), op("hopeless", ``)
		flaky.MaximumAttempts, flaky.Backoff = 5, &model.Backoff{InitialSeconds: new(10.0)}
		broken.MaximumAttempts = 2
		hopeless.MaximumAttempts = 5
		a := agenda("a1", flaky, broken, hopeless, op("meanwhile", ``))
		a.Agenda.FailurePolicy = model.FailureContinue
		p.add(a)
		after(5 * time.Second)
		if got := p.merged("a1")["flaky"]; got.State != model.Waiting || got.AttemptCount != 1 || !strings.Contains(got.Message, "attempt 1 of 5 failed, the next one is in ") {
			t.Errorf("while it waits: %+v", got)
		}
		after(time.Hour)
		starts := map[string]int{}
		var times []time.Duration
		for _, note := range tr.notes {
			at, what, _ := strings.Cut(note, " ")
			if name, ok := strings.CutPrefix(what, "start "); ok {
				starts[name]++
				if name == "flaky" {
					d, _ := time.ParseDuration(at)
					times = append(times, d)
				}
			}
		}
		if diff := cmp.Diff(map[string]int{"flaky": 3, "broken": 2, "hopeless": 1, "meanwhile": 1}, starts); diff != "" {
			t.Errorf("attempts (-want +got):\n%s", diff)
		}
		if first, second := times[1]-times[0], times[2]-times[1]; first < 5*time.Second || first > 10*time.Second || second < 10*time.Second || second > 20*time.Second {
			t.Errorf("flaky waited %s and %s; want about 10 and 20 seconds", first, second)
		}
		if len(last) < 3 || !strings.Contains(last[len(last)-1], "3: attempt 2 of 5 failed") {
			t.Errorf("attempts were told of the one before: %v", last)
		}
		merged := p.merged("a1")
		if got := merged["flaky"]; got.Outcome != model.Succeeded || got.AttemptCount != 3 || got.DiagnosticEvents != nil {
			t.Errorf("flaky: %+v", got)
		}
		if got := merged["broken"]; got.Outcome != model.Failed || got.AttemptCount != 2 {
			t.Errorf("broken: %+v", got)
		}
		if final := p.final(t, "a1"); final.Outcome != model.Failed || len(final.DiagnosticEvents) != 2 {
			t.Errorf("final report: %+v", final.Status)
		}
	})
}

func TestG28_OperationsAndAgendasHaveTimeOuts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		hangs := func(ctx context.Context, task *Task) (json.RawMessage, error) {
			if strings.HasPrefix(task.Operation.Name, "hang") {
				<-ctx.Done()
				return nil, fmt.Errorf("was stopped: %w", context.Cause(ctx))
			}
			return nil, nil
		}
		p := startPool(t, tr.around(hangs), nil)
		slow := op("hang", ``)
		slow.TimeoutSeconds, slow.MaximumAttempts, slow.Backoff = 10, 2, &model.Backoff{InitialSeconds: new(0.0)}
		p.add(agenda("a1", slow))

		whole := agenda("a2", op("hang too", ``), op("next", ``, "hang too"), when(workflow.Always, op("clean", ``)))
		whole.Agenda.TimeoutSeconds = 100
		whole.Progress.MaximumAttempts = 3
		whole.Progress.StartedTime = time.Now().Add(-time.Hour)
		whole.Progress.UpdatedTime = whole.Progress.StartedTime.Add(70 * time.Second) // and its clock is an hour late
		p.add(whole)
		after(5 * time.Minute)
		if final := p.final(t, "a1"); final.Message != `operation "hang": was stopped: it had not ended after 10s` || final.CompletedTime.Sub(tr.from) != 20*time.Second {
			t.Errorf("an operation: %+v", final.Status)
		}
		final := p.final(t, "a2")
		if last := final.DiagnosticEvents[len(final.DiagnosticEvents)-1]; last.Message != "the agenda had not ended after 1m40s" ||
			last.StatusCode != model.StatusNonRetryable || final.CompletedTime.Sub(tr.from) != 30*time.Second {
			t.Errorf("an agenda: %+v", final.Status)
		}
		if merged := p.merged("a2"); merged["clean"].Outcome != model.Succeeded || len(merged) != 2 {
			t.Errorf("ran %v; want the end, and nothing else after the time-out", merged)
		}
	})
}

func TestG28_AnAgendaRunsNoMoreAtATimeThanItWants(t *testing.T) {
	t.Parallel()
	for parallelism, want := range map[int]int{0: 16, 3: 3, 100: 16} {
		t.Run(fmt.Sprint(parallelism), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tr trace
				p := startPool(t, tr.around(takes(time.Second)), nil)
				var operations []model.Operation
				for i := range 1000 {
					operations = append(operations, op(fmt.Sprint(i), ``))
				}
				a := agenda("a1", operations...)
				a.Agenda.Parallelism = parallelism
				p.add(a)
				after(time.Hour)
				if tr.most != want {
					t.Errorf("%d operations ran at a time; want %d", tr.most, want)
				}
				if final := p.final(t, "a1"); final.Outcome != model.Succeeded || len(p.merged("a1")) != 1000 {
					t.Errorf("final report: %+v", final.Status)
				}
				// A full house all the time: nothing waits that could run.
				if took := final(p).Sub(tr.from); took != time.Duration((1000+want-1)/want)*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func final(p *pool) time.Time {
	var at time.Time
	for _, r := range p.reports("a1") {
		at = r.CompletedTime
	}
	return at
}

func TestG16_GeneratedOperationsRunOnceTheServerKnowsThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		down := true
		p := startPool(t, tr.around(func(_ context.Context, task *Task) (json.RawMessage, error) {
			switch task.Operation.Name {
			case "split":
				task.Generate(op("part 1", `"@<split.out::/0>"`), op("part 2", ``, "part 1"))
				return json.RawMessage(`["x"]`), nil
			case "part 1":
				if string(task.Operation.Payload) != `"x"` {
					return nil, fmt.Errorf("payload %s", task.Operation.Payload)
				}
				task.Generate(op("piece", `["@<part 1.out>", "@<split.out>"]`))
			}
			return nil, nil
		}), func(_ *Config, s *server) {
			s.report = func(reports []model.Report, _ []model.ReportResult) error {
				for _, r := range reports {
					for _, op := range r.Operations {
						if len(op.Generated) > 0 && down {
							return errors.New("the server is away")
						}
					}
				}
				return nil
			}
		})
		p.add(agenda("a1", op("split", ``), op("independent", ``)))
		after(10 * time.Second)
		if notes := strings.Join(tr.all(), " "); strings.Contains(notes, "part") {
			t.Errorf("started before the server knew: %s", notes)
		}
		p.set(func() { down = false })
		after(time.Minute)
		if final := p.final(t, "a1"); final.Outcome != model.Succeeded || final.PercentComplete != 100 {
			t.Errorf("final report: %+v", final.Status)
		}
		if got := began(p); got != "independent part 1 part 2 piece split" {
			t.Errorf("ran %s", got)
		}
		if len(tr.notes) != 10 {
			t.Errorf("something ran twice: %v", tr.all())
		}
	})
}

func TestG16_OperationsThatCannotBeAddedFailWhatHasGeneratedThem(t *testing.T) {
	t.Parallel()
	many := make([]model.Operation, model.MaxOperations-1)
	for i := range many {
		many[i] = op(fmt.Sprint(i), ``)
	}
	bad := op("x", ``)
	bad.Type = ""
	for _, test := range []struct {
		name      string
		generated []model.Operation
		says      string
	}{
		{"a name that is taken", []model.Operation{op("fine", ``), op("NEXT", ``)}, `operations[1].name: another operation of the agenda is called "next" already`},
		{"a name given twice", []model.Operation{op("x", ``), op("X", ``)}, `operations[1].name: operations[0] is called "x" already`},
		{"an unknown reference", []model.Operation{op("x", `"@<nope.out>"`)}, `operations[0].payload: reference @<nope.out>: there is no operation "nope"`},
		{"a circle", []model.Operation{op("x", ``, "y"), op("y", ``, "x")}, `operations wait for each other: x → y → x`},
		{"no type", []model.Operation{bad}, `operations[0].type: the operation has no type`},
		{"too many", many, `with these 9999 the agenda would have 10001 operations, more than the 10000 that it may have`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
					if task.Operation.Name == "split" {
						task.Generate(test.generated...)
					}
					return nil, nil
				}, nil)
				split := op("split", ``)
				split.MaximumAttempts = 3 // which would not help
				p.add(agenda("a1", split, op("next", ``, "split")))
				after(time.Minute)
				got := p.merged("a1")
				if split := got["split"]; split.Outcome != model.Failed || split.AttemptCount != 1 || split.Generated != nil ||
					!strings.Contains(split.Message, "the operations that it adds are not valid: ") || !strings.Contains(split.Message, test.says) {
					t.Errorf("split: %+v", split)
				}
				if final := p.final(t, "a1"); len(got) != 1 || final.DiagnosticEvents[0].StatusCode != model.StatusNonRetryable {
					t.Errorf("%d operations ran; %+v", len(got), final.Status)
				}
			})
		})
	}
}

func TestG17_AResumedAgendaHasWhatWasGeneratedAndDoesNotGenerateItAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
			if task.Operation.Name == "split" {
				t.Error("what has generated operations runs again")
			}
			return task.Operation.Payload, nil
		}, nil)
		done := model.Status{State: model.Complete, Outcome: model.Succeeded}
		a := agenda("a1", op("split", ``), op("join", ``, "split"))
		a.Progress.Operations = []model.OperationProgress{
			{Operation: "part 1", AttemptCount: 1, Status: done, ResultPayload: json.RawMessage(`7`)},
			{Operation: "split", AttemptCount: 1, Status: done, Generated: []model.Operation{op("part 1", ``), op("part 2", `"@<part 1.out>"`)}},
		}
		p.add(a)
		after(time.Minute)
		if got := began(p); got != "join part 2" {
			t.Errorf("ran %s", got)
		}
		if got := p.merged("a1")["part 2"]; string(got.ResultPayload) != "7" {
			t.Errorf("part 2: %+v", got)
		}
		if final := p.final(t, "a1"); final.Outcome != model.Succeeded || final.PercentComplete != 100 {
			t.Errorf("final report: %+v", final.Status)
		}
	})
}

func TestWhatRunsAtTheEndCannotAddOperations(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
			if task.Operation.Name == "clean" {
				task.Generate(op("more", ``))
			}
			return nil, nil
		}, nil)
		p.add(agenda("a1", op("a", ``), when(workflow.Always, op("clean", ``))))
		after(time.Minute)
		if final := p.final(t, "a1"); final.Outcome != model.Failed || final.Message != `operation "clean": it adds operations, which one that runs at the end cannot do` {
			t.Errorf("final report: %+v", final.Status)
		}
	})
}

func TestAPausedAgendaLetsEndWhatRunsAndIsHandedBack(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"heartbeat", "report"} {
		t.Run("told by a "+by, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tr trace
				paused := false
				p := startPool(t, tr.around(takes(20*time.Second)), func(c *Config, s *server) {
					c.AgendaOperations = 1
					s.heartbeat = func(session *model.Session) error {
						if paused && by == "heartbeat" {
							session.Paused = []model.Lease{{AgendaID: "a1", Fence: 2}, {AgendaID: "a1", Fence: 3}}
						}
						return nil
					}
					s.report = func(_ []model.Report, results []model.ReportResult) error {
						results[0].Paused = paused && by == "report"
						return nil
					}
				})
				p.add(agenda("a1", op("a", ``), op("b", ``), op("c", ``), when(workflow.Always, op("clean", ``))))
				after(30 * time.Second)
				p.set(func() { paused = true })
				after(5 * time.Minute)
				final := p.final(t, "a1")
				if final.State != model.Waiting || final.Message != "handed back: the agenda is paused" {
					t.Errorf("final report: %+v", final.Status)
				}
				if notes := len(tr.notes); by == "heartbeat" && notes != 4 || by == "report" && notes != 6 {
					t.Errorf("course of the run: %v", tr.all())
				}
				if b := p.merged("a1")["b"]; b.Outcome != model.Succeeded {
					t.Errorf("what ran: %+v", b)
				}
			})
		})
	}
}

func TestG05_AnAgendaThatCannotBeLaunchedFailsAloneAndSaysSo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
			switch task.AgendaID {
			case "a2":
				return nil, errors.New("the launcher is broken")
			case "a3":
				panic("and this one even more")
			}
			return nil, nil
		}, nil)
		for _, id := range []string{"a1", "a2", "a3", "a4"} { // in one answer to a pull
			p.addTo(testInsight, agenda(id, op("only", ``)))
		}
		after(time.Minute)
		for id, want := range map[string]model.Outcome{"a1": model.Succeeded, "a2": model.Failed, "a3": model.Failed, "a4": model.Succeeded} {
			if final := p.final(t, id); final.Outcome != want || want == model.Failed && len(final.DiagnosticEvents) != 1 {
				t.Errorf("%s: %+v", id, final.Status)
			}
		}
	})
}
