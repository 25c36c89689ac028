package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strings"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/workflow"
)

// task returns the next attempt of an operation.
func (x *execution) task(i int) *Task {
	r := x.run
	x.tries[i]++
	task := &Task{Lease: r.Lease, Agenda: &r.Agenda, Operation: x.agenda.Operations[i], InsightID: r.Progress.AgendaInsight.InsightID}
	last := x.reporter.progress(r, i)
	if last.AttemptCount > 0 {
		task.LastProgress = &last
	}
	task.Attempt = last.AttemptCount + 1
	task.OnOutput = x.logs.attempt(r, task.Operation.Name, task.Attempt)
	task.lastTry = x.tries[i] >= task.Operation.MaximumAttempts
	task.OnProgress = func(p Progress) {
		x.reporter.update(r, i, func(op *model.OperationProgress) { advance(op, p) })
	}
	return task
}

// operation runs one attempt of an operation when there is room for it.
func (x *execution) operation(i int, task *Task) event {
	select {
	case x.operations <- struct{}{}:
		defer func() { <-x.operations }()
	case <-x.halted:
		return event{operation: i, kind: notStarted}
	case <-x.run.paused:
		return event{operation: i, kind: notStarted}
	case <-x.ctx.Done():
		return event{operation: i, kind: notStarted}
	}
	if !x.mayStart() { // as well as there being room
		return event{operation: i, kind: notStarted}
	}
	x.reporter.update(x.run, i, func(op *model.OperationProgress) { start(op, time.Now()) })
	payload, err := x.launch(task)
	switch {
	case err == nil:
		return event{operation: i, kind: succeeded, payload: payload, generated: task.Generated()}
	case x.run.ctx.Err() != nil:
		return event{operation: i, kind: interrupted}
	default:
		why := failureOf(err)
		if task.lastTry || why.StatusCode == model.StatusNonRetryable {
			x.failing() // before there is room for another
		}
		return event{operation: i, kind: failed, failure: why}
	}
}

// failing keeps more from being started now that an operation fails, if that is what the agenda wants.
func (x *execution) failing() {
	if x.part == main && x.agenda.FailurePolicy != model.FailureContinue {
		x.halt()
	}
}

// record notes how an operation ended. The last one of a run is reported together with the end of the run.
func (x *execution) record(e event, last bool) {
	change := func(op *model.OperationProgress) {
		switch e.kind {
		case succeeded:
			succeed(op, e.payload)
		case failed:
			complete(op, model.Failed)
			op.Message = e.failure.Message
			op.DiagnosticEvents = []model.DiagnosticEvent{e.failure}
		default: // interrupted
			op.State = model.Waiting
			op.Message = "interrupted: " + context.Cause(x.run.ctx).Error()
		}
	}
	if last {
		x.reporter.updateLast(x.run, e.operation, change)
	} else {
		x.reporter.update(x.run, e.operation, change)
	}
}

// launch resolves the payload and runs the operation.
func (x *execution) launch(task *Task) (payload json.RawMessage, err error) {
	op := &task.Operation
	if op.Payload, err = workflow.Resolve(op.Payload, x.lookup(op.Name)); err != nil {
		return nil, NonRetryable("payload: %v", err)
	}
	defer func() {
		if p := recover(); p != nil {
			event := model.DiagnosticEvent{Message: fmt.Sprintf("the launcher panicked: %v", p), StackTrace: string(debug.Stack())}
			payload, err = nil, &OperationError{event}
		}
	}()
	ctx := x.ctx
	if op.TimeoutSeconds > 0 {
		timeout := seconds(op.TimeoutSeconds)
		limited, cancel := context.WithTimeoutCause(ctx, timeout, &timeoutError{"it", timeout})
		defer cancel()
		ctx = limited
	}
	if payload, err = x.launcher.Launch(ctx, task); err != nil {
		return nil, err
	}
	if len(payload) > 0 && !json.Valid(payload) {
		return nil, fmt.Errorf("the result is not JSON: %.60q", payload)
	}
	return payload, nil
}

// lookup returns what references in an operation's payload stand for. Results of operations that have not succeeded are not there.
func (x *execution) lookup(operation string) workflow.Lookup {
	return func(name string) (json.RawMessage, bool) {
		switch name {
		case workflow.AgendaID:
			return quote(x.run.AgendaID), true
		case workflow.OperationName:
			return quote(operation), true
		case workflow.Params:
			if len(x.run.Agenda.Params) == 0 {
				return nil, true
			}
			params, err := json.Marshal(x.run.Agenda.Params)
			return params, err == nil
		}
		return x.results.get(name)
	}
}

func (r *results) get(name string) (json.RawMessage, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if name == workflow.Failures {
		if r.failures == nil {
			return json.RawMessage("[]"), true
		}
		return r.failures, true
	}
	operation, _ := workflow.ResultOf(name)
	payload, ok := r.of[operation]
	return payload, ok
}

func (r *results) add(operation string, payload json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of[operation] = payload
}

func (r *results) fail(failures json.RawMessage) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = failures
}

// timeoutError is why something was stopped that took too long.
type timeoutError struct {
	what  string
	after time.Duration
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("%s had not ended after %s", e.what, e.after)
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// start begins another attempt. Params stay: they are how an attempt tells the next one.
func start(op *model.OperationProgress, now time.Time) {
	op.Status = model.Status{State: model.Executing, StartedTime: op.StartedTime}
	if op.StartedTime.IsZero() {
		op.StartedTime = now
	}
	op.AttemptCount++
	op.AttemptTime = now
	op.ResultPayload = nil
}

// advance takes in progress. What comes after the end of the attempt is too late.
func advance(op *model.OperationProgress, p Progress) {
	if op.State != model.Executing {
		return
	}
	if p.Percent > op.PercentComplete {
		op.PercentComplete = min(p.Percent, 100)
	}
	if p.Message != "" {
		op.Message = short(p.Message)
	}
	if len(p.Params) > 0 {
		params := make(model.Params, len(op.Params)+len(p.Params)) // reports hold on to the one before
		maps.Copy(params, op.Params)
		maps.Copy(params, p.Params)
		op.Params = params
	}
}

const maxMessage = 1000 // bytes

// short cuts a message, between characters.
func short(message string) string {
	return strings.ToValidUTF8(message[:min(len(message), maxMessage)], "")
}

func succeed(op *model.OperationProgress, result json.RawMessage) {
	complete(op, model.Succeeded)
	op.PercentComplete = 100
	op.ResultPayload = result
}

func complete(op *model.OperationProgress, outcome model.Outcome) {
	op.State, op.Outcome = model.Complete, outcome
	op.Message = ""
	op.CompletedTime = time.Now()
}

func failureOf(err error) model.DiagnosticEvent {
	event := model.DiagnosticEvent{Message: err.Error()}
	if f, ok := errors.AsType[*OperationError](err); ok {
		event = f.DiagnosticEvent
	}
	if event.Time.IsZero() {
		event.Time = time.Now()
	}
	return event
}

func quote(text string) json.RawMessage {
	quoted, _ := json.Marshal(text) // a string cannot fail
	return quoted
}
