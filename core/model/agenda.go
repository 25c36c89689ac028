package model

import "encoding/json"

// Agenda is a workflow: operations and what they share. Once accepted it does not change; how it fares is its [AgendaProgress],
// which has the same id.
type Agenda struct {
	Meta
	JobID           string         `json:"jobId,omitempty" maxLength:"200"`
	Operations      []Operation    `json:"operations"`
	Params          Params         `json:"params,omitempty"`
	MaximumAttempts int            `json:"maximumAttempts,omitempty" doc:"How often it is run at most until it succeeds, 1 to 20. Default 3."`
	AgendaInsight   *AgendaInsight `json:"agendaInsight,omitempty" readOnly:"true" doc:"The insight it is bound to."`
}

// Operation is one step of an agenda. It waits for the operations that its payload refers to and for those in dependsOn.
type Operation struct {
	Name    string          `json:"name"`
	Type    string          `json:"type" doc:"Selects the handler."`
	ID      string          `json:"id,omitempty"`
	Payload json.RawMessage `json:"payload,omitempty" doc:"Any JSON. @<name.out::/pointer> in a string is replaced by a part of the result of the operation called name."`
	Params  Params          `json:"params,omitempty" doc:"dependsOn: names to wait for, as a list or one comma-separated string."`
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
)
