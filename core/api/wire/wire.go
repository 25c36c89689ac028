package wire

import (
	"encoding/json"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// Limits of the API.
const (
	MaxBodyBytes = 8 << 20 // largest request body
	MaxPage      = 1000    // largest page of a list
	DefaultPage  = 100
	MaxBatch     = 100    // most agendas or reports in one request
	MaxWaitMs    = 30_000 // longest long poll
)

// List is one page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Cursor of the next page; absent at the end."`
}

// Submitted is an accepted agenda and the progress of its run.
type Submitted struct {
	Agenda   model.Agenda         `json:"agenda"`
	Progress model.AgendaProgress `json:"progress"`
	Replayed bool                 `json:"replayed,omitempty" doc:"An earlier request with the same idempotency key was accepted; this is what it made."`
}

// SubmitBatch is the body of agendas:batch.
type SubmitBatch struct {
	Items []SubmitItem `json:"items" minItems:"1" maxItems:"100"`
}

// SubmitItem is one agenda of a [SubmitBatch].
type SubmitItem struct {
	Agenda         model.Agenda `json:"agenda"`
	IdempotencyKey string       `json:"idempotencyKey,omitempty" maxLength:"200"`
}

// SubmitResults answers a [SubmitBatch], in the same order.
type SubmitResults struct {
	Items []SubmitResult `json:"items"`
}

// SubmitResult is what became of one [SubmitItem]: either the first three fields or Problem are set.
type SubmitResult struct {
	Status   int                   `json:"status" doc:"The HTTP status that the agenda would have got alone."`
	Agenda   *model.Agenda         `json:"agenda,omitempty"`
	Progress *model.AgendaProgress `json:"progress,omitempty"`
	Replayed bool                  `json:"replayed,omitempty"`
	Problem  *Problem              `json:"problem,omitempty"`
}

// Run is the body of agendas:run: what to fill an agenda template with.
type Run struct {
	AgendaTemplateID string          `json:"agendaTemplateId" minLength:"1"`
	Payload          json.RawMessage `json:"payload,omitempty" doc:"Any JSON; fills the template's references to pop.payload."`
	CustomerID       string          `json:"customerId,omitempty" doc:"Customer to run it for. Default: that of the template's agenda, else the caller's if it has just one."`
	LinkID           string          `json:"linkId,omitempty" maxLength:"200" doc:"Overrides that of the template's agenda."`
	Title            string          `json:"title,omitempty" maxLength:"400" doc:"Overrides that of the template's agenda."`
	Priority         *int            `json:"priority,omitempty" minimum:"-10" maximum:"10" doc:"Overrides that of the template's agenda."`
	NotBefore        time.Time       `json:"notBefore,omitzero" doc:"Overrides that of the template's agenda."`
}

// Cancel is the body of an agenda's cancel.
type Cancel struct {
	Reason string `json:"reason,omitempty" maxLength:"400"`
}

// PauseAgenda is the body of an agenda's pause.
type PauseAgenda struct {
	Reason    string    `json:"reason,omitempty" maxLength:"400"`
	Until     time.Time `json:"until,omitzero" doc:"When it ends by itself. Default: when the agenda is resumed."`
	Interrupt bool      `json:"interrupt,omitempty" doc:"Stop what runs, to be run again later. Default: what runs is left to end."`
}

// RerunAll is the body of agendas:rerun: which agendas that have ended to run again, and what of them. One of the first four fields
// must be given.
type RerunAll struct {
	CustomerID string        `json:"customerId,omitempty"`
	LinkID     string        `json:"linkId,omitempty"`
	InsightID  string        `json:"insightId,omitempty"`
	AgendaIDs  []string      `json:"agendaIds,omitempty" maxItems:"100" doc:"These and no others; the other fields do not count then."`
	Outcome    model.Outcome `json:"outcome,omitempty" enum:"succeeded,failed,cancelled" doc:"Only those that ended like this. Default failed."`
	Rerun      model.Rerun   `json:"rerun,omitzero"`
	Limit      int           `json:"limit,omitempty" minimum:"1" maximum:"100" doc:"Most agendas in one request. Default 100."`
	Cursor     string        `json:"cursor,omitempty" doc:"The next of the answer before, to go on with the same fields."`
}

// Reruns answers [RerunAll].
type Reruns struct {
	Items []RerunResult `json:"items"`
	Next  string        `json:"next,omitempty" doc:"Cursor to go on with; absent at the end."`
}

// RerunResult is what became of one agenda of a [RerunAll]: it runs again if there is no Problem.
type RerunResult struct {
	AgendaID string   `json:"agendaId"`
	Status   int      `json:"status" doc:"The HTTP status that the agenda would have got alone."`
	Problem  *Problem `json:"problem,omitempty"`
}

// OpenSession is the body that opens a session.
type OpenSession struct {
	Name string `json:"name" minLength:"1" maxLength:"200" doc:"Names the puller or executor. Opening a session ends the caller's older one of the same name."`
}

// Assignments answers a pull.
type Assignments struct {
	Items []model.Assignment `json:"items"`
}

// Reports is the body of agenda-progress:report.
type Reports struct {
	Items []model.Report `json:"items" minItems:"1" maxItems:"100"`
}

// Logs is the body of operation-logs:append.
type Logs struct {
	Items []model.LogAppend `json:"items" minItems:"1" maxItems:"100"`
}

// ReportResults answers [Reports] or [Logs], in the same order.
type ReportResults struct {
	Items []model.ReportResult `json:"items"`
}

// Version says what answers.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go" doc:"Version of Go that it was built with."`
}

// Health is the answer of healthz and readyz.
type Health struct {
	Status string `json:"status"`
}
