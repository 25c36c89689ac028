package pool

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// Stats is what a [Puller] does, and what it has done since it was made.
type Stats struct {
	Session string    // id; empty while there is none
	Contact time.Time // when the server answered last
	Unfit   string    // why no agendas can be run here; empty if they can
	Slots   int
	Free    int // slots
	Running int // agendas
	// Unreported counts agendas that have ended and whose end the server has not taken in.
	Unreported int

	Started   int64                     // agendas
	Ended     map[string]int64          // agendas, by how: succeeded, failed, handed_back or revoked
	Waited    time.Duration             // from accepted to started, of the agendas that were started for the first time
	Full      time.Duration             // that asking for agendas has waited for a free slot
	Calls     map[Call]int64            // of the API
	Operation map[string]OperationStats // by operation type
}

// Call is a kind of call of the API and whether it was answered.
type Call struct {
	Name     string // open, heartbeat, close, pull, report or logs
	Answered bool
}

// OperationStats counts attempts of operations of one type.
type OperationStats struct {
	Started, Retried, Succeeded, Failed int64 // Retried are those of the started that were not the first
	Took                                time.Duration
}

// meter is an API that counts, and what is counted of runs. The reporter knows of those first.
type meter struct {
	API

	mu      sync.Mutex
	session string
	contact time.Time
	stats   Stats
}

func newMeter(api API) *meter {
	return &meter{API: api, stats: Stats{Ended: map[string]int64{}, Calls: map[Call]int64{}, Operation: map[string]OperationStats{}}}
}

// unfit notes why no agendas can be run here, or that they can, and reports whether that has changed.
func (m *meter) unfit(err error) (changed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.stats.Unfit != ""
	m.stats.Unfit = ""
	if err != nil {
		m.stats.Unfit = err.Error()
	}
	return before != (err != nil)
}

// answered notes whether a call was answered, by a refusal if by nothing better.
func (m *meter) answered(ctx context.Context, name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	kind := model.KindOf(err)
	ok := err == nil || kind != model.Internal && kind != model.Unavailable
	if !ok && ctx.Err() != nil {
		return // called off
	}
	m.stats.Calls[Call{name, ok}]++
	if ok {
		m.contact = time.Now()
	}
}

// OpenSession implements [API].
func (m *meter) OpenSession(ctx context.Context, name string) (model.Session, error) {
	s, err := m.API.OpenSession(ctx, name)
	m.answered(ctx, "open", err)
	return s, err
}

// Heartbeat implements [API].
func (m *meter) Heartbeat(ctx context.Context, id string) (model.Session, error) {
	s, err := m.API.Heartbeat(ctx, id)
	m.answered(ctx, "heartbeat", err)
	return s, err
}

// CloseSession implements [API].
func (m *meter) CloseSession(ctx context.Context, id string) error {
	err := m.API.CloseSession(ctx, id)
	m.answered(ctx, "close", err)
	return err
}

// Pull implements [API].
func (m *meter) Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error) {
	got, err := m.API.Pull(ctx, req)
	m.answered(ctx, "pull", err)
	return got, err
}

// Report implements [API].
func (m *meter) Report(ctx context.Context, reports []model.Report) ([]model.ReportResult, error) {
	results, err := m.API.Report(ctx, reports)
	m.answered(ctx, "report", err)
	return results, err
}

// AppendLogs implements [API].
func (m *meter) AppendLogs(ctx context.Context, chunks []model.LogAppend) ([]model.ReportResult, error) {
	results, err := m.API.AppendLogs(ctx, chunks)
	m.answered(ctx, "logs", err)
	return results, err
}

func (m *meter) inSession(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.session = id
}

func (m *meter) waitedForSlot(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Full += d
}

func (m *meter) began(r *run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Started++
	if added := r.Agenda.AddedTime; !added.IsZero() && r.Fence == 1 {
		m.stats.Waited += max(0, time.Since(added))
	}
}

func (m *meter) ended(how string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stats.Ended[how]++
}

const (
	// maxTypes bounds the operation types that are counted apart, as whoever submits an agenda may name any.
	maxTypes   = 500
	otherTypes = "(other)"
)

// operation notes that the state of an operation has changed.
func (m *meter) operation(kind string, before model.State, op *model.OperationProgress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.stats.Operation[kind]; !known && len(m.stats.Operation) >= maxTypes {
		kind = otherTypes
	}
	s := m.stats.Operation[kind]
	switch {
	case op.State == model.Executing:
		s.Started++
		if op.AttemptCount > 1 {
			s.Retried++
		}
	case before != model.Executing:
	case op.Outcome == model.Succeeded:
		s.Succeeded++
		s.Took += time.Since(op.AttemptTime)
	case op.Outcome == model.Failed, len(op.DiagnosticEvents) > 0: // for good, or to be tried again
		s.Failed++
		s.Took += time.Since(op.AttemptTime)
	}
	m.stats.Operation[kind] = s
}

// Stats returns what the puller does and has done.
func (p *Puller) Stats() Stats {
	p.mu.Lock()
	running := len(p.runs)
	p.mu.Unlock()
	p.reporter.mu.Lock()
	unreported := p.reporter.unsettled
	p.reporter.mu.Unlock()
	p.meter.mu.Lock()
	defer p.meter.mu.Unlock()
	s := p.meter.stats
	s.Session, s.Contact = p.meter.session, p.meter.contact
	s.Slots, s.Free, s.Running, s.Unreported = p.cfg.Slots, len(p.slots), running, unreported
	s.Ended, s.Calls, s.Operation = maps.Clone(s.Ended), maps.Clone(s.Calls), maps.Clone(s.Operation)
	return s
}
