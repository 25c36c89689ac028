package wire

import (
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// AuthorizerCapabilitiesToProto returns the message of capabilities.
func AuthorizerCapabilitiesToProto(c driver.AuthorizerCapabilities) *pluginv1.GetAuthorizerCapabilitiesResponse {
	return &pluginv1.GetAuthorizerCapabilitiesResponse{Headers: each(c.Headers, text), Challenge: text(c.Challenge)}
}

// AuthorizerCapabilitiesFromProto returns the capabilities of a message.
func AuthorizerCapabilitiesFromProto(m *pluginv1.GetAuthorizerCapabilitiesResponse) driver.AuthorizerCapabilities {
	return driver.AuthorizerCapabilities{Headers: m.GetHeaders(), Challenge: m.GetChallenge()}
}

// AuthenticateToProto returns the message of a request. The values of headers are bytes: HTTP does not promise UTF-8.
func AuthenticateToProto(r driver.AuthenticateRequest) *pluginv1.AuthenticateRequest {
	m := &pluginv1.AuthenticateRequest{RemoteIp: text(r.RemoteIP)}
	for name, values := range r.Header {
		m.Headers = append(m.Headers, &pluginv1.Header{Name: text(name), Values: each(values, func(v string) []byte { return []byte(v) })})
	}
	return m
}

// AuthenticateFromProto returns the request of a message.
func AuthenticateFromProto(m *pluginv1.AuthenticateRequest) driver.AuthenticateRequest {
	r := driver.AuthenticateRequest{Header: make(map[string][]string, len(m.GetHeaders())), RemoteIP: m.GetRemoteIp()}
	for _, h := range m.GetHeaders() {
		r.Header[h.GetName()] = each(h.GetValues(), func(v []byte) string { return string(v) })
	}
	return r
}

// PrincipalToProto returns the message of a principal.
func PrincipalToProto(p driver.Principal) *pluginv1.AuthenticateResponse {
	return &pluginv1.AuthenticateResponse{
		Subject: text(p.Subject), Customers: each(p.Customers, text),
		Roles:  each(p.Roles, func(r driver.Role) string { return text(string(r)) }),
		Global: p.Global, NotAfter: timeToProto(p.NotAfter),
	}
}

// PrincipalFromProto returns the principal of a message.
func PrincipalFromProto(m *pluginv1.AuthenticateResponse) driver.Principal {
	return driver.Principal{
		Subject: m.GetSubject(), Customers: m.GetCustomers(),
		Roles:  each(m.GetRoles(), func(r string) driver.Role { return driver.Role(r) }),
		Global: m.GetGlobal(), NotAfter: timeFromProto(m.GetNotAfter()),
	}
}
