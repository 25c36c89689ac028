package pool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/workflow"
)

// executor runs agendas.
type executor struct {
	launcher   Launcher
	reporter   *reporter
	logs       *logs
	perAgenda  int           // most operations of one agenda at a time
	operations chan struct{} // as many as operations of all agendas may run at a time
}

// result is what became of an operation.
type result struct {
	operation int
	ending    ending
	payload   json.RawMessage       // if it succeeded
	failure   model.DiagnosticEvent // if it failed
}

type ending uint8

const (
	notStarted ending = iota
	interrupted
	succeeded
	failed
)

// execution is the state of one call of execute.
type execution struct {
	*executor
	run      *run
	frontier *workflow.Frontier
	index    map[string]int
	halt     func()          // start nothing more
	halted   <-chan struct{} // closed by halt
	failures []model.DiagnosticEvent
}

// execute runs the operations of an agenda that have not succeeded, and reports the end of the run.
func (e *executor) execute(r *run) {
	x := execution{executor: e, run: r}
	ready, err := x.prepare()
	if err != nil {
		x.failures = append(x.failures, model.DiagnosticEvent{Time: time.Now(), Message: err.Error(), StatusCode: model.StatusNonRetryable})
	} else {
		x.perform(ready)
	}
	x.finish()
}

func (x *execution) prepare() (ready []string, err error) {
	operations := x.run.Agenda.Operations
	graph, issues := x.run.Agenda.Graph()
	if len(issues) > 0 {
		return nil, &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be run", Issues: issues}
	}
	halted := make(chan struct{})
	x.halt, x.halted = sync.OnceFunc(func() { close(halted) }), halted
	x.index = make(map[string]int, len(operations))
	for i := range operations {
		x.index[operations[i].Name] = i
	}
	x.frontier, ready = graph.Frontier(func(name string) bool { return x.run.succeeded(x.index[name]) })
	return ready, nil
}

// perform runs operations until none may be started and none runs.
func (x *execution) perform(ready []string) {
	var results chan result
	running := 0
	take := func(r result) {
		if r.ending == succeeded {
			ready = append(ready, x.frontier.Done(x.run.Agenda.Operations[r.operation].Name)...)
		}
		if r.ending == failed {
			failure := r.failure
			failure.Message = fmt.Sprintf("operation %q: %s", x.run.Agenda.Operations[r.operation].Name, failure.Message)
			failure.Payload = nil // it is with the operation
			x.failures = append(x.failures, failure)
		}
		x.record(r, running == 0 && (r.ending != succeeded || len(ready) == 0))
	}
	for {
		for len(ready) > 0 && running < x.perAgenda && x.run.ctx.Err() == nil {
			i := x.index[ready[0]]
			ready = ready[1:]
			if running == 0 && len(ready) == 0 { // nothing else can happen meanwhile
				take(x.operation(i))
				continue
			}
			if results == nil {
				results = make(chan result)
			}
			running++
			go func() { results <- x.operation(i) }()
		}
		if running == 0 {
			return
		}
		r := <-results
		running--
		take(r)
	}
}

// operation runs one operation when there is room for it.
func (x *execution) operation(i int) result {
	select {
	case x.operations <- struct{}{}:
		defer func() { <-x.operations }()
	case <-x.halted:
		return result{operation: i, ending: notStarted}
	case <-x.run.ctx.Done():
		return result{operation: i, ending: notStarted}
	}
	select {
	case <-x.halted: // as well as there being room
		return result{operation: i, ending: notStarted}
	default:
	}

	r := x.run
	task := &Task{Lease: r.Lease, Agenda: &r.Agenda, Operation: r.Agenda.Operations[i], InsightID: r.Progress.AgendaInsight.InsightID}
	if last := r.operations[i].OperationProgress; last.AttemptCount > 0 {
		task.LastProgress = &last
	}
	task.Attempt = r.operations[i].AttemptCount + 1
	task.OnProgress = func(p Progress) {
		x.reporter.update(r, i, func(op *model.OperationProgress) { advance(op, p) })
	}
	task.OnOutput = x.logs.attempt(r, task.Operation.Name, task.Attempt)
	x.reporter.update(r, i, func(op *model.OperationProgress) { start(op, time.Now()) })

	payload, err := x.launch(task)
	if err != nil {
		x.halt() // before there is room for another
	}
	switch {
	case err == nil:
		return result{operation: i, ending: succeeded, payload: payload}
	case r.ctx.Err() != nil:
		return result{operation: i, ending: interrupted}
	default:
		return result{operation: i, ending: failed, failure: failureOf(err)}
	}
}

// record notes how an operation ended. The last one of a run is reported together with the end of the run.
func (x *execution) record(r result, last bool) {
	if r.ending == notStarted {
		return
	}
	change := func(op *model.OperationProgress) {
		switch r.ending {
		case succeeded:
			complete(op, model.Succeeded)
			op.PercentComplete = 100
			op.ResultPayload = r.payload
		case failed:
			complete(op, model.Failed)
			op.Message = r.failure.Message
			op.DiagnosticEvents = []model.DiagnosticEvent{r.failure}
		default: // interrupted
			op.State = model.Waiting
			op.Message = "interrupted: " + context.Cause(x.run.ctx).Error()
		}
	}
	if last {
		x.reporter.updateLast(x.run, r.operation, change)
	} else {
		x.reporter.update(x.run, r.operation, change)
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
	if payload, err = x.launcher.Launch(x.run.ctx, task); err != nil {
		return nil, err
	}
	if len(payload) > 0 && !json.Valid(payload) {
		return nil, fmt.Errorf("the result is not JSON: %.60q", payload)
	}
	return payload, nil
}

// lookup returns what references in an operation's payload stand for. Results that it is asked for are there: the graph saw to it.
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
		of, _ := workflow.ResultOf(name)
		i, ok := x.index[of]
		if !ok || !x.run.succeeded(i) {
			return nil, false
		}
		return x.run.operations[i].ResultPayload, true
	}
}

// finish reports how the run ended.
func (x *execution) finish() {
	r := x.run
	left := false
	for i := range r.operations {
		left = left || !r.succeeded(i)
	}
	status := model.Status{State: model.Complete, CompletedTime: time.Now()}
	switch {
	case errors.Is(context.Cause(r.ctx), ErrRevoked):
		x.reporter.drop(r)
		return
	case len(x.failures) > 0:
		status.Outcome = model.Failed
		status.Message = x.failures[0].Message
		status.DiagnosticEvents = x.failures
	case left:
		status = model.Status{State: model.Waiting, Message: "handed back: " + cmp.Or(context.Cause(r.ctx), ErrDraining).Error()}
	default:
		status.Outcome = model.Succeeded
	}
	x.reporter.finish(r, status)
}

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
		op.Message = strings.ToValidUTF8(p.Message[:min(len(p.Message), maxMessage)], "")
	}
	if len(p.Params) > 0 {
		params := make(model.Params, len(op.Params)+len(p.Params)) // reports hold on to the one before
		maps.Copy(params, op.Params)
		maps.Copy(params, p.Params)
		op.Params = params
	}
}

const maxMessage = 1000 // bytes

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
