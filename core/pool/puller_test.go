package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

func TestG25_ThePullerNeverAsksForMoreThanItsFreeSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tr trace
		p := startPool(t, tr.around(takes(10*time.Second)), func(c *Config, _ *server) { c.Slots, c.Batch = 5, 3 })
		for i := range 12 {
			p.add(agenda(fmt.Sprint("a", i), op("a", ``)))
		}
		after(5 * time.Minute)
		if tr.most != 5 || len(tr.all()) != 24 {
			t.Errorf("%d ran at a time, %d in all; want 5 and 12", tr.most, len(tr.all())/2)
		}
		if p.pulls[0].max != 3 || p.pulls[1].max != 2 {
			t.Errorf("pulls: %+v; want a batch and then what is free", p.pulls)
		}
	})
}

func TestAnIdlePullerWaitsAndDoesNotAskAllTheTime(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		wait     func(c *Config, s *server)
		from, to int // calls in 10 minutes
	}{
		"empty after the wait": {func(*Config, *server) {}, 29, 31},
		"empty at once":        {func(_ *Config, s *server) { s.hasty = true }, 500, 700},
		"unavailable":          {func(_ *Config, s *server) { s.pullErr = func() error { return errors.New("refused") } }, 60, 130},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := startPool(t, takes(0), tc.wait)
				after(10 * time.Minute)
				if p.asked < tc.from || p.asked > tc.to {
					t.Errorf("asked %d times; want %d to %d", p.asked, tc.from, tc.to)
				}
				p.set(func() { p.pullErr = nil })
				p.add(agenda("a1", op("a", ``)))
				after(maxBackoff)
				p.final(t, "a1")
			})
		})
	}
}

func TestAPullerThatCannotRunAgendasLeavesThemToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		var log strings.Builder
		p := startPool(t, takes(0), func(c *Config, _ *server) {
			c.InsightIDs = append(c.InsightIDs, "other")
			c.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
			c.Fit = func() error {
				if full.Load() {
					return errors.New("the disk is full")
				}
				return nil
			}
		})
		p.add(agenda("a1", op("a", ``)))
		after(10 * time.Minute)
		if stats := p.Stats(); p.asked > 0 || stats.Unfit != "the disk is full" || stats.Free != stats.Slots {
			t.Errorf("agendas were asked for %d times, %+v", p.asked, stats)
		}
		full.Store(false)
		after(fitPause)
		p.final(t, "a1")
		if stats := p.Stats(); stats.Unfit != "" {
			t.Errorf("it is still unfit: %s", stats.Unfit)
		}
		p.stop()
		<-p.stopped
		for _, said := range []string{"no agendas are pulled", "agendas are pulled again"} {
			if n := strings.Count(log.String(), said); n != 1 {
				t.Errorf("%q is said %d times", said, n)
			}
		}
	})
}

func TestInsightsShareTheSlots(t *testing.T) {
	t.Parallel()
	insights := func(n int) (ids []string) {
		for i := range n {
			ids = append(ids, fmt.Sprint("i", i))
		}
		return ids
	}
	for name, tc := range map[string]struct {
		slots, insights int
		took            time.Duration // for 20 agendas of 10 s of the last insight, after a minute without work
	}{
		"an idle insight holds one":                {10, 3, 30 * time.Second}, // 8 at a time
		"with fewer slots they take turns, nearly": {1, 3, 240 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var tr trace
				p := startPool(t, tr.around(takes(10*time.Second)), func(c *Config, _ *server) { c.Slots, c.InsightIDs = tc.slots, insights(tc.insights) })
				after(time.Minute)
				if p.mostIdle != 1 {
					t.Errorf("an insight without work kept %d slots", p.mostIdle)
				}
				begin := time.Now()
				for i := range 20 {
					p.addTo(fmt.Sprint("i", tc.insights-1), agenda(fmt.Sprint("a", i), op("a", ``)))
				}
				after(time.Hour)
				if tr.most > tc.slots || len(tr.all()) != 40 {
					t.Errorf("%d ran at a time, %d in all; want at most %d and 20", tr.most, len(tr.all())/2, tc.slots)
				}
				if took := p.callTime[len(p.callTime)-1].Sub(begin); took > tc.took {
					t.Errorf("took %s; want at most %s", took, tc.took)
				}
			})
		})
	}
}

func TestG30_DrainingWaitsForRunsAndReportsThemBeforeTheSessionIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		p := startPool(t, takes(20*time.Second), func(_ *Config, s *server) {
			s.report = func([]model.Report, []model.ReportResult) error {
				if len(s.closed) > 0 {
					t.Error("a report follows the end of the session")
				}
				if since := time.Since(begin); since > 15*time.Second && since < 25*time.Second {
					return errors.New("away")
				}
				return nil
			}
		})
		p.add(agenda("a1", op("a", ``)))
		after(time.Second)
		p.stop()
		p.add(agenda("late", op("a", ``)))
		<-p.stopped
		if final := p.final(t, "a1"); final.Outcome != model.Succeeded {
			t.Errorf("final report: %+v", final.Status)
		}
		if len(p.waiting[testInsight]) != 1 {
			t.Error("an agenda was pulled while draining")
		}
		if diff := cmp.Diff([]string{"test-1"}, p.closed); diff != "" {
			t.Errorf("closed sessions: %s", diff)
		}
		if p.beats < 4 {
			t.Errorf("%d heartbeats; want them to go on while draining", p.beats)
		}
	})
}

func TestDrainingHandsBackWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(ctx context.Context, task *Task) (json.RawMessage, error) {
			if task.Operation.Name == "quick" {
				return json.RawMessage(`1`), nil
			}
			task.Report(Progress{Percent: 30})
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), ErrDraining) {
				t.Errorf("stopped because of %v", context.Cause(ctx))
			}
			<-time.After(2 * time.Second) // to tidy up
			return nil, ctx.Err()
		}, func(c *Config, _ *server) { c.DrainTimeout = 10 * time.Second })
		p.add(agenda("a1", op("quick", ``), op("endless", ``), op("next", ``, "endless")))
		after(time.Second)
		begin := time.Now()
		p.stop()
		<-p.stopped
		if took := time.Since(begin); took != 12*time.Second {
			t.Errorf("draining took %s; want its timeout and the time to tidy up", took)
		}
		final := p.final(t, "a1")
		if final.State != model.Waiting || final.Outcome != "" || !strings.Contains(final.Message, "handed back") {
			t.Errorf("final report: %+v; want the agenda handed back", final.Status)
		}
		merged := p.merged("a1")
		if got := merged["endless"]; got.State != model.Waiting || got.AttemptCount != 1 || got.PercentComplete != 30 || len(got.DiagnosticEvents) != 0 {
			t.Errorf("the interrupted operation: %+v", got)
		}
		if merged["quick"].Outcome != model.Succeeded || len(merged) != 2 {
			t.Errorf("operations: %+v", merged)
		}
		if len(p.closed) != 1 {
			t.Error("the session is not closed")
		}
	})
}

func TestG10_ARevokedLeaseStopsItsAgendaOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		stopped := map[string]error{}
		p := startPool(t, func(ctx context.Context, task *Task) (json.RawMessage, error) {
			err := sleep(ctx, 30*time.Second)
			mu.Lock()
			defer mu.Unlock()
			stopped[task.AgendaID] = context.Cause(ctx)
			return nil, err
		}, func(c *Config, s *server) {
			s.heartbeat = func(session *model.Session) error {
				session.Revoked = []model.Lease{{AgendaID: "a1", Fence: 3}, {AgendaID: "a2", Fence: 2}, {AgendaID: "unknown", Fence: 1}}
				return nil
			}
		})
		p.addTo(testInsight, agenda("a1", op("a", ``)), agenda("a2", op("a", ``)))
		after(time.Minute)
		if diff := cmp.Diff(map[string]bool{"a1": true, "a2": false}, map[string]bool{
			"a1": errors.Is(stopped["a1"], ErrRevoked), "a2": stopped["a2"] != nil,
		}); diff != "" {
			t.Errorf("stopped (-want +got):\n%s", diff)
		}
		p.final(t, "a2")
		for _, r := range p.reports("a1") {
			if r.State != model.Executing {
				t.Errorf("the end of the revoked agenda is reported: %+v", r)
			}
		}
	})
}

func TestALostSessionStopsItsAgendasAndAnotherOneIsOpened(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fail func(since time.Duration) error
		stop time.Duration // when the operations are stopped at the latest, from the start
	}{
		"the server says so": {func(since time.Duration) error {
			if since > 12*time.Second && since < 20*time.Second {
				return model.Errorf(model.Fenced, "the session has ended")
			}
			return nil
		}, 16 * time.Second},
		"the server has forgotten it": {func(since time.Duration) error {
			if since > 12*time.Second && since < 20*time.Second {
				return model.Errorf(model.NotFound, "there is no such session")
			}
			return nil
		}, 16 * time.Second},
		"no heartbeat reaches the server for the lease's length": {func(since time.Duration) error {
			if since > 12*time.Second && since < 60*time.Second {
				return errors.New("no route")
			}
			return nil
		}, 12*time.Second + testLease},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var stopped atomic.Int64
				var since func() time.Duration
				p := startPool(t, func(ctx context.Context, task *Task) (json.RawMessage, error) {
					if task.AgendaID == "next" {
						return nil, nil
					}
					<-ctx.Done()
					stopped.Store(int64(since()))
					if !errors.Is(context.Cause(ctx), ErrSessionLost) {
						t.Errorf("stopped because of %v", context.Cause(ctx))
					}
					<-time.After(time.Second)
					return nil, ctx.Err()
				}, func(_ *Config, s *server) {
					begin := time.Now()
					since = func() time.Duration { return time.Since(begin) }
					s.heartbeat = func(*model.Session) error { return tc.fail(since()) }
					s.openErr = func() error {
						if at := time.Duration(stopped.Load()); at != 0 && since() < at+time.Second {
							t.Error("a session is opened before the operations of the last one have ended")
						}
						return nil
					}
				})
				p.addTo(testInsight, agenda("a1", op("a", ``)), agenda("a2", op("a", ``)))
				after(2 * time.Minute)
				p.add(agenda("next", op("a", ``)))
				after(time.Second)
				if at := time.Duration(stopped.Load()); at < 12*time.Second || at > tc.stop {
					t.Errorf("operations were stopped after %s; want at most %s", at, tc.stop)
				}
				if final := p.final(t, "a1"); final.State != model.Waiting || final.SessionID != "test-1" || !strings.HasPrefix(final.Message, "handed back") {
					t.Errorf("the agenda of the lost session is not handed back: %+v", final)
				}
				if final := p.final(t, "next"); final.SessionID == "test-1" || final.Outcome != model.Succeeded {
					t.Errorf("the next agenda's report: %+v", final)
				}
			})
		})
	}
}

func TestHeartbeatsSurviveAShortOutageAndAClockThatIsOff(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, -time.Hour, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				p := startPool(t, takes(40*time.Second), func(_ *Config, s *server) {
					s.heartbeat = func(session *model.Session) error {
						session.ExpiresAt = session.ExpiresAt.Add(off)
						if since := time.Since(begin); since > 12*time.Second && since < 16*time.Second {
							return model.Errorf(model.Unavailable, "restarting")
						}
						return nil
					}
				})
				p.add(agenda("a1", op("a", ``)))
				after(time.Minute)
				if final := p.final(t, "a1"); final.Outcome != model.Succeeded || p.sessions != 1 {
					t.Errorf("final report %+v in session %d", final.Status, p.sessions)
				}
			})
		})
	}
}

func TestASessionThatTheServerDoubtsIsCheckedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ended := false
		p := startPool(t, takes(0), func(_ *Config, s *server) {
			s.pullErr = func() error {
				if s.sessions == 1 && time.Since(begin) > time.Second {
					ended = true
					return model.Errorf(model.Fenced, "the session has ended")
				}
				return nil
			}
			s.heartbeat = func(*model.Session) error {
				if ended && s.sessions == 1 {
					return model.Errorf(model.NotFound, "no such session")
				}
				return nil
			}
		})
		after(1500 * time.Millisecond)
		p.add(agenda("a1", op("a", ``))) // wakes the pull
		after(time.Second)
		if p.sessions != 2 {
			t.Errorf("%d sessions were opened; want another one before the next heartbeat is due", p.sessions)
		}
		p.final(t, "a1")
	})
}

func TestAnAgendaThatIsAssignedAgainReplacesItsOlderRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var causes []error
		p := startPool(t, func(ctx context.Context, _ *Task) (json.RawMessage, error) {
			err := sleep(ctx, 10*time.Second)
			causes = append(causes, context.Cause(ctx))
			return nil, err
		}, nil)
		again := agenda("a1", op("a", ``))
		again.Fence = 4
		p.add(agenda("a1", op("a", ``)))
		after(time.Second)
		p.add(again)
		after(time.Minute)
		if len(causes) != 2 || !errors.Is(causes[0], ErrRevoked) || causes[1] != nil {
			t.Errorf("the runs ended with %v; want the older one stopped", causes)
		}
		if final := p.final(t, "a1"); final.Fence != 4 || final.Outcome != model.Succeeded {
			t.Errorf("final report: %+v", final)
		}
	})
}

func TestThePullerOpensItsSessionWhenTheServerComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		tries := 0
		p := startPool(t, takes(0), func(_ *Config, s *server) {
			s.openErr = func() error {
				tries++
				if time.Since(begin) < time.Minute {
					return errors.New("connection refused")
				}
				return nil
			}
		})
		p.add(agenda("a1", op("a", ``)))
		after(2 * time.Minute)
		p.final(t, "a1")
		if tries < 8 || tries > 25 {
			t.Errorf("%d tries in a minute; want them to grow rarer", tries)
		}
	})
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	for want, cfg := range map[string]Config{
		"a name is required":          {InsightIDs: []string{"i"}},
		"an insight is required":      {Name: "n"},
		"limits must not be negative": {Name: "n", InsightIDs: []string{"i"}, Slots: -1},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v; want %q", err, want)
		}
	}
}

func TestAPullerThatHoldsNothingSendsNoHeartbeats(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, takes(31*time.Second), nil)
		after(59 * time.Minute)
		if p.beats > 12 {
			t.Errorf("%d heartbeats in an hour without agendas; want one every five minutes at most", p.beats)
		}
		p.set(func() { p.beats = 0 })
		p.add(agenda("a1", op("a", ``)))
		after(30 * time.Second)
		if p.beats < 5 || p.beats > 6 {
			t.Errorf("%d heartbeats in 30 s with an agenda; want one every 5 s", p.beats)
		}
		after(10 * time.Second)
		if final := p.final(t, "a1"); final.Outcome != model.Succeeded || p.sessions != 1 {
			t.Errorf("final report %+v in session %d", final.Status, p.sessions)
		}
	})
}

func TestG06_AnAgendaThatIsAssignedAgainWaitsForTheEndOfItsOlderRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		p := startPool(t, func(ctx context.Context, _ *Task) (json.RawMessage, error) {
			running++
			most = max(most, running)
			defer func() { running-- }()
			err := sleep(ctx, 10*time.Second)
			<-time.After(3 * time.Second) // the grace
			return nil, err
		}, nil)
		again := agenda("a1", op("a", ``))
		again.Fence = 4
		p.add(agenda("a1", op("a", ``)))
		after(time.Second)
		p.add(again)
		after(time.Minute)
		if p.final(t, "a1").Fence != 4 || most != 1 {
			t.Errorf("%d runs of one operation at a time", most)
		}
	})
}

func TestG12_ACallThatHangsIsGivenUpAndRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &server{more: make(chan struct{}), waiting: map[string][]model.Assignment{}}
		hung := map[string]int{}
		hang := &hangingAPI{server: s, hangs: func(call string) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			hung[call]++
			return hung[call] == 1
		}}
		p := startPool(t, takes(time.Second), func(c *Config, _ *server) { c.API = hang })
		s.add(agenda("a1", op("a", ``)))
		after(5 * time.Minute)
		if final := s.final(t, "a1"); final.Outcome != model.Succeeded {
			t.Errorf("final report: %+v", final.Status)
		}
		p.stop()
		<-p.stopped
		if diff := cmp.Diff(map[string]bool{"open": true, "pull": true, "report": true}, map[string]bool{
			"open": hung["open"] > 1, "pull": hung["pull"] > 1, "report": hung["report"] > 1,
		}); diff != "" {
			t.Errorf("calls that were made again (-want +got):\n%s", diff)
		}
	})
}

// hangingAPI is a server of which some calls are never answered.
type hangingAPI struct {
	*server
	hangs func(call string) bool
}

func (h *hangingAPI) OpenSession(ctx context.Context, name string) (model.Session, error) {
	if h.hangs("open") {
		<-ctx.Done()
		return model.Session{}, ctx.Err()
	}
	return h.server.OpenSession(ctx, name)
}

func (h *hangingAPI) Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error) {
	if h.hangs("pull") {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.server.Pull(ctx, req)
}

func (h *hangingAPI) Report(ctx context.Context, reports []model.Report) ([]model.ReportResult, error) {
	if h.hangs("report") {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.server.Report(ctx, reports)
}

func TestG33_StatsCountWhatAPullerDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(ctx context.Context, task *Task) (json.RawMessage, error) {
			if task.Operation.Name == "bad" {
				return nil, errors.New("no")
			}
			return takes(2*time.Second)(ctx, task)
		}, func(c *Config, s *server) {
			c.Slots = 1
			away := awayUntil(time.Second)
			s.openErr = func() error { return away() }
		})
		again := agenda("a1", op("a", ``))
		again.Fence, again.Agenda.AddedTime = 1, time.Now()
		p.add(again)
		failing := agenda("a2", op("bad", ``), op("a", ``, "bad"))
		failing.Progress.Operations = []model.OperationProgress{{Operation: "bad", AttemptCount: 1, Status: model.Status{State: model.Complete, Outcome: model.Failed}}}
		p.add(failing)
		after(time.Minute)
		got := p.Stats()
		if got.Session == "" || got.Slots != 1 || got.Running != 0 || got.Unreported != 0 || got.Started != 2 || got.Waited < time.Second || got.Full < 2*time.Second {
			t.Errorf("stats: %+v", got)
		}
		if diff := cmp.Diff(map[string]int64{"succeeded": 1, "failed": 1}, got.Ended); diff != "" {
			t.Errorf("agendas (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]OperationStats{
			"type.a": {Started: 1, Succeeded: 1, Took: 2 * time.Second}, "type.bad": {Started: 1, Retried: 1, Failed: 1},
		}, got.Operation); diff != "" {
			t.Errorf("operations (-want +got):\n%s", diff)
		}
		if got.Calls[Call{"open", false}] < 2 || got.Calls[Call{"open", true}] != 1 || got.Calls[Call{"report", true}] == 0 {
			t.Errorf("calls: %v", got.Calls)
		}
	})
}

func TestOperationTypesThatAreCountedApartAreBounded(t *testing.T) {
	t.Parallel()
	m := newMeter(nil)
	for i := range 3 * maxTypes {
		m.operation(fmt.Sprint("type", i), model.Waiting, &model.OperationProgress{Status: model.Status{State: model.Executing}})
	}
	if n := len(m.stats.Operation); n != maxTypes+1 || m.stats.Operation[otherTypes].Started != 2*maxTypes {
		t.Errorf("%d types, of which the others have %+v", n, m.stats.Operation[otherTypes])
	}
}
