package model

import (
	"encoding/json"
	"time"

	"github.com/pop-platform/pop/core/workflow"
)

// Agenda is a workflow: operations and what they share. Once accepted it does not change; how it fares is its [AgendaProgress],
// which has the same id.
type Agenda struct {
	Meta
	JobID           string         `json:"jobId,omitempty" maxLength:"200"`
	Operations      []Operation    `json:"operations"`
	Params          Params         `json:"params,omitempty"`
	MaximumAttempts int            `json:"maximumAttempts,omitempty" doc:"How often it is run at most until it succeeds, 1 to 20. Default 3."`
	Priority        int            `json:"priority,omitempty" minimum:"-10" maximum:"10" doc:"Agendas with a higher priority go before others of the customer, and under Priority before those of others; they may be passed by what waits longer. Default 0."`
	NotBefore       time.Time      `json:"notBefore,omitzero" doc:"When it may be scheduled; default at once."`
	Parallelism     int            `json:"parallelism,omitempty" minimum:"1" maximum:"10000" doc:"Most of its operations that run at a time. Default: as many as the executor lets."`
	FailurePolicy   FailurePolicy  `json:"failurePolicy,omitempty" enum:"stop,continue" doc:"What happens to the rest of an attempt when an operation fails. Default stop."`
	Backoff         *Backoff       `json:"backoff,omitempty" doc:"The pause before its next attempt."`
	TimeoutSeconds  float64        `json:"timeoutSeconds,omitempty" minimum:"0" doc:"It fails if it has not ended so long after it was first claimed. Default: no limit."`
	AgendaInsight   *AgendaInsight `json:"agendaInsight,omitempty" readOnly:"true" doc:"The insight it is bound to."`
}

// Operation is one step of an agenda. It waits for the operations that its payload refers to and for those in dependsOn.
type Operation struct {
	Name            string          `json:"name"`
	Type            string          `json:"type" doc:"Selects the handler."`
	ID              string          `json:"id,omitempty"`
	Payload         json.RawMessage `json:"payload,omitempty" doc:"Any JSON. @<name.out::/pointer> in a string is replaced by a part of the result of the operation called name."`
	Params          Params          `json:"params,omitempty" doc:"dependsOn: names to wait for, as a list or one comma-separated string."`
	When            workflow.When   `json:"when,omitempty" enum:"onSuccess,onFailure,always" doc:"onSuccess: once all that it depends on has succeeded. onFailure and always: when all others have ended, if the agenda is about to fail, or in any case. Default onSuccess."`
	MaximumAttempts int             `json:"maximumAttempts,omitempty" doc:"How often it is tried at most in each attempt of the agenda, 1 to 20. Default 1."`
	Backoff         *Backoff        `json:"backoff,omitempty" doc:"The pause before it is tried again."`
	TimeoutSeconds  float64         `json:"timeoutSeconds,omitempty" minimum:"0" doc:"Most that one attempt may take. Default: what the handler allows."`
}

// FailurePolicy says what happens to the rest of an attempt of an agenda when an operation fails.
type FailurePolicy string

// The failure policies. In either case operations that run are left to end.
const (
	FailureStop     FailurePolicy = "stop"     // nothing is started any more
	FailureContinue FailurePolicy = "continue" // what does not depend on the failed operation is run
)

// Backoff is a pause between attempts that doubles with each, up to a maximum. Up to half of it is left to chance, so that what
// failed together does not come back together.
type Backoff struct {
	InitialSeconds *float64 `json:"initialSeconds,omitempty" minimum:"0" doc:"The pause after the first attempt. Default 1."`
	MaximumSeconds *float64 `json:"maximumSeconds,omitempty" minimum:"0" doc:"The longest pause. Default 60, or the first pause if that is longer."`
}

// Delay returns the pause after so many attempts. Chance is at least 0 and below 1. A nil Backoff has the defaults.
func (b *Backoff) Delay(attempts int, chance float64) time.Duration {
	initial, longest := DefaultBackoffSeconds, MaxDefaultBackoffSeconds
	if b != nil && b.InitialSeconds != nil {
		initial = *b.InitialSeconds
	}
	longest = max(longest, initial)
	if b != nil && b.MaximumSeconds != nil {
		longest = *b.MaximumSeconds
	}
	pause := min(initial*float64(int64(1)<<min(max(attempts-1, 0), 40)), longest)
	return time.Duration(pause * (1 + chance) / 2 * float64(time.Second))
}

// AgendaInsight names the insight that an agenda is bound to.
type AgendaInsight struct {
	ResourcePoolID string `json:"resourcePoolId"`
	InsightID      string `json:"insightId"`
}

// Limits of an agenda.
const (
	DefaultMaximumAttempts = 3
	MaxMaximumAttempts     = 20
	MaxOperations          = 10_000
	MaxPriority            = 10 // and -10 is the lowest
	// DefaultBackoffSeconds and MaxDefaultBackoffSeconds are the pauses of a [Backoff] that does not say.
	DefaultBackoffSeconds    = 1.0
	MaxDefaultBackoffSeconds = 60.0
)
