package pool

import (
	"context"
	"slices"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// run is one agenda that was handed to this executor.
type run struct {
	model.Assignment // for reading only
	sessionID        string
	ctx              context.Context //nolint:containedctx // its end is the end of the right to run the agenda
	cancel           context.CancelCauseFunc
	ended            chan struct{} // closed when none of its operations runs any more
	logSeq           int64         // belongs to logs

	// What follows belongs to the reporter.
	status     model.Status // of the run; Complete or Waiting once it has ended
	operations []operation  // in the order of the agenda
	changed    bool         // there is something to report
	urgent     bool         // and it should not wait
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
	changed bool // since it was reported
	asked   bool // it was reported, and there is no answer
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
	r.operations = make([]operation, len(a.Agenda.Operations))
	for i := range r.operations {
		name := a.Agenda.Operations[i].Name
		r.operations[i].OperationProgress = priorProgress(a.Progress.Operations, i, name)
	}
	return r
}

// priorProgress finds the progress of an operation, most likely at index i.
func priorProgress(all []model.OperationProgress, i int, name string) model.OperationProgress {
	if i >= len(all) || all[i].Operation != name {
		i = slices.IndexFunc(all, func(p model.OperationProgress) bool { return p.Operation == name })
	}
	if i < 0 {
		return model.OperationProgress{Operation: name, Status: model.Status{State: model.Waiting}}
	}
	return all[i]
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
	report := model.Report{Lease: r.Lease, SessionID: r.sessionID, Status: r.status}
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
	report := model.Report{Lease: r.Lease, SessionID: r.sessionID, Status: r.status}
	report.PercentComplete = r.percent()
	for i := range r.operations {
		if op := &r.operations[i]; !r.refused && (op.changed || op.asked) {
			report.Operations = append(report.Operations, op.OperationProgress)
		}
	}
	return report
}
