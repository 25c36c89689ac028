package model

import "time"

// Session is a puller's or executor's lease on all the agendas it runs: one heartbeat keeps them all. Opening a session with
// the name of an older one ends the older one, and its agendas are run again at once.
type Session struct {
	ID        string    `json:"id" doc:"Changes each time a session of the same name is opened."`
	Name      string    `json:"name"`
	ExpiresAt time.Time `json:"expiresAt"`
	Heartbeat int64     `json:"heartbeatIntervalMs" doc:"How often to send a heartbeat, in milliseconds."`
	Progress  int64     `json:"progressIntervalMs,omitempty" doc:"How often to report on a run of which there is only progress to tell, in milliseconds; what begins and ends is told at once."`
	Revoked   []Lease   `json:"revoked,omitempty" doc:"Leases taken away since the last heartbeat, such as those of cancelled agendas: stop their operations."`
	Paused    []Lease   `json:"paused,omitempty" doc:"Leases whose agendas were paused since the last heartbeat: start nothing more of them, and hand them back when what runs has ended."`
}

// Lease is the right to run an agenda and to report on it, as long as the session lives and no newer fence was given out.
type Lease struct {
	AgendaID string `json:"agendaId"`
	Fence    int64  `json:"fence"`
}

// Assignment is an agenda handed to an executor, with the progress it made before: what has succeeded is not run again.
type Assignment struct {
	Lease
	Agenda   Agenda         `json:"agenda"`
	Progress AgendaProgress `json:"progress"`
}

// Report is what an executor says about a run. Operations holds only those that changed.
type Report struct {
	Lease
	SessionID  string              `json:"sessionId"`
	Status                         // of the run; Complete ends the attempt, Waiting hands the agenda back unfinished
	Ending     Outcome             `json:"ending,omitempty" enum:"failed,cancelled" doc:"Set once it is certain how the agenda is going to end, and only operations that run on failure or always are left."`
	Operations []OperationProgress `json:"operationProgress,omitempty"`
}

// PullRequest asks for agendas of an insight.
type PullRequest struct {
	InsightID string `json:"insightId"`
	SessionID string `json:"sessionId"`
	Max       int    `json:"max,omitempty" doc:"Most agendas to hand out, 1 to 100. Default 1."`
	WaitMs    int64  `json:"waitMs,omitempty" doc:"How long to wait for the first agenda, in milliseconds, at most 30000. Default 0."`
}

// ReportResult is the answer to a [Report].
type ReportResult struct {
	AgendaID string `json:"agendaId"`
	// Err is nil if the report was taken in. An error of kind [Fenced] means that the lease is lost: stop the agenda's operations.
	Err *Error `json:"error,omitempty"`
	// Paused says that the agenda is paused: start nothing more of it, and hand it back when what runs has ended.
	Paused bool `json:"paused,omitempty"`
}
