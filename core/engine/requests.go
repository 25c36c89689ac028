package engine

import (
	"time"

	"github.com/pop-platform/pop/core/model"
)

// Submission is an agenda to accept. The agenda is owned by its CustomerID; the caller's right to it has been checked.
type Submission struct {
	Agenda model.Agenda
	// IdempotencyKey, if not empty, makes repeated submissions of the same agenda by the same customer one.
	IdempotencyKey string
}

// Submitted is the answer to a [Submission].
type Submitted struct {
	Agenda   model.Agenda         `json:"agenda"`
	Progress model.AgendaProgress `json:"progress"`
	Replayed bool                 `json:"replayed,omitempty"` // an earlier submission with the same key was found
	Err      error                `json:"-"`
}

// RerunRequest says what to run again. With nothing set every operation is reset.
type RerunRequest struct {
	Continue      bool     `json:"continue,omitempty" doc:"Run only what has not succeeded."`
	Operations    []string `json:"operations,omitempty" doc:"Reset these operations and everything that depends on them."`
	SkipExecution bool     `json:"skipExecution,omitempty" doc:"Reset only; do not schedule."`
}

// Filter selects agendas in a list. CustomerIDs nil means all customers; the other fields restrict if set.
type Filter struct {
	CustomerIDs []string
	LinkID      string
	InsightID   string
	State       model.State
	Outcome     model.Outcome
}

// Page is one page of a list.
type Page struct {
	Progress []model.AgendaProgress
	Next     string // cursor of the next page; empty at the end
}

// Summary is the state of all agendas that share a linkId.
type Summary struct {
	LinkID          string                 `json:"linkId"`
	State           model.State            `json:"processingState" enum:"WAITING,QUEUED,EXECUTING,COMPLETE"`
	Outcome         model.Outcome          `json:"outcome,omitempty" enum:"succeeded,failed,cancelled" doc:"Set when all are COMPLETE: failed if any failed, else cancelled if any was, else succeeded."`
	PercentComplete float64                `json:"percentComplete"`
	Agendas         []model.AgendaProgress `json:"agendas"`
}

// Limits and defaults of the engine.
const (
	MaxBatch        = 100              // most agendas or reports in one call
	MaxWait         = 30 * time.Second // longest long poll
	DefaultLease    = 15 * time.Second
	heartbeatsLease = 3 // heartbeats per lease
)
