package pool

import (
	"context"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// run is one agenda that was handed to this executor.
type run struct {
	model.Assignment // for reading only
	sessionID        string
	ctx              context.Context //nolint:containedctx // its end is the end of the right to run the agenda
	cancel           context.CancelCauseFunc
	ended            chan struct{}   // closed when none of its operations runs any more
	pause            func()          // start nothing more
	paused           <-chan struct{} // closed by pause
	logSeq           int64           // belongs to logs

	// What follows belongs to the reporter.
	status     model.Status             // of the run; Complete or Waiting once it has ended
	outcome    model.Outcome            // how the run is going to end, once that is certain
	operations []operation              // in the order of the agenda, and behind them those that were generated
	untold     map[string]chan struct{} // by operation: closed when the server knows what it has generated
	changed    bool                     // there is something to report
	urgent     bool                     // and it should not wait
	place      place
	listed     bool      // in the reporter's list of delayed runs
	notBefore  time.Time // when the next report of an unfinished run may go out
	calmUntil  time.Time // until when even urgent changes are collected, as the run may end before
	alone      bool      // report it in a call of its own
	refused    bool      // the server did not accept what there was to report
	settled    bool      // nothing is reported any more
	changes    int       // counts what has changed
	// pendingSince is when the first of what has ended did so of which the server is not known to know.
	pendingSince time.Time
	onSettled    func()
}

// operation is the progress of an operation and whether the server knows it.
type operation struct {
	model.OperationProgress
	kind    string // its type
	changed bool   // since it was reported
	asked   bool   // it was reported, and there is no answer
}

// place is where the reporter keeps a run.
type place uint8

const (
	nowhere  place = iota
	delayed        // among those that have something to report later
	queued         // among those to report next
	inFlight       // with a sender
)

func newRun(parent context.Context, a model.Assignment, sessionID string) *run {
	r := &run{Assignment: a, sessionID: sessionID, ended: make(chan struct{}), status: model.Status{State: model.Executing}}
	r.ctx, r.cancel = context.WithCancelCause(parent)
	paused := make(chan struct{})
	r.pause, r.paused = sync.OnceFunc(func() { close(paused) }), paused
	prior := make(map[string]int, len(a.Progress.Operations))
	for i := range a.Progress.Operations {
		prior[a.Progress.Operations[i].Operation] = i
	}
	operations := a.Agenda.WithGenerated(a.Progress.Operations).Operations
	r.operations = make([]operation, len(operations))
	for i := range operations {
		r.operations[i].kind, r.operations[i].OperationProgress = operations[i].Type, notBegun(operations[i].Name)
		if at, ok := prior[operations[i].Name]; ok {
			r.operations[i].OperationProgress = a.Progress.Operations[at]
		}
	}
	return r
}

func notBegun(name string) model.OperationProgress {
	return model.OperationProgress{Operation: name, Status: model.Status{State: model.Waiting}}
}

// isPaused reports whether nothing more is to be started.
func (r *run) isPaused() bool { return isClosed(r.paused) }

// progress returns the progress of an operation.
func (p *reporter) progress(r *run, i int) model.OperationProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	return r.operations[i].OperationProgress
}

// ending notes how the run is going to end. It goes out with the next report.
func (p *reporter) ending(r *run, outcome model.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.outcome = outcome
}

// grow takes in operations that were generated.
func (p *reporter) grow(r *run, generated []model.Operation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range generated {
		r.operations = append(r.operations, operation{kind: generated[i].Type, OperationProgress: notBegun(generated[i].Name)})
	}
}

// updateAndTell is update for an operation that has generated others. The channel is closed when the server knows them.
func (p *reporter) updateAndTell(r *run, i int, change func(op *model.OperationProgress)) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := make(chan struct{})
	if r.untold == nil {
		r.untold = map[string]chan struct{}{}
	}
	r.untold[r.operations[i].Operation] = known
	if p.change(r, i, change) {
		r.calmUntil = time.Time{} // others wait for it
		p.schedule(r)
	}
	return known
}

// accept notes what the server knows now.
func (r *run) accept(report model.Report) {
	if len(r.untold) == 0 {
		return
	}
	for i := range report.Operations {
		name := report.Operations[i].Operation
		if known := r.untold[name]; known != nil && report.Operations[i].State == model.Complete {
			close(known)
			delete(r.untold, name)
		}
	}
}

func (r *run) succeeded(i int) bool {
	p := &r.operations[i].OperationProgress
	return p.State == model.Complete && p.Outcome == model.Succeeded
}

func (r *run) over() bool { return r.status.State != model.Executing }

// percent is the mean over all operations. One that failed counts for nothing: its work is to be done again.
func (r *run) percent() float64 {
	if len(r.operations) == 0 {
		return 100
	}
	sum := 0.0
	for i := range r.operations {
		switch {
		case r.succeeded(i):
			sum += 100
		case r.operations[i].State == model.Executing:
			sum += r.operations[i].PercentComplete
		}
	}
	return sum / float64(len(r.operations))
}

// report returns what the server does not know yet, and takes it as known.
func (r *run) report() model.Report {
	report := model.Report{Lease: r.Lease, SessionID: r.sessionID, Status: r.status, Ending: r.outcome}
	report.PercentComplete = r.percent()
	r.changed, r.urgent = false, false
	if r.refused {
		return report
	}
	n := 0
	for i := range r.operations {
		if r.operations[i].changed {
			n++
		}
	}
	if n == 0 {
		return report
	}
	report.Operations = make([]model.OperationProgress, 0, n)
	for i := range r.operations {
		if op := &r.operations[i]; op.changed {
			op.changed, op.asked = false, true
			report.Operations = append(report.Operations, op.OperationProgress)
		}
	}
	return report
}

// unreport takes a report back that did not reach the server. Operations that have changed since are reported as they are now.
func (r *run) unreport(report model.Report) {
	r.changed, r.urgent = true, true
	at := 0
	for _, lost := range report.Operations { // in the order of r.operations
		for r.operations[at].Operation != lost.Operation {
			at++
		}
		r.operations[at].changed, r.operations[at].asked = true, false
	}
}

// answered takes a report as known to the server. It returns whether there is nothing that has ended of which it does not know.
func (r *run) answered() bool {
	all := r.status.State == model.Executing || r.settled
	for i := range r.operations {
		op := &r.operations[i]
		op.asked = false
		all = all && (!op.changed || op.State != model.Complete)
	}
	return all
}

// unknown returns what the server is not known to know.
func (r *run) unknown() model.Report {
	report := model.Report{Lease: r.Lease, SessionID: r.sessionID, Status: r.status, Ending: r.outcome}
	report.PercentComplete = r.percent()
	for i := range r.operations {
		if op := &r.operations[i]; !r.refused && (op.changed || op.asked) {
			report.Operations = append(report.Operations, op.OperationProgress)
		}
	}
	return report
}
