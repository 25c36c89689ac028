package model

// Customer is a tenant: it owns agendas and is what scheduling is fair between. Its CustomerID is its own ID.
type Customer struct {
	Meta
	Limits
	BillingCode    string `json:"billingCode,omitempty" maxLength:"200"`
	ResourcePoolID string `json:"resourcePoolId,omitempty" doc:"Resource pool that runs the customer's agendas."`
	Pause          *Pause `json:"pause,omitempty" doc:"While it holds, no agenda of the customer is scheduled."`
	Drain          *Pause `json:"drain,omitempty" doc:"While it holds, no agenda of the customer is accepted. Those that were go on."`
}

// ResourcePool is where work runs: pullers plus compute.
type ResourcePool struct {
	Meta
	InsightIDs []string `json:"insightIds,omitzero" readOnly:"true" doc:"Insights of the pool that the caller can see; computed on read."`
}

// SchedulingAlgorithm names a rank function.
type SchedulingAlgorithm string

// The scheduling algorithms.
const (
	FirstInFirstOut SchedulingAlgorithm = "FirstInFirstOut"
	RoundRobin      SchedulingAlgorithm = "RoundRobin"
	Priority        SchedulingAlgorithm = "Priority"
	WeightedFair    SchedulingAlgorithm = "WeightedFair"
)

// Cost says what a customer is charged for an agenda under WeightedFair.
type Cost string

// The costs.
const (
	CostAgenda  Cost = "agenda"  // 1 for each
	CostRunTime Cost = "runTime" // the seconds that it ran
)

// Insight is a queue definition in a resource pool.
type Insight struct {
	Meta
	Sharing
	ResourcePoolID      string              `json:"resourcePoolId"`
	QueueName           string              `json:"queueName,omitempty" doc:"Name of the dispatch queue. Default: the insight's id."`
	QueueSize           *int                `json:"queueSize,omitempty" minimum:"1" doc:"Most agendas that are scheduled and not yet claimed. Default 100."`
	MaxInFlight         *int                `json:"maxInFlight,omitempty" minimum:"1" doc:"Most agendas that are QUEUED or EXECUTING at a time. Default: no limit."`
	Pause               *Pause              `json:"pause,omitempty" doc:"While it holds, no agenda is scheduled."`
	Drain               *Pause              `json:"drain,omitempty" doc:"While it holds, no agenda is accepted. Those that were go on."`
	SchedulingAlgorithm SchedulingAlgorithm `json:"schedulingAlgorithm,omitempty" enum:"FirstInFirstOut,RoundRobin,Priority,WeightedFair" doc:"Default WeightedFair."`
	AgingSeconds        *float64            `json:"agingSeconds,omitempty" exclusiveMinimum:"0" doc:"What a step of an agenda's priority is worth: so much longer waiting agendas of the next lower priority go first. Default 600."`
	Cost                Cost                `json:"cost,omitempty" enum:"agenda,runTime" doc:"What a customer is charged for an agenda under WeightedFair: 1, or the seconds that it ran. Default agenda."`
	Mappers             Mappers             `json:"mappers,omitzero" doc:"Which agendas match. An insight without mappers matches none."`
}

// Mappers say which agendas an insight takes: any value of any of them is enough. Case does not matter.
type Mappers struct {
	OperationName []string `json:"operationName,omitempty" doc:"Matches if an operation has one of these names."`
	Params        []string `json:"params,omitempty" doc:"key=value pairs; matches if the agenda's params or those of an operation hold one."`
	OperationType []string `json:"operationType,omitempty" doc:"Matches if an operation has one of these types."`
}

// Sharing says who besides the owner may read an object.
type Sharing struct {
	IsGlobal           bool     `json:"isGlobal,omitempty" doc:"Every caller may read it."`
	AllowedCustomerIDs []string `json:"allowedCustomerIds,omitempty" doc:"Customers that may read it; lower case."`
}

// AgendaTemplate is a parameterised agenda; a payload fills it.
type AgendaTemplate struct {
	Meta
	Sharing
	IsDefaultTemplate bool   `json:"isDefaultTemplate,omitempty"`
	StaticParameters  Params `json:"staticParameters,omitempty" doc:"Values for references of the form @<name::/pointer> in the agenda."`
	Params            Params `json:"params,omitempty" doc:"Free-form; not used to fill the agenda."`
	Agenda            Agenda `json:"agenda" doc:"The agenda to submit. References in its strings are filled from staticParameters and from the caller's payload (pop.payload)."`
}

const (
	// DefaultQueueSize is the queue size of an insight that names none.
	DefaultQueueSize = 100
	// DefaultWeight is the weight of a customer that names none.
	DefaultWeight = 1.0
	// DefaultAgingSeconds is what a step of priority is worth on an insight that does not say.
	DefaultAgingSeconds = 600.0
)
