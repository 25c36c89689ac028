package model

// Rerun says what of an agenda to run again. With nothing set every operation is reset.
type Rerun struct {
	Continue      bool     `json:"continue,omitempty" doc:"Run only what has not succeeded."`
	Operations    []string `json:"operations,omitempty" doc:"Reset these operations and everything that depends on them."`
	SkipExecution bool     `json:"skipExecution,omitempty" doc:"Reset only; do not schedule."`
}

// Summary is the state of all agendas that share a linkId.
type Summary struct {
	LinkID          string           `json:"linkId"`
	State           State            `json:"processingState" enum:"WAITING,QUEUED,EXECUTING,COMPLETE"`
	Outcome         Outcome          `json:"outcome,omitempty" enum:"succeeded,failed,cancelled" doc:"Set when all are COMPLETE: failed if any failed, else cancelled if any was, else succeeded."`
	PercentComplete float64          `json:"percentComplete"`
	Agendas         []AgendaProgress `json:"agendas"`
}
