package pool

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// server is an API in memory: agendas wait until they are pulled, and all reports are kept.
type server struct {
	mu       sync.Mutex
	more     chan struct{} // closed when an agenda is added
	waiting  map[string][]model.Assignment
	sessions int
	closed   []string
	pulls    []pulled
	calls    [][]model.Report // what was accepted
	offered  int              // calls of Report
	latency  time.Duration    // of Report
	callTime []time.Time
	beats    int
	asked    int // pulls, with those that found nothing
	printed  []model.LogAppend
	logCalls int
	mostIdle int           // asked for by a pull that found nothing
	hasty    bool          // pulls don't wait
	progress time.Duration // how often the server wants progress

	// What is nil works.
	openErr   func() error
	pullErr   func() error
	heartbeat func(s *model.Session) error
	appendLog func([]model.LogAppend) error
	report    func(reports []model.Report, results []model.ReportResult) error
}

type pulled struct {
	insight   string
	max, got  int
	at        time.Time
	sessionID string
}

const (
	testInsight   = "insight"
	testHeartbeat = 5 * time.Second
	testLease     = 3 * testHeartbeat
)

func (s *server) session(id string) model.Session {
	return model.Session{ID: id, Name: "test", ExpiresAt: time.Now().Add(testLease).Round(0), Heartbeat: testHeartbeat.Milliseconds(), Progress: s.progress.Milliseconds()}
}

func (s *server) OpenSession(_ context.Context, name string) (model.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.openErr != nil {
		if err := s.openErr(); err != nil {
			return model.Session{}, err
		}
	}
	s.sessions++
	return s.session(fmt.Sprintf("%s-%d", name, s.sessions)), nil
}

func (s *server) Heartbeat(_ context.Context, id string) (model.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beats++
	session := s.session(id)
	if s.heartbeat != nil {
		if err := s.heartbeat(&session); err != nil {
			return model.Session{}, err
		}
	}
	return session, nil
}

func (s *server) CloseSession(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = append(s.closed, id)
	return nil
}

func (s *server) Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error) {
	end := time.After(time.Duration(req.WaitMs) * time.Millisecond)
	at := time.Now()
	s.set(func() { s.asked++ })
	for {
		s.mu.Lock()
		if s.pullErr != nil {
			if err := s.pullErr(); err != nil {
				s.pulls = append(s.pulls, pulled{req.InsightID, req.Max, -1, at, req.SessionID})
				s.mu.Unlock()
				return nil, err
			}
		}
		n := min(req.Max, len(s.waiting[req.InsightID]))
		got := slices.Clone(s.waiting[req.InsightID][:n])
		s.waiting[req.InsightID] = s.waiting[req.InsightID][n:]
		more, hasty := s.more, s.hasty
		if n > 0 {
			s.pulls = append(s.pulls, pulled{req.InsightID, req.Max, n, at, req.SessionID})
		}
		s.mu.Unlock()
		if n > 0 || hasty {
			return got, nil
		}
		select {
		case <-more:
		case <-end:
			s.set(func() { s.mostIdle = max(s.mostIdle, req.Max) })
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (s *server) Report(_ context.Context, reports []model.Report) ([]model.ReportResult, error) {
	<-time.After(s.latency)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offered++
	results := make([]model.ReportResult, len(reports))
	for i := range results {
		results[i].AgendaID = reports[i].AgendaID
	}
	if s.report != nil {
		if err := s.report(reports, results); err != nil {
			return nil, err
		}
	}
	var accepted []model.Report
	for i, r := range reports {
		if results[i].Err == nil {
			accepted = append(accepted, r)
		}
	}
	if len(accepted) > 0 {
		s.calls = append(s.calls, accepted)
		s.callTime = append(s.callTime, time.Now())
	}
	return results, nil
}

func (s *server) AppendLogs(_ context.Context, chunks []model.LogAppend) ([]model.ReportResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logCalls++
	if s.appendLog != nil {
		if err := s.appendLog(chunks); err != nil {
			return nil, err
		}
	}
	s.printed = append(s.printed, chunks...)
	return make([]model.ReportResult, len(chunks)), nil
}

// set changes the server while it works.
func (s *server) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// add makes an agenda wait to be pulled.
func (s *server) add(a model.Assignment) {
	s.addTo(testInsight, a)
}

func (s *server) addTo(insight string, assignments ...model.Assignment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[insight] = append(s.waiting[insight], assignments...)
	close(s.more)
	s.more = make(chan struct{})
}

// reports returns what was reported of an agenda.
func (s *server) reports(agendaID string) []model.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	var of []model.Report
	for _, call := range s.calls {
		for _, r := range call {
			if r.AgendaID == agendaID {
				of = append(of, r)
			}
		}
	}
	return of
}

// final returns the only report of the agenda that says how it ended.
func (s *server) final(t *testing.T, agendaID string) model.Report {
	t.Helper()
	var final []model.Report
	for _, r := range s.reports(agendaID) {
		if r.State != model.Executing {
			final = append(final, r)
		}
	}
	if len(final) != 1 {
		t.Fatalf("agenda %s has %d final reports: %+v", agendaID, len(final), final)
	}
	return final[0]
}

// merged returns the progress of the operations after all reports, by name.
func (s *server) merged(agendaID string) map[string]model.OperationProgress {
	all := map[string]model.OperationProgress{}
	for _, r := range s.reports(agendaID) {
		for _, op := range r.Operations {
			all[op.Operation] = op
		}
	}
	return all
}

// pool is a puller at work on a server.
type pool struct {
	*server
	*Puller
	stop    context.CancelFunc
	stopped chan struct{}
}

// startPool starts a puller in a bubble of fake time. The test ends when it has stopped.
func startPool(t *testing.T, launcher LauncherFunc, change func(*Config, *server)) *pool {
	t.Helper()
	s := &server{more: make(chan struct{}), waiting: map[string][]model.Assignment{}}
	cfg := Config{API: s, Launcher: launcher, Log: slog.New(slog.DiscardHandler), Name: "test", InsightIDs: []string{testInsight}}
	if change != nil {
		change(&cfg, s)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	running := &pool{server: s, Puller: p, stop: stop, stopped: make(chan struct{})}
	go func() {
		defer close(running.stopped)
		p.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-running.stopped
		if len(p.slots) != p.cfg.Slots || len(p.runs) > 0 || p.reporter.unsettled > 0 {
			t.Errorf("in the end %d of %d slots are free, %d agendas run and %d final reports are outstanding",
				len(p.slots), p.cfg.Slots, len(p.runs), p.reporter.unsettled)
		}
	})
	return running
}

// after lets fake time pass, and everything that is due happen.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// agenda returns an assignment of an agenda with the operations.
func agenda(id string, operations ...model.Operation) model.Assignment {
	return model.Assignment{
		Lease:  model.Lease{AgendaID: id, Fence: 3},
		Agenda: model.Agenda{Meta: model.Meta{ID: id, CustomerID: "acme"}, Operations: operations},
	}
}

func op(name, payload string, dependsOn ...string) model.Operation {
	o := model.Operation{Name: name, Type: "type." + name}
	if payload != "" {
		o.Payload = json.RawMessage(payload)
	}
	if len(dependsOn) > 0 {
		list, _ := json.Marshal(dependsOn)
		o.Params = model.Params{model.ParamDependsOn: list}
	}
	return o
}

// takes returns a launcher whose operations take a second and heed their context.
func takes(d time.Duration) LauncherFunc {
	return func(ctx context.Context, _ *Task) (json.RawMessage, error) {
		if err := sleep(ctx, d); err != nil {
			return nil, err
		}
		return json.RawMessage(`{}`), nil
	}
}
