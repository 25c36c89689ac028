package model

import "time"

// Explanation says why an agenda waits.
type Explanation struct {
	AgendaID  string       `json:"agendaId"`
	InsightID string       `json:"insightId"`
	State     State        `json:"processingState" enum:"WAITING,QUEUED,EXECUTING,COMPLETE"`
	Reasons   []WaitReason `json:"reasons" doc:"All that hold, those first that nothing but a change or an event ends. None if the agenda does not wait."`
	Ahead     int          `json:"ahead" doc:"How many agendas are scheduled before it if none arrives."`
	Exact     bool         `json:"exact,omitempty" doc:"Ahead is exact as long as nothing arrives and nothing changes."`
	// Estimates of how long it waits from now, from how fast agendas were scheduled of late.
	LowSeconds  float64 `json:"estimateLowSeconds,omitempty" doc:"It is scheduled in about so many seconds at the earliest; absent if that cannot be told."`
	HighSeconds float64 `json:"estimateHighSeconds,omitempty" doc:"It is scheduled in about so many seconds at the latest; absent if that cannot be told."`
}

// WaitReason is a reason why an agenda waits.
type WaitReason struct {
	Code      string    `json:"code" enum:"HELD,AGENDA_PAUSED,BACKOFF,CUSTOMER_PAUSED,CUSTOMER_CAP,QUOTA,RATE_LIMIT,INSIGHT_PAUSED,INSIGHT_CAP,QUEUE_FULL,SCHEDULED_FOR,BEHIND_OWN,BEHIND_OTHERS,NOT_CLAIMED,NO_PULLER,STARTING,NO_OWNER"`
	Count     int       `json:"count,omitempty" doc:"How many are in flight, used, queued or ahead."`
	Limit     int       `json:"limit,omitempty" doc:"Of how many, where there is a limit."`
	Customers int       `json:"customers,omitempty" doc:"BEHIND_OTHERS: of how many customers."`
	Until     time.Time `json:"until,omitzero" doc:"When it ends by itself."`
	Remedy    string    `json:"remedy" doc:"What ends it sooner."`
}

// PreviewRequest asks what an insight would schedule next, with changes if any are given.
type PreviewRequest struct {
	Count     int                 `json:"count,omitempty" minimum:"1" maximum:"1000" doc:"How many agendas to show. Default 20."`
	Algorithm SchedulingAlgorithm `json:"schedulingAlgorithm,omitempty" enum:"FirstInFirstOut,RoundRobin,Priority,WeightedFair"`
	Customers map[string]Limits   `json:"customers,omitempty" doc:"By id of the customer: limits in place of its own."`
}

// Preview is what an insight schedules next if nothing arrives, none in flight ends and it is not paused.
type Preview struct {
	InsightID string        `json:"insightId"`
	Agendas   []PreviewItem `json:"agendas"`
}

// PreviewItem is an agenda of a [Preview].
type PreviewItem struct {
	AgendaID   string `json:"agendaId"`
	CustomerID string `json:"customerId"`
}

// Fairness is an insight's certificate: how fair it is, as measured on what it really scheduled since this server owns it.
type Fairness struct {
	InsightID string              `json:"insightId"`
	Server    string              `json:"server" doc:"The server that schedules the insight."`
	Epoch     int64               `json:"epoch,omitempty" doc:"How often the insight was taken over by a server; absent if there is one server only."`
	Algorithm SchedulingAlgorithm `json:"schedulingAlgorithm"`
	Since     time.Time           `json:"since,omitzero" doc:"When the measurement began: with the server, or with the last change of algorithm."`
	Lag       float64             `json:"lag" doc:"The largest that two customers with agendas waiting can have been served apart, each over its weight."`
	Bound     float64             `json:"bound,omitempty" doc:"What the algorithm allows; absent if it promises nothing."`
	Holds     bool                `json:"holds" doc:"Every customer is within its bound."`
	Newcomer  int                 `json:"newcomerBound" doc:"Most agendas that are scheduled before the first of a customer that comes now; -1 if the algorithm promises nothing."`
	Queue     int                 `json:"queueBound" doc:"Most agendas that lie on the queue before it."`
	Jain      float64             `json:"jainIndex" doc:"Jain's index over the last window of services: 1 if all customers with agendas waiting got their share."`
	JainOver  int64               `json:"jainServices" doc:"How many services the window holds; 0 if there was no contention."`
	Customers int                 `json:"customersWaiting"`
	Active    int                 `json:"customersActive" doc:"Customers with an agenda that may be scheduled now."`
	Parked    int                 `json:"customersParked" doc:"Customers that may not have any scheduled now."`
	Waiting   int                 `json:"waiting"`
	Queued    int                 `json:"queued"`
	InFlight  int                 `json:"inFlight" doc:"QUEUED or EXECUTING."`
	Scheduled int64               `json:"scheduled"`
	Busiest   []CustomerService   `json:"busiest" doc:"The busiest customers."`
	Others    CustomerService     `json:"others" doc:"All other customers together."`
}

// CustomerService is how an insight serves a customer.
type CustomerService struct {
	CustomerID    string             `json:"customerId,omitempty"`
	Weight        float64            `json:"weight,omitempty"`
	Scheduled     int64              `json:"scheduled"`
	Cost          float64            `json:"cost"`
	Waiting       int                `json:"waiting"`
	InFlight      int                `json:"inFlight"`
	Held          string             `json:"held,omitempty" doc:"Code of the reason why none of its agendas may be scheduled now."`
	HeldUntil     time.Time          `json:"heldUntil,omitzero"`
	ParkedSeconds map[string]float64 `json:"parkedSeconds,omitempty" doc:"By reason: how long it was parked."`
	DwellP50      float64            `json:"dwellP50Seconds,omitempty" doc:"How long its agendas waited though they were ready, median."`
	DwellP99      float64            `json:"dwellP99Seconds,omitempty"`
	Lag           float64            `json:"lag,omitempty"`
	Bound         float64            `json:"bound,omitempty"`
}

// Owner is the server that schedules an insight. Where several servers share a store each insight has one at a time.
type Owner struct {
	InsightID string    `json:"insightId"`
	Server    string    `json:"server,omitempty" doc:"The server's id; absent if there never was one."`
	Address   string    `json:"address,omitempty" doc:"Where other servers reach it."`
	Epoch     int64     `json:"epoch,omitempty" doc:"Grows by one whenever the insight changes its owner; absent if there is one server only."`
	Since     time.Time `json:"since,omitzero" doc:"When it became the owner."`
	Alive     bool      `json:"alive" doc:"It has begun to schedule the insight, and its lease has not run out. Else it, or another server, does so in a moment."`
	Here      bool      `json:"here" doc:"It is the server that answers."`
}
