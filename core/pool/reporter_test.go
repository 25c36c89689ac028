package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

func TestAQuickRunCostsOneReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, takes(calmTime/4), nil)
		p.add(agenda("a1", op("a", ``), op("b", ``, "a"), op("c", ``, "b")))
		after(time.Minute)
		reports := p.reports("a1")
		if len(reports) != 1 || reports[0].Outcome != model.Succeeded || len(reports[0].Operations) != 3 {
			t.Errorf("reports: %+v; want one with all operations", reports)
		}
		if reports[0].Lease != (model.Lease{AgendaID: "a1", Fence: 3}) || reports[0].SessionID != "test-1" {
			t.Errorf("the report names lease %+v and session %q", reports[0].Lease, reports[0].SessionID)
		}
	})
}

func TestTheEndOfTheLastOperationIsReportedWithTheEndOfTheRun(t *testing.T) {
	t.Parallel()
	p := newReporter(newMeter(nil), nil, 1)
	r := newRun(t.Context(), agenda("a1", op("a", ``)), "s")
	end := func(op *model.OperationProgress) { complete(op, model.Succeeded) }
	p.updateLast(r, 0, end)
	if runs, _ := p.take(); len(runs) != 0 {
		t.Error("it is reported alone")
	}
	p.finish(r, model.Status{State: model.Complete, Outcome: model.Succeeded})
	if _, reports := p.take(); len(reports) != 1 || len(reports[0].Operations) != 1 || reports[0].Outcome != model.Succeeded {
		t.Errorf("reports: %+v; want both", reports)
	}
}

func TestProgressIsReportedNoOftenerThanTheServerWants(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
			for i := range 100 {
				task.Report(Progress{Percent: float64(i)})
				<-time.After(250 * time.Millisecond)
			}
			return nil, nil
		}, func(_ *Config, s *server) { s.progress = 10 * time.Second })
		p.add(agenda("a1", op("chatty", ``)))
		after(time.Minute)
		// Its start, its progress after 10 and 20 seconds, and its end after 25.
		if reports := p.reports("a1"); len(reports) != 4 {
			t.Errorf("%d reports of 100 changes: %+v; want 4", len(reports), reports)
		}
	})
}

func TestALongRunReportsStartsAndEndsSoonAndNowAndThenItsProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(_ context.Context, task *Task) (json.RawMessage, error) {
			switch task.Operation.Name {
			case "chatty":
				for i := range 24 {
					task.Report(Progress{Percent: float64(i)})
					<-time.After(103 * time.Millisecond)
				}
			case "short":
				<-time.After(1150 * time.Millisecond)
			default:
				<-time.After(2 * time.Second)
			}
			return nil, nil
		}, nil)
		begin := time.Now()
		p.add(agenda("a1", op("chatty", ``), op("short", ``), op("left", ``, "short"), op("right", ``, "short")))
		after(time.Minute)

		var got []string
		for i, call := range p.calls {
			r := call[0]
			var changed []string
			for _, op := range r.Operations {
				changed = append(changed, fmt.Sprintf("%s %s %.0f%%", op.Operation, op.State, op.PercentComplete))
			}
			got = append(got, fmt.Sprintf("%4dms %s %.0f%%: %s", p.callTime[i].Sub(begin).Milliseconds(), r.State, r.PercentComplete, strings.Join(changed, ", ")))
		}
		want := []string{
			" 200ms EXECUTING 0%: chatty EXECUTING 1%, short EXECUTING 0%",
			" 706ms EXECUTING 2%: chatty EXECUTING 6%",
			"1171ms EXECUTING 28%: chatty EXECUTING 11%, short COMPLETE 100%, left EXECUTING 0%, right EXECUTING 0%",
			"1686ms EXECUTING 29%: chatty EXECUTING 16%",
			"2201ms EXECUTING 30%: chatty EXECUTING 21%",
			"2516ms EXECUTING 50%: chatty COMPLETE 100%",
			"3150ms COMPLETE 100%: left COMPLETE 100%, right COMPLETE 100%",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
	})
}

func TestG12_ReportsAreRepeatedWithTheLatestStateUntilTheServerTakesThem(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*model.ReportResult) error{
		"the server cannot be reached": func(*model.ReportResult) error { return errors.New("connection refused") },
		"the server is unavailable":    func(*model.ReportResult) error { return model.Errorf(model.Unavailable, "starting") },
		"the server is for this one":   func(r *model.ReportResult) error { r.Err = model.Errorf(model.Unavailable, "busy"); return nil },
		"credentials are not accepted": func(*model.ReportResult) error { return model.Errorf(model.Unauthenticated, "who?") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tries []time.Time
				begin := time.Now()
				p := startPool(t, takes(time.Second), func(_ *Config, s *server) {
					s.report = func(_ []model.Report, results []model.ReportResult) error {
						if time.Since(begin) < 30*time.Second {
							tries = append(tries, time.Now())
							return away(&results[0])
						}
						return nil
					}
				})
				p.add(agenda("a1", op("a", ``), op("b", ``, "a")))
				after(2 * time.Minute)
				merged := p.merged("a1")
				if merged["a"].Outcome != model.Succeeded || merged["b"].Outcome != model.Succeeded || p.final(t, "a1").Outcome != model.Succeeded {
					t.Errorf("after all: %+v", merged)
				}
				if n := len(tries); n < 8 || n > 20 {
					t.Errorf("%d tries within 30 s; want them to grow rarer", n)
				}
			})
		})
	}
}

func TestAFencedRunIsStoppedAndSaysNothingMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var stopped time.Duration
		begin := time.Now()
		p := startPool(t, func(ctx context.Context, task *Task) (json.RawMessage, error) {
			if task.AgendaID == "other" {
				return takes(10*time.Second)(ctx, task)
			}
			<-ctx.Done()
			stopped = time.Since(begin)
			if !errors.Is(context.Cause(ctx), ErrRevoked) {
				t.Errorf("stopped because of %v", context.Cause(ctx))
			}
			return nil, ctx.Err()
		}, func(_ *Config, s *server) {
			s.report = func(reports []model.Report, results []model.ReportResult) error {
				for i, r := range reports {
					if r.AgendaID == "a1" {
						results[i].Err = model.Errorf(model.Fenced, "too late")
					}
				}
				return nil
			}
		})
		p.add(agenda("a1", op("a", ``)))
		p.add(agenda("other", op("a", ``)))
		after(time.Minute)
		if stopped == 0 || stopped > time.Second {
			t.Errorf("stopped after %s", stopped)
		}
		if p.offered != 2 { // the first of both, the second of the other one
			t.Errorf("%d reports; want none after the refusal", p.offered)
		}
		if final := p.final(t, "other"); final.Outcome != model.Succeeded {
			t.Errorf("the other agenda: %+v", final.Status)
		}
	})
}

func TestG12_AReportThatIsRefusedFailsItsAgendaAlone(t *testing.T) {
	t.Parallel()
	refusesBig := func(reports []model.Report) error {
		for _, r := range reports {
			if r.AgendaID == "big" && len(r.Operations) > 0 {
				return model.Errorf(model.TooLarge, "the result is too large")
			}
		}
		return nil
	}
	for name, report := range map[string]func([]model.Report, []model.ReportResult) error{
		"by a call that refuses all": func(reports []model.Report, _ []model.ReportResult) error { return refusesBig(reports) },
		"by its own result": func(reports []model.Report, results []model.ReportResult) error {
			for i := range reports {
				errors.As(refusesBig(reports[i:i+1]), &results[i].Err)
			}
			return nil
		},
	} {
		for _, took := range []time.Duration{0, time.Second} {
			t.Run(fmt.Sprintf("%s, operations take %s", name, took), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					p := startPool(t, takes(took), func(_ *Config, s *server) { s.report = report })
					p.addTo(testInsight, agenda("a1", op("a", ``)), agenda("big", op("a", ``), op("b", ``, "a")), agenda("a2", op("a", ``)))
					after(time.Minute)
					for _, id := range []string{"a1", "a2"} {
						if final := p.final(t, id); final.Outcome != model.Succeeded {
							t.Errorf("agenda %s: %+v", id, final.Status)
						}
					}
					reports := p.reports("big")
					last := reports[len(reports)-1]
					if last.Outcome != model.Failed || !strings.Contains(last.Message, "the result is too large") ||
						len(last.DiagnosticEvents) != 1 || last.DiagnosticEvents[0].StatusCode != model.StatusNonRetryable {
						t.Errorf("last report: %+v; want a failure that says why", last)
					}
				})
			})
		}
	}
}

func TestAFinalReportThatIsRefusedTwiceIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		p := startPool(t, takes(0), func(_ *Config, s *server) {
			s.report = func(_ []model.Report, results []model.ReportResult) error {
				calls++
				results[0].Err = model.Errorf(model.Invalid, "no")
				return nil
			}
		})
		p.add(agenda("a1", op("a", ``)))
		after(time.Minute)
		if calls != 2 || p.reporter.unsettled != 0 {
			t.Errorf("%d calls, %d reports outstanding; want 2 and none", calls, p.reporter.unsettled)
		}
	})
}

func TestManyReportsGoOutTogetherWithinBounds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		agendas  int
		result   int // bytes of each
		atMost   int // reports in a call
		maxCalls int
	}{
		"of small results": {400, 10, maxReports, 10},
		"of large results": {40, 1 << 20, 4, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				result := json.RawMessage(`"` + strings.Repeat("x", tc.result-2) + `"`)
				p := startPool(t, func(context.Context, *Task) (json.RawMessage, error) {
					<-time.After(time.Second)
					return result, nil
				}, func(c *Config, s *server) { c.Slots, c.Batch, s.latency = 400, 100, 5*time.Millisecond })
				for i := range tc.agendas {
					p.add(agenda(fmt.Sprint("a", i), op("a", ``)))
				}
				after(time.Minute)
				final := 0
				for _, call := range p.calls {
					if call[0].State == model.Complete {
						final++
						if len(call) > tc.atMost {
							t.Errorf("%d reports in a call; want at most %d", len(call), tc.atMost)
						}
					}
				}
				if final > tc.maxCalls {
					t.Errorf("%d calls with final reports; want at most %d", final, tc.maxCalls)
				}
				for i := range tc.agendas {
					if got := p.final(t, fmt.Sprint("a", i)); got.Outcome != model.Succeeded {
						t.Fatalf("agenda %d: %+v", i, got.Status)
					}
				}
			})
		})
	}
}

func TestEndedRunsKeepTheirSlotsWhenTooManyReportsAreOutstanding(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := true
		p := startPool(t, takes(0), func(c *Config, s *server) {
			c.Slots = 8
			s.report = func([]model.Report, []model.ReportResult) error {
				if away {
					return errors.New("away")
				}
				return nil
			}
		})
		const all = 300
		for i := range all {
			p.add(agenda(fmt.Sprint("a", i), op("a", ``)))
		}
		after(time.Minute)
		p.set(func() {
			left := len(p.waiting[testInsight])
			if pulled := all - left; pulled != maxReports+8 {
				t.Errorf("pulled %d agendas; want %d whose slots were given on and 8 that keep theirs", pulled, maxReports)
			}
			away = false
		})
		after(time.Minute)
		for i := range all {
			p.final(t, fmt.Sprint("a", i))
		}
	})
}
