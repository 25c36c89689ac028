package engine

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// run is the authority on an agenda's state. Its methods are the transitions: each returns the run after it, or why it may not
// happen, and leaves the receiver as it was. They touch nothing but the run.
type run struct {
	model.AgendaProgress
	// Body is the sort key of the agenda as it was accepted.
	Body string `json:"body"`
	// Held runs are stored but not scheduled, until they are run again. DoNotRun are those that are held for good.
	Held     bool `json:"held,omitempty"`
	DoNotRun bool `json:"doNotRun,omitempty"`
	// Ready is when the run may be scheduled, and its place in line, in nanoseconds since 1970.
	Ready int64 `json:"ready"`
	// Priority is the agenda's.
	Priority int8 `json:"priority,omitempty"`
	// DispatchSeq counts the times the run was QUEUED; a hint with another number is out of date.
	DispatchSeq int64 `json:"dispatchSeq,omitempty"`
	// Confirmed says that the executor with the current fence has reported at least once.
	Confirmed bool `json:"confirmed,omitempty"`
	// Final is the fence whose final report was taken in, so that its repetition is not an error.
	Final int64 `json:"final,omitempty"`
	// Step counts the changes of the run, so that what is told late is known to be late.
	Step int64 `json:"step,omitempty"`
	// Epoch is the ownership in which the run was QUEUED, 0 if the store is not shared. In another epoch of its insight it is void: it
	// cannot be claimed, so that an owner that has lost its lease can do no harm. The new owner makes it its own, or puts it back.
	Epoch int64 `json:"epoch,omitempty"`
	// OperationCount lets percentages be computed without the agenda. It counts what was generated, too.
	OperationCount int `json:"operationCount"`
	// Backoff is the agenda's.
	Backoff *model.Backoff `json:"backoff,omitempty"`
	// Finale says that there are operations that run at the end, whatever happened.
	Finale bool `json:"finale,omitempty"`
	// LostEndings counts the executors that were lost while they ran those.
	LostEndings int `json:"lostEndings,omitempty"`
	// Overflow is where the progress of operations is kept that has no room here.
	Overflow overflow `json:"overflow,omitzero"`
}

// live reports whether the run is still to be executed, and so belongs to a scheduler.
func (r *run) live() bool {
	return r.State != model.Complete && !r.Held && (r.State != model.Waiting || r.Pause == nil || !r.Pause.Until.IsZero())
}

// schedule moves a WAITING run to QUEUED.
func (r *run) schedule(now time.Time, epoch int64) (*run, error) {
	if r.State != model.Waiting || !r.live() || r.Ready > now.UnixNano() {
		return nil, r.refuse("scheduled")
	}
	next := r.renew(now, epoch)
	next.State = model.Queued
	next.Pause = nil // it is over, or it would not be the run's turn
	return next, nil
}

// renew makes a QUEUED run that of another epoch. Earlier hints are out of date.
func (r *run) renew(now time.Time, epoch int64) *run {
	next := r.next(now)
	next.DispatchSeq++
	next.Epoch = epoch
	return next
}

// putBack moves a QUEUED run back to WAITING, in its old place.
func (r *run) putBack(now time.Time) *run {
	next := r.next(now)
	next.State = model.Waiting
	return next
}

// claim moves a QUEUED run to EXECUTING, for a session.
func (r *run) claim(now time.Time, dispatchSeq int64, session string) (*run, error) {
	if r.State != model.Queued || r.DispatchSeq != dispatchSeq {
		return nil, r.refuse("claimed")
	}
	next := r.next(now)
	next.State = model.Executing
	if next.Ending == "" { // else it says why
		next.Message = ""
	}
	next.SessionID = session
	next.Fence++
	next.Confirmed = false
	if next.StartedTime.IsZero() {
		next.StartedTime = now
	}
	return next, nil
}

// report takes in what the executor says. The second result says whether anything changed: a repeated final report does not.
// What has succeeded according to settled, and is not in the run, stays as it is.
func (r *run) report(now time.Time, rep model.Report, settled func(operation string) bool) (*run, bool, error) {
	if repeated := rep.Fence == r.Final && r.Final == r.Fence; repeated && r.State != model.Executing {
		return r, false, nil
	}
	if r.State != model.Executing || rep.Fence != r.Fence || rep.SessionID != r.SessionID {
		return nil, false, model.Errorf(model.Fenced, "agenda %q: the lease with fence %d of session %q is lost; the run is %s with fence %d",
			r.ID, rep.Fence, rep.SessionID, r.State, r.Fence)
	}
	if err := checkResults(rep.Operations); err != nil {
		return nil, false, err
	}
	next := r.next(now)
	next.Confirmed = true
	next.mergeOperations(rep.Operations, settled)
	if next.Ending == "" {
		next.Message = rep.Message
		if rep.Ending == model.Failed && next.Finale {
			next.Ending = rep.Ending
		}
	}
	next.DiagnosticEvents = lastEvents(append(slices.Clip(r.DiagnosticEvents), rep.DiagnosticEvents...))
	next.PercentComplete = next.percent()
	switch rep.State {
	case model.Executing:
	case model.Waiting:
		next.Final = r.Fence
		next.wait(now)
	case model.Complete:
		next.Final = r.Fence
		next.AttemptsCompleted = min(r.AttemptsCompleted+1, r.MaximumAttempts)
		switch {
		case next.Ending == model.Cancelled:
			next.complete(now, model.Cancelled, r.Message)
		case next.Ending == "" && rep.Outcome == model.Succeeded:
			next.complete(now, model.Succeeded, rep.Message)
			next.PercentComplete = 100
		case next.Ending == "" && r.AttemptsCompleted+1 < r.MaximumAttempts && retryable(rep.DiagnosticEvents) && retryableOperations(rep.Operations):
			next.wait(now.Add(r.Backoff.Delay(next.AttemptsCompleted, r.chance())))
			next.Message = "failed, waiting for the next attempt"
		default:
			next.complete(now, model.Failed, rep.Message)
		}
	default:
		return nil, false, &model.Error{Kind: model.Invalid, Detail: "report of agenda " + r.ID, Issues: []model.Issue{
			{Path: "processingState", Message: "must be EXECUTING, WAITING or COMPLETE"},
		}}
	}
	return next, true, nil
}

// checkResults refuses what could be stored but not read again.
func checkResults(operations []model.OperationProgress) error {
	for i, op := range operations {
		if err := model.CheckJSON(op.ResultPayload, model.MaxResultDepth); len(op.ResultPayload) > 0 && err != nil {
			return &model.Error{Kind: model.Invalid, Detail: "the report cannot be taken in", Issues: []model.Issue{
				{Path: fmt.Sprintf("operationProgress[%d].resultPayload", i), Message: err.Error()},
			}}
		}
	}
	return nil
}

// reclaim takes the run from an executor that is gone.
func (r *run) reclaim(now time.Time, session string, fence int64, why string) (*run, error) {
	if r.State != model.Executing || r.SessionID != session || r.Fence != fence {
		return nil, r.refuse("reclaimed")
	}
	next := r.next(now)
	next.AttemptsCompleted = min(r.AttemptsCompleted+1, r.MaximumAttempts)
	next.DiagnosticEvents = lastEvents(append(slices.Clip(r.DiagnosticEvents), model.DiagnosticEvent{Time: now, Message: why, StatusCode: model.StatusExecutorLost}))
	switch {
	case r.Ending == "" && next.AttemptsCompleted < next.MaximumAttempts:
		next.wait(now)
		next.Message = "executor lost, waiting for the next attempt"
	case r.Ending == "" && r.Finale:
		next.endOperations(now, model.Failed)
		next.Ending = model.Failed
		next.Message = why
		next.wait(now)
	case r.Ending != "" && r.LostEndings+1 < r.MaximumAttempts:
		next.LostEndings++
		next.wait(now)
	default:
		outcome := model.Failed
		if r.Ending != "" {
			outcome, why = r.Ending, r.Message
		}
		next.complete(now, outcome, why)
		next.endOperations(now, model.Failed)
	}
	return next, nil
}

// cancel ends a run that has not ended. Its executor, if any, is fenced out. If something of it has begun, operations that run
// always are run first, once the executor has had time to stop; to cancel once more leaves them out.
func (r *run) cancel(now time.Time, why string, stopTime time.Duration) (*run, error) {
	if r.State == model.Complete {
		return nil, model.Errorf(model.Conflict, "agenda %q is already COMPLETE (%s)", r.ID, r.Outcome)
	}
	next := r.next(now)
	next.Fence++
	next.endOperations(now, model.Cancelled)
	next.Pause = nil
	if r.Finale && r.Ending == "" && !r.StartedTime.IsZero() {
		next.Ending, next.Message = model.Cancelled, why
		if r.State == model.Executing {
			now = now.Add(stopTime)
		}
		next.wait(now)
		return next, nil
	}
	next.complete(now, model.Cancelled, why)
	return next, nil
}

// pause holds a run. What runs of it is left to end, or fenced out if it is to be interrupted.
func (r *run) pause(now time.Time, pause model.Pause, interrupt bool) (*run, error) {
	if r.State == model.Complete {
		return nil, model.Errorf(model.Conflict, "agenda %q is COMPLETE (%s); there is nothing to pause", r.ID, r.Outcome)
	}
	next := r.next(now)
	next.Pause = &pause
	if r.State != model.Executing || interrupt {
		if r.State == model.Executing {
			next.Fence++
			next.interruptOperations()
		}
		next.wait(now)
		if next.Ending == "" {
			next.Message = pausedMessage(pause)
		}
	}
	return next, nil
}

// resume ends a pause.
func (r *run) resume(now time.Time) (*run, error) {
	if r.Pause == nil {
		return nil, model.Errorf(model.Conflict, "agenda %q is not paused; it is %s", r.ID, r.State)
	}
	next := r.next(now)
	next.Pause = nil
	if r.State == model.Waiting {
		next.wait(now)
		if next.Ending == "" {
			next.Message = "pending"
		}
	}
	return next, nil
}

func pausedMessage(p model.Pause) string {
	return strings.TrimSuffix(fmt.Sprintf("paused by %s: %s", p.By, p.Reason), ": ")
}

// interruptOperations notes that operations were stopped that are to be run again.
func (r *run) interruptOperations() {
	r.Operations = slices.Clone(r.Operations)
	for i := range r.Operations {
		if op := &r.Operations[i]; op.State == model.Executing {
			op.State, op.Message = model.Waiting, "interrupted: the agenda is paused"
		}
	}
}

// endOperations ends the operations that nobody runs any more.
func (r *run) endOperations(now time.Time, outcome model.Outcome) {
	r.Operations = slices.Clone(r.Operations)
	for i := range r.Operations {
		if op := &r.Operations[i]; op.State == model.Executing {
			op.State, op.Outcome, op.CompletedTime = model.Complete, outcome, now
		}
	}
}

// rerun makes an ended run wait again, with the progress of the operations that keep it.
func (r *run) rerun(now time.Time, kept []model.OperationProgress, operationCount int, skipExecution bool) (*run, error) {
	if r.State != model.Complete && (!r.Held || r.State != model.Waiting) {
		return nil, model.Errorf(model.Conflict, "agenda %q is %s; cancel it or wait until it is COMPLETE", r.ID, r.State)
	}
	next := r.next(now)
	next.Operations = kept
	next.Overflow = overflow{Used: r.Overflow.Used}
	next.OperationCount = operationCount
	next.Pause = nil
	next.wait(now)
	next.Message = "pending"
	next.Outcome, next.Ending, next.LostEndings = "", "", 0
	next.CompletedTime = time.Time{}
	next.AttemptsCompleted = 0
	next.PercentComplete = next.percent()
	next.Held = r.DoNotRun || skipExecution
	if next.Held {
		next.Message = heldMessage
	}
	return next, nil
}

// heldMessage is what is said of a run that is held.
const heldMessage = "held, not scheduled"

func (r *run) refuse(what string) error {
	return model.Errorf(model.Conflict, "agenda %q cannot be %s: it is %s", r.ID, what, r.State)
}

func (r *run) next(now time.Time) *run {
	next := *r
	next.UpdatedTime = now
	next.Step++
	return &next
}

// wait makes the run wait, until a time at least.
func (r *run) wait(until time.Time) {
	r.State = model.Waiting
	r.SessionID = ""
	if r.Pause != nil && r.Pause.Until.After(until) {
		until = r.Pause.Until
	}
	r.Ready = until.UnixNano()
}

// chance is a number in [0, 1) that differs from run to run and from attempt to attempt.
func (r *run) chance() float64 {
	h := fnv.New32a()
	_, _ = fmt.Fprint(h, r.ID, r.AttemptsCompleted) // never fails
	return float64(h.Sum32()) / (1 << 32)
}

func (r *run) complete(now time.Time, outcome model.Outcome, message string) {
	r.State = model.Complete
	r.Ending, r.Pause = "", nil
	r.Outcome = outcome
	r.Message = message
	if message == "" {
		r.Message = string(outcome)
	}
	r.SessionID = ""
	r.CompletedTime = now
}

// mergeOperations replaces the progress of operations by name. A succeeded operation stays as it is, so that what it has
// generated is taken in once.
func (r *run) mergeOperations(changed []model.OperationProgress, settled func(operation string) bool) {
	if len(changed) == 0 {
		return
	}
	at := make(map[string]int, len(r.Operations)+len(changed))
	r.Operations = slices.Clone(r.Operations)
	for i, op := range r.Operations {
		at[op.Operation] = i
	}
	for _, op := range changed {
		op.ID, op.AgendaProgressID, op.GeneratedBy = "", "", "" // derived on read
		i, ok := at[op.Operation]
		if ok && r.Operations[i].Outcome == model.Succeeded || !ok && settled != nil && settled(op.Operation) {
			continue
		}
		if op.Outcome != model.Succeeded {
			op.Generated = nil
		}
		r.OperationCount += len(op.Generated)
		for i := range op.Generated {
			r.Finale = r.Finale || op.Generated[i].When.AtTheEnd()
		}
		if ok {
			r.Operations[i] = op
		} else {
			at[op.Operation] = len(r.Operations)
			r.Operations = append(r.Operations, op)
		}
	}
}

// percent is the mean over all operations; a failed one counts for nothing.
func (r *run) percent() float64 {
	if r.OperationCount == 0 {
		return 0
	}
	sum := 100 * float64(r.Overflow.Succeeded)
	for _, op := range r.Operations {
		switch {
		case op.Outcome == model.Succeeded:
			sum += 100
		case op.State == model.Executing:
			sum += min(max(op.PercentComplete, 0), 100)
		}
	}
	return sum / float64(r.OperationCount)
}

// maxEvents bounds the diagnostic events of a run: the last ones are kept.
const maxEvents = 20

func lastEvents(events []model.DiagnosticEvent) []model.DiagnosticEvent {
	return events[max(0, len(events)-maxEvents):]
}

// retryable reports whether another attempt could end differently.
func retryable(events []model.DiagnosticEvent) bool {
	return !slices.ContainsFunc(events, func(e model.DiagnosticEvent) bool { return e.StatusCode == model.StatusNonRetryable })
}

func retryableOperations(operations []model.OperationProgress) bool {
	return !slices.ContainsFunc(operations, func(op model.OperationProgress) bool {
		return op.Outcome == model.Failed && !retryable(op.DiagnosticEvents)
	})
}
