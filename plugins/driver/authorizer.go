package driver

import (
	"context"
	"time"
)

// Authorizer says who a caller is. What the caller may do with it is decided by the core.
type Authorizer interface {
	// Capabilities reports which request headers the authorizer reads. It does no I/O and always answers the same.
	Capabilities(ctx context.Context) (AuthorizerCapabilities, error)

	// Authenticate verifies credentials. Missing or refused credentials are an Unauthenticated error whose Message may be
	// shown to the caller, and holds nothing of the credentials; any other error means that the authorizer could not tell,
	// and the call is refused. After Close it answers Unavailable.
	Authenticate(ctx context.Context, req AuthenticateRequest) (Principal, error)

	// Close releases the authorizer. It is idempotent.
	Close(ctx context.Context) error
}

// AuthorizerCapabilities are the declared properties of an [Authorizer].
type AuthorizerCapabilities struct {
	Headers   []string // canonical names of the only headers the authorizer is given, and looks at
	Challenge string   // value of WWW-Authenticate on a refusal; empty for none
}

// AuthenticateRequest are the arguments of [Authorizer.Authenticate].
type AuthenticateRequest struct {
	Header   map[string][]string // by canonical name
	RemoteIP string
}

// Role is a right that a principal has on the objects it can see.
type Role string

const (
	// RoleRead may read.
	RoleRead Role = "read"
	// RoleSubmit may submit, cancel and rerun agendas.
	RoleSubmit Role = "submit"
	// RoleOperate may manage insights, pools, templates and customers.
	RoleOperate Role = "operate"
	// RolePull may pull agendas and report their progress.
	RolePull Role = "pull"
)

// Principal is a verified caller.
type Principal struct {
	Subject   string
	Customers []string // ids of the customers it acts for: lower case, sorted, each once
	Roles     []Role
	Global    bool      // acts for every customer
	NotAfter  time.Time // the core may cache the principal until then; zero means not at all
}
