package model

// Customer is a tenant: it owns agendas and is what scheduling is fair between. Its CustomerID is its own ID.
type Customer struct {
	Meta
	BillingCode    string  `json:"billingCode,omitempty" maxLength:"200"`
	ResourcePoolID string  `json:"resourcePoolId,omitempty" doc:"Resource pool that runs the customer's agendas."`
	Weight         float64 `json:"weight,omitempty" doc:"Share under WeightedFair, relative to other customers. Default 1."`
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
	WeightedFair    SchedulingAlgorithm = "WeightedFair"
)

// Insight is a queue definition in a resource pool.
type Insight struct {
	Meta
	Sharing
	ResourcePoolID      string              `json:"resourcePoolId"`
	QueueName           string              `json:"queueName,omitempty" doc:"Name of the dispatch queue. Default: the insight's id."`
	QueueSize           int                 `json:"queueSize,omitempty" doc:"Most agendas that are scheduled and not yet claimed. Default 100."`
	SchedulingAlgorithm SchedulingAlgorithm `json:"schedulingAlgorithm,omitempty" enum:"FirstInFirstOut,RoundRobin,WeightedFair" doc:"Default WeightedFair."`
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
)
