package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pop-platform/pop/core/model"
)

// Launcher runs operations: as processes, as pods, or within the executor.
type Launcher interface {
	// Launch performs one attempt of an operation and returns its result, which may be nil. An error means that the
	// operation failed; if it is a [*OperationError], its event is reported as it is. When ctx ends, Launch stops the operation and
	// returns once it has stopped. The cause of ctx is [ErrSessionLost] if somebody else may be running the operation
	// already, so that there is no time for a graceful end.
	Launch(ctx context.Context, task *Task) (json.RawMessage, error)
}

// LauncherFunc is a function that is a [Launcher].
type LauncherFunc func(ctx context.Context, task *Task) (json.RawMessage, error)

// Launch calls f.
func (f LauncherFunc) Launch(ctx context.Context, task *Task) (json.RawMessage, error) {
	return f(ctx, task)
}

// Task is one attempt of an operation.
type Task struct {
	model.Lease
	Agenda    *model.Agenda   // for reading only
	Operation model.Operation // with the references in its payload resolved
	Attempt   int             // 1 for the first
	InsightID string          // that the agenda was scheduled on
	// LastProgress is what the attempt before reported last; nil for the first attempt.
	LastProgress *model.OperationProgress
	// OnProgress is what Report calls, if it is not nil.
	OnProgress func(Progress)
	// OnOutput is what Print calls, if it is not nil.
	OnOutput func([]byte)

	lastTry   bool // it is not tried again in this attempt of the agenda
	generated []model.Operation
}

// Generate adds operations to the agenda, should this one succeed. It is called before Launch returns.
func (t *Task) Generate(operations ...model.Operation) {
	t.generated = append(t.generated, operations...)
}

// Generated returns what was added by Generate.
func (t *Task) Generated() []model.Operation { return t.generated }

// Print hands on what the operation printed, whole lines or parts of long ones, without secrets. It returns at once.
func (t *Task) Print(text []byte) {
	if t.OnOutput != nil {
		t.OnOutput(text)
	}
}

// Report tells how far the operation has come. It returns at once and may be called at any rate: the latest wins.
func (t *Task) Report(p Progress) {
	if t.OnProgress != nil {
		t.OnProgress(p)
	}
}

// IdempotencyKey names the attempt, for systems that are to perform an effect only once.
func (t *Task) IdempotencyKey() string {
	return fmt.Sprintf("%s/%s/%d", t.AgendaID, t.Operation.Name, t.Fence)
}

// Progress is what a running operation tells. What is zero or absent leaves the value before as it is.
type Progress struct {
	Percent float64      `json:"percent"`
	Message string       `json:"message"`
	Params  model.Params `json:"params"` // handed to the next attempt in LastProgress
}

// OperationError is the error of an operation that failed, with what is known about it.
type OperationError struct{ model.DiagnosticEvent }

func (f *OperationError) Error() string { return f.Message }

// NonRetryable returns a failure that running the operation again would only repeat.
func NonRetryable(format string, args ...any) *OperationError {
	return &OperationError{model.DiagnosticEvent{Message: fmt.Sprintf(format, args...), StatusCode: model.StatusNonRetryable}}
}

// Causes of the end of an operation's context.
var (
	// ErrSessionLost means that the session is over, and with it the right to run the operation.
	ErrSessionLost = errors.New("the executor's session is lost")
	// ErrRevoked means that the agenda was cancelled or given to another executor.
	ErrRevoked = errors.New("the agenda's lease was taken away")
	// ErrDraining means that the executor is shutting down and hands its unfinished agendas back.
	ErrDraining = errors.New("the executor is shutting down")
)

// errPaused is why an agenda is handed back that is paused.
var errPaused = errors.New("the agenda is paused")
