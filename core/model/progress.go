package model

import (
	"encoding/json"
	"time"
)

// State is where a run or an operation is in its life.
type State string

// The states. An operation is never Queued.
const (
	Waiting   State = "WAITING"
	Queued    State = "QUEUED"
	Executing State = "EXECUTING"
	Complete  State = "COMPLETE"
)

// Outcome is how a run or an operation ended.
type Outcome string

// The outcomes.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Cancelled Outcome = "cancelled"
	Skipped   Outcome = "skipped" // of an operation only: the agenda has succeeded without it
)

// Status is what an agenda's progress and an operation's progress have in common.
type Status struct {
	State            State             `json:"processingState" enum:"WAITING,QUEUED,EXECUTING,COMPLETE"`
	Outcome          Outcome           `json:"outcome,omitempty" enum:"succeeded,failed,cancelled,skipped" doc:"Set when the state is COMPLETE. Only an operation can be skipped."`
	Message          string            `json:"processingStateMessage,omitempty"`
	PercentComplete  float64           `json:"percentComplete" minimum:"0" maximum:"100"`
	StartedTime      time.Time         `json:"startedTime,omitzero"`
	CompletedTime    time.Time         `json:"completedTime,omitzero"`
	DiagnosticEvents []DiagnosticEvent `json:"diagnosticEvents,omitempty"`
}

// AgendaProgress is the state of the run of an agenda. Its id is the agenda's.
type AgendaProgress struct {
	Meta
	Status
	AgendaID          string              `json:"agendaId"`
	ExternalID        string              `json:"externalId,omitempty"`
	AgendaInsight     AgendaInsight       `json:"agendaInsight"`
	AttemptsCompleted int                 `json:"attemptsCompleted"`
	MaximumAttempts   int                 `json:"maximumAttempts"`
	Fence             int64               `json:"fence" doc:"Grows with every claim. Reports with an older fence are refused."`
	SessionID         string              `json:"sessionId,omitempty" doc:"Session of the executor that runs the agenda."`
	Pause             *Pause              `json:"pause,omitempty" doc:"While it is there, nothing of the agenda is started."`
	Ending            Outcome             `json:"ending,omitempty" enum:"failed,cancelled" doc:"How it is going to end: only operations that run on failure or always are left."`
	Operations        []OperationProgress `json:"operationProgress,omitempty"`
}

// OperationProgress is the state of one operation. Its id is the agenda's id, a hyphen and the operation's name.
type OperationProgress struct {
	ID               string `json:"id,omitempty"`
	AgendaProgressID string `json:"agendaProgressId,omitempty"`
	Operation        string `json:"operation" doc:"Name of the operation."`
	Status
	AttemptCount  int             `json:"attemptCount"`
	AttemptTime   time.Time       `json:"attemptTime,omitzero" doc:"When the last attempt started."`
	ResultPayload json.RawMessage `json:"resultPayload,omitempty" doc:"Result of a succeeded operation, any JSON."`
	Generated     []Operation     `json:"generatedOperations,omitempty" doc:"Operations that a succeeded operation added to the agenda."`
	GeneratedBy   string          `json:"generatedBy,omitempty" doc:"Name of the operation that added this one."`
	Params        Params          `json:"params,omitempty"`
}

// DiagnosticEvent says what went wrong.
type DiagnosticEvent struct {
	Time       time.Time       `json:"time,omitzero"`
	Message    string          `json:"message"`
	StatusCode string          `json:"statusCode,omitempty"`
	StackTrace string          `json:"stackTrace,omitempty"`
	Payload    json.RawMessage `json:"payload,omitempty"`
}

// StatusNonRetryable is the status code of a diagnostic event that running again would only repeat, such as a bad reference or
// an operation type without a handler. A run that reports one is not retried.
const StatusNonRetryable = "non-retryable"

// OperationProgressID returns the id of an operation's progress.
func OperationProgressID(agendaID, operation string) string { return agendaID + "-" + operation }

// StatusExecutorLost is the status code of a diagnostic event about an executor whose session ended while it ran the agenda.
const StatusExecutorLost = "executor-lost"
