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

// Filter selects agendas in a list. CustomerIDs nil means all customers; the other fields restrict if set.
type Filter struct {
	CustomerIDs []string
	LinkID      string
	InsightID   string
	State       model.State
	Outcome     model.Outcome
}

// Rerun is what became of one agenda that was to be run again.
type Rerun struct {
	AgendaID string
	Err      error
}

// Page is one page of a list.
type Page struct {
	Progress []model.AgendaProgress
	Next     string // cursor of the next page; empty at the end
}

// Limits and defaults of the engine.
const (
	MaxBatch        = 100              // most agendas or reports in one call
	MaxWait         = 30 * time.Second // longest long poll
	DefaultLease    = 15 * time.Second
	heartbeatsLease = 3 // heartbeats per lease

	DefaultOwnerLease = 15 * time.Second
)
