package memdriver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pop-platform/pop/plugins/driver"
)

// Authorizer is a [driver.Authorizer] that knows bearer tokens.
type Authorizer struct {
	principals map[string]driver.Principal // by token; never changed
	closed     atomic.Bool
}

// NewAuthorizer returns an authorizer that takes the given principals by their tokens.
func NewAuthorizer(principals map[string]driver.Principal) *Authorizer {
	a := &Authorizer{principals: make(map[string]driver.Principal, len(principals))}
	for token, p := range principals {
		a.principals[token] = copyPrincipal(p)
	}
	return a
}

// Capabilities implements [driver.Authorizer].
func (a *Authorizer) Capabilities(context.Context) (driver.AuthorizerCapabilities, error) {
	return driver.AuthorizerCapabilities{Headers: []string{"Authorization"}, Challenge: "Bearer"}, nil
}

// Authenticate implements [driver.Authorizer].
func (a *Authorizer) Authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	if err := ctx.Err(); err != nil {
		return driver.Principal{}, fmt.Errorf("authenticate: %w", err)
	}
	if a.closed.Load() {
		return driver.Principal{}, driver.Errorf(driver.Unavailable, "authenticate", "the authorizer is closed")
	}
	values := req.Header["Authorization"]
	if len(values) != 1 {
		return driver.Principal{}, driver.Errorf(driver.Unauthenticated, "authenticate", "send one Authorization header")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	p, ok := a.principals[token]
	if !strings.EqualFold(scheme, "Bearer") || !ok {
		return driver.Principal{}, driver.Errorf(driver.Unauthenticated, "authenticate", "the bearer token is not known")
	}
	return copyPrincipal(p), nil
}

// Close implements [driver.Authorizer].
func (a *Authorizer) Close(context.Context) error {
	a.closed.Store(true)
	return nil
}

// copyPrincipal returns a copy of p as the contract wants it: customers in lower case, in order and once.
func copyPrincipal(p driver.Principal) driver.Principal {
	p.Roles = slices.Clone(p.Roles)
	p.Customers = slices.Clone(p.Customers)
	for i, c := range p.Customers {
		p.Customers[i] = strings.ToLower(c)
	}
	slices.Sort(p.Customers)
	p.Customers = slices.Compact(p.Customers)
	return p
}
