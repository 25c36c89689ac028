package host

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// authorizer is a [driver.Authorizer] in a process.
type authorizer struct {
	handle
	plugin *Plugin
	caps   driver.AuthorizerCapabilities
}

// Capabilities implements [driver.Authorizer].
func (a *authorizer) Capabilities(context.Context) (driver.AuthorizerCapabilities, error) {
	return a.caps, nil
}

// Authenticate implements [driver.Authorizer]. Only headers that the authorizer has declared leave this process.
func (a *authorizer) Authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	if err := a.enter("authenticate"); err != nil {
		return driver.Principal{}, err
	}
	defer a.calls.Leave()
	declared := driver.AuthenticateRequest{Header: make(map[string][]string, len(a.caps.Headers)), RemoteIP: req.RemoteIP}
	for _, name := range a.caps.Headers {
		if values, ok := req.Header[name]; ok {
			declared.Header[name] = values
		}
	}
	return call(ctx, a.plugin, "authenticate", reads, a.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) (driver.Principal, error) {
		resp, err := i.authorizer.Authenticate(ctx, wire.AuthenticateToProto(declared))
		if err != nil {
			return driver.Principal{}, err
		}
		return wire.PrincipalFromProto(resp), nil
	})
}

// Close implements [driver.Authorizer].
func (a *authorizer) Close(ctx context.Context) error { return a.close(ctx, a.plugin) }
