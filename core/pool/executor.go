package pool

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// event is what an execution waits for.
type event struct {
	operation int
	kind      eventKind
	payload   json.RawMessage       // if it succeeded
	generated []model.Operation     // if it succeeded
	failure   model.DiagnosticEvent // if it failed
}

type eventKind uint8

const (
	notStarted  eventKind = iota // there was no room until nothing was to be started any more
	interrupted                  // the right to run it is gone
	succeeded
	failed
	tryNow  // its pause is over
	taken   // the server knows what it has generated
	nothing // what was waited for does not come any more
)

// execution is the state of one call of execute. It belongs to one goroutine; those of the operations see what is marked.
type execution struct {
	*executor
	run      *run            // shared
	ctx      context.Context //nolint:containedctx // of the part that is on; shared, and changed while nothing runs
	agenda   model.Agenda    // with what was generated
	graph    *workflow.Graph
	frontier *workflow.Frontier
	index    map[string]int
	tries    []int // by operation, in this attempt of the agenda
	results  results

	ready   []string
	running int // what an event is to come of
	events  chan event
	halt    func()          // start nothing more; shared, and renewed while nothing runs
	halted  <-chan struct{} // closed by halt; shared
	cut     bool            // something could have been started, and was not because the agenda is paused
	over    bool            // nothing is left to do
	part    part

	failures []model.DiagnosticEvent // of the agenda
	failed   []failure
	told     int  // how many of the first of them the server knows
	final    bool // another attempt would only repeat a failure
}

// part is the part of a run that is on: the operations that are run on success, or those that are run at the end.
type part uint8

const (
	main part = iota
	endingWell
	endingBadly
)

// failure is an operation that failed, as [workflow.Failures] shows it.
type failure struct {
	Operation  string `json:"operation"`
	Message    string `json:"message"`
	StatusCode string `json:"statusCode,omitempty"`
}

// results are what references in payloads can name.
type results struct {
	mu       sync.RWMutex
	of       map[string]json.RawMessage // by operation that has succeeded
	failures json.RawMessage
}

// execute runs the operations of an agenda that have not succeeded, and reports the end of the run.
func (e *executor) execute(r *run) {
	x := execution{executor: e, run: r}
	if err := x.prepare(); err != nil {
		x.fail(model.DiagnosticEvent{Time: time.Now(), Message: err.Error(), StatusCode: model.StatusNonRetryable})
		x.over = true
	} else {
		stop := x.limit()
		x.runParts()
		stop()
	}
	x.finish()
}

func (x *execution) prepare() error {
	r := x.run
	x.agenda = r.Agenda.WithGenerated(r.Progress.Operations)
	graph, issues := x.agenda.Graph()
	if len(issues) > 0 {
		return &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be run", Issues: issues}
	}
	x.graph = graph
	x.agenda.Operations = slices.Clip(x.agenda.Operations) // to be added to
	x.index = make(map[string]int, len(x.agenda.Operations))
	x.tries = make([]int, len(x.agenda.Operations))
	x.results.of = make(map[string]json.RawMessage, len(x.agenda.Operations))
	for i := range x.agenda.Operations {
		name := x.agenda.Operations[i].Name
		x.index[name] = i
		if r.succeeded(i) {
			x.results.of[name] = r.operations[i].ResultPayload
		}
	}
	x.frontier, x.ready = graph.Frontier(func(name string) bool { return r.succeeded(x.index[name]) })
	if r.Progress.Ending != "" {
		x.ready = nil
		x.resume()
	}
	return nil
}

// resume takes over what has failed from the executor that began to end the run.
func (x *execution) resume() {
	for i := range x.run.operations {
		if op := &x.run.operations[i]; op.State == model.Complete && op.Outcome == model.Failed && !x.agenda.Operations[i].When.AtTheEnd() {
			event := model.DiagnosticEvent{Message: op.Message}
			if n := len(op.DiagnosticEvents); n > 0 {
				event = op.DiagnosticEvents[n-1]
			}
			x.addFailure(i, event)
		}
	}
	x.told = len(x.failures)
}

// limit gives the first part of the run no more time than the agenda has.
func (x *execution) limit() (stop func()) {
	x.ctx = x.run.ctx
	if x.agenda.TimeoutSeconds == 0 {
		return func() {}
	}
	timeout := seconds(x.agenda.TimeoutSeconds)
	spent := x.run.Progress.UpdatedTime.Sub(x.run.Progress.StartedTime) // both on the server's clock
	ctx, cancel := context.WithTimeoutCause(x.run.ctx, timeout-max(spent, 0), &timeoutError{"the agenda", timeout})
	x.ctx = ctx
	return cancel
}

// runParts runs the operations that are run on success, and then those that are run at the end, unless another attempt follows.
func (x *execution) runParts() {
	if x.run.Progress.Ending == "" {
		x.resetHalt()
		x.perform()
		x.noteTimeout()
	}
	for x.run.ctx.Err() == nil && !x.cut {
		if !x.nextPart() {
			x.over = true
			return
		}
		x.resetHalt()
		x.perform()
	}
	x.over = len(x.failures) == 0 && x.done(true)
}

// nextPart begins the next part of the run, if there is one.
func (x *execution) nextPart() bool {
	x.ctx = x.run.ctx
	switch ending := x.run.Progress.Ending; {
	case x.part == main && (ending == model.Cancelled || ending == "" && len(x.failures) == 0):
		x.part = endingWell
		x.ready = x.frontier.Close(false)
	case x.part != endingBadly && ending != model.Cancelled && x.decided():
		x.part = endingBadly
		if x.ready = x.frontier.Close(true); len(x.ready) > 0 {
			x.reporter.ending(x.run, model.Failed)
		}
	default:
		return false
	}
	return true
}

// decided reports whether the agenda is going to fail, rather than be tried again.
func (x *execution) decided() bool {
	p := &x.run.Progress
	return p.Ending == model.Failed || len(x.failures) > 0 && (x.final || p.AttemptsCompleted+1 >= p.MaximumAttempts)
}

// done reports whether all operations have succeeded that are run if all goes well, with or without those that are run at the end.
func (x *execution) done(withEnd bool) bool {
	for i := range x.agenda.Operations {
		op := &x.agenda.Operations[i]
		if _, ok := x.results.of[op.Name]; !ok && (!op.When.AtTheEnd() || withEnd && op.When == workflow.Always) {
			return false
		}
	}
	return true
}

// noteTimeout makes the agenda fail if its time is over.
func (x *execution) noteTimeout() {
	var timeout *timeoutError
	if x.run.ctx.Err() == nil && errors.As(context.Cause(x.ctx), &timeout) && !x.done(false) {
		x.fail(model.DiagnosticEvent{Time: time.Now(), Message: timeout.Error(), StatusCode: model.StatusNonRetryable})
	}
}

func (x *execution) resetHalt() {
	halted := make(chan struct{})
	x.halt, x.halted = sync.OnceFunc(func() { close(halted) }), halted
}

// perform runs operations until none may be started and none runs.
func (x *execution) perform() {
	limit := x.perAgenda
	if x.agenda.Parallelism > 0 {
		limit = min(limit, x.agenda.Parallelism)
	}
	busy := 0 // of running, those that operations run of
	for {
		for len(x.ready) > 0 && busy < limit && x.mayStart() {
			i := x.index[x.ready[0]]
			x.ready = x.ready[1:]
			task := x.task(i)
			if x.running == 0 && len(x.ready) == 0 { // nothing else can happen meanwhile
				x.take(x.operation(i, task))
				continue
			}
			busy++
			x.await(func() event { return x.operation(i, task) })
		}
		if x.running == 0 {
			x.cut = x.cut || len(x.ready) > 0 && x.run.isPaused()
			return
		}
		e := <-x.events
		x.running--
		if e.kind < tryNow {
			busy--
		}
		x.take(e)
	}
}

func (x *execution) mayStart() bool {
	return x.ctx.Err() == nil && !x.run.isPaused() && !isClosed(x.halted)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// await makes perform wait for an event.
func (x *execution) await(wait func() event) {
	if x.events == nil {
		x.events = make(chan event)
	}
	x.running++
	go func() { x.events <- wait() }()
}

// take acts upon an event.
func (x *execution) take(e event) {
	i := e.operation
	name := x.agenda.Operations[i].Name
	if e.kind == succeeded && len(e.generated) > 0 {
		if err := x.extend(name, e.generated); err != nil {
			x.failing()
			e = event{operation: i, kind: failed, failure: err.DiagnosticEvent}
		}
	}
	switch e.kind {
	case notStarted, nothing:
		x.cut = x.cut || x.run.isPaused()
	case interrupted:
		x.record(e, x.running == 0)
	case succeeded:
		x.results.add(name, e.payload)
		if len(e.generated) > 0 {
			x.await(x.recordGenerator(e))
			return
		}
		x.ready = append(x.ready, x.frontier.Succeeded(name)...)
		x.record(e, x.running == 0 && len(x.ready) == 0)
	case failed:
		if x.mayTryAgain(i, e.failure) {
			x.tryAgain(e)
			return
		}
		x.addFailure(i, e.failure)
		x.ready = append(x.ready, x.frontier.Failed(name)...)
		x.record(e, x.running == 0 && len(x.ready) == 0)
	case tryNow:
		x.ready = append(x.ready, name)
	case taken:
		x.ready = append(x.ready, x.frontier.Succeeded(name)...)
	}
}

// extend adds generated operations to the agenda, or says why it does not.
func (x *execution) extend(generator string, generated []model.Operation) *OperationError {
	if x.part != main {
		return NonRetryable("it adds operations, which one that runs at the end cannot do")
	}
	if issues := x.agenda.Extend(x.graph, generator, generated); len(issues) > 0 {
		err := model.Error{Kind: model.Invalid, Detail: "the operations that it adds are not valid", Issues: issues[:min(len(issues), maxIssues)]}
		return NonRetryable("%v", &err)
	}
	for i := len(x.tries); i < len(x.agenda.Operations); i++ {
		x.index[x.agenda.Operations[i].Name] = i
	}
	x.tries = append(x.tries, make([]int, len(generated))...)
	x.reporter.grow(x.run, generated)
	_ = x.frontier.Extend() // none is ready, as they wait for the generator
	return nil
}

// maxIssues is how many issues of generated operations are told.
const maxIssues = 10

// recordGenerator notes the success of an operation that has generated others, and returns what waits until the server knows:
// what runs has to be known, so that no other attempt generates it once more.
func (x *execution) recordGenerator(e event) (wait func() event) {
	known := x.reporter.updateAndTell(x.run, e.operation, func(op *model.OperationProgress) {
		succeed(op, e.payload)
		op.Generated = e.generated
	})
	return func() event {
		select {
		case <-known:
			return event{operation: e.operation, kind: taken}
		case <-x.run.ctx.Done():
			return event{operation: e.operation, kind: nothing}
		}
	}
}

// mayTryAgain reports whether an operation that has failed is tried again in this attempt of the agenda.
func (x *execution) mayTryAgain(i int, why model.DiagnosticEvent) bool {
	return x.tries[i] < x.agenda.Operations[i].MaximumAttempts && why.StatusCode != model.StatusNonRetryable && x.ctx.Err() == nil && !isClosed(x.halted)
}

// tryAgain notes a failure that is not the last word, and makes the operation ready again after a pause.
func (x *execution) tryAgain(e event) {
	op := &x.agenda.Operations[e.operation]
	pause := op.Backoff.Delay(x.tries[e.operation], chance())
	message := short(fmt.Sprintf("attempt %d of %d failed, the next one is in %s: %s", x.tries[e.operation], op.MaximumAttempts, pause.Round(time.Millisecond), e.failure.Message))
	x.reporter.update(x.run, e.operation, func(op *model.OperationProgress) {
		op.State, op.PercentComplete = model.Waiting, 0
		op.Message = message
		op.DiagnosticEvents = []model.DiagnosticEvent{e.failure}
	})
	ctx, halted, paused := x.ctx, x.halted, x.run.paused
	x.await(func() event {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
			return event{operation: e.operation, kind: tryNow}
		case <-ctx.Done():
		case <-halted:
		case <-paused:
		}
		return event{operation: e.operation, kind: nothing}
	})
}

// addFailure notes that an operation has failed for good.
func (x *execution) addFailure(i int, why model.DiagnosticEvent) {
	name := x.agenda.Operations[i].Name
	if len(x.failed) < maxFailures {
		x.failed = append(x.failed, failure{name, why.Message, why.StatusCode})
		list, _ := json.Marshal(x.failed) // texts only
		x.results.fail(list)
	}
	why.Message = fmt.Sprintf("operation %q: %s", name, why.Message)
	why.Payload = nil // it is with the operation
	x.fail(why)
}

const maxFailures = 100

// fail notes why the agenda fails. Of many reasons it keeps the first ones, and one that makes another attempt pointless.
func (x *execution) fail(why model.DiagnosticEvent) {
	const most = 20 // as many as the server keeps
	beyondRetry := why.StatusCode == model.StatusNonRetryable
	if len(x.failures) == most && beyondRetry && !x.final {
		x.failures = x.failures[:most-1]
	}
	x.final = x.final || beyondRetry
	if len(x.failures) < most {
		x.failures = append(x.failures, why)
	}
}

// finish reports how the run ended.
func (x *execution) finish() {
	r := x.run
	ending := r.Progress.Ending
	status := model.Status{
		State: model.Complete, Outcome: model.Succeeded, CompletedTime: time.Now(), DiagnosticEvents: x.failures[x.told:],
	}
	if len(x.failures) > 0 {
		status.Outcome, status.Message = model.Failed, x.failures[0].Message
	}
	switch {
	case errors.Is(context.Cause(r.ctx), ErrRevoked):
		x.reporter.drop(r)
		return
	case !x.over && len(x.failures) > 0 && !x.decided(): // the next attempt goes on
	case !x.over:
		if x.decided() {
			x.reporter.ending(r, model.Failed)
		}
		why := cmp.Or(context.Cause(r.ctx), errPaused)
		status.State, status.Outcome, status.CompletedTime = model.Waiting, "", time.Time{}
		status.Message = "handed back: " + why.Error()
	case ending == model.Cancelled:
		status.Outcome, status.Message = model.Cancelled, r.Progress.Message
	case ending != "" && len(x.failures) == 0:
		status.Outcome, status.Message = model.Failed, r.Progress.Message
	}
	if len(status.DiagnosticEvents) == 0 {
		status.DiagnosticEvents = nil
	}
	x.reporter.finish(r, status)
}
