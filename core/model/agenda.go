package model

import (
	"encoding/json"
	"time"
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
	MaxPriority            = 10 // and -10 is the lowest
)
