package driver

import (
	"context"
	"log/slog"
)

// Provider is a set of drivers that belong together and share one configuration. It is used linked in, or served as a
// process of its own.
type Provider interface {
	// Describe says what the provider is. It does no I/O and always answers the same.
	Describe() Description

	// Open opens the drivers of the services asked for. A configuration that it cannot take is an Invalid error that says
	// what to mend. With an error nothing stays open.
	Open(ctx context.Context, req OpenRequest) (Drivers, error)
}

// Service names a kind of driver.
type Service string

// The services that a provider can have a driver for.
const (
	StoreService      Service = "store"
	QueueService      Service = "queue"
	AuthorizerService Service = "authorizer"
)

// Description says what a [Provider] is.
type Description struct {
	Name     string // lower case letters, digits and dashes: "dynamodb"
	Version  string // of the provider itself
	Services []Service
	Schema   []byte // JSON Schema of the configuration, which is an object
}

// OpenRequest are the arguments of [Provider.Open].
type OpenRequest struct {
	Services []Service
	Config   []byte // a JSON object that satisfies the schema
	Log      *slog.Logger
}

// Drivers are the drivers that a [Provider] has opened; nil for a service that was not asked for.
type Drivers struct {
	Store      Store
	Queue      Queue
	Authorizer Authorizer
}

// HealthChecker is implemented by a driver that can tell cheaply whether its backend answers. A driver without it counts as
// healthy while its process answers.
type HealthChecker interface {
	// CheckHealth asks the backend, and returns the error that calls would meet now.
	CheckHealth(ctx context.Context) error
}
