package server

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// withAuthorizer calls f with the authorizer.
func withAuthorizer[T any](s *Server, op string, f func(driver.Authorizer) (T, error)) (none T, err error) {
	session, err := s.enter(op)
	if err != nil {
		return none, err
	}
	defer session.calls.Leave()
	if session.drivers.Authorizer == nil {
		return none, notOpen(op, driver.AuthorizerService)
	}
	return f(session.drivers.Authorizer)
}

// GetAuthorizerCapabilities implements the protocol.
func (s *Server) GetAuthorizerCapabilities(
	ctx context.Context, _ *pluginv1.GetAuthorizerCapabilitiesRequest,
) (*pluginv1.GetAuthorizerCapabilitiesResponse, error) {
	return withAuthorizer(s, "capabilities", func(d driver.Authorizer) (*pluginv1.GetAuthorizerCapabilitiesResponse, error) {
		caps, err := d.Capabilities(ctx)
		return wire.AuthorizerCapabilitiesToProto(caps), err
	})
}

// Authenticate implements the protocol.
func (s *Server) Authenticate(ctx context.Context, req *pluginv1.AuthenticateRequest) (*pluginv1.AuthenticateResponse, error) {
	return withAuthorizer(s, "authenticate", func(d driver.Authorizer) (*pluginv1.AuthenticateResponse, error) {
		p, err := d.Authenticate(ctx, wire.AuthenticateFromProto(req))
		return wire.PrincipalToProto(p), err
	})
}
