package drivertest

import (
	"context"
	"errors"
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pop-platform/pop/plugins/driver"
)

// AuthorizerHarness makes the authorizers that a suite tests.
type AuthorizerHarness struct {
	// Open returns an authorizer that knows the callers below. It is called by parallel tests. What Close does not release
	// is released by t.Cleanup.
	Open func(t *testing.T) driver.Authorizer

	// Capabilities are what every authorizer reports.
	Capabilities driver.AuthorizerCapabilities

	// Known are callers by what is special about them. There has to be one at least.
	Known map[string]KnownCaller

	// Refused are requests by why they are refused, with credentials: those without any, the suite makes itself.
	Refused map[string]driver.AuthenticateRequest
}

// KnownCaller is a request and the principal that it has to lead to. The suite does not compare NotAfter.
type KnownCaller struct {
	Request driver.AuthenticateRequest
	Want    driver.Principal
}

// RunAuthorizer tests an authorizer against every clause of the contract.
func RunAuthorizer(t *testing.T, h AuthorizerHarness) {
	if len(h.Known) == 0 || len(h.Refused) == 0 {
		t.Fatal("the harness must have callers that are known and requests that are refused")
	}
	authorizerSuite.run(t, func(t *testing.T) *authorizerTest {
		return &authorizerTest{T: t, harness: h, authorizer: h.Open(t)}
	})
}

var authorizerSuite = suite[*authorizerTest]{
	name:    "authorizer",
	clauses: authorizerClauses,
	use:     func(a *authorizerTest) { a.eachKnown(a.wantPrincipal) },
}

// authorizerTest is one test of an authorizer.
type authorizerTest struct {
	*testing.T
	harness    AuthorizerHarness
	authorizer driver.Authorizer
}

func (t *authorizerTest) driver() closer { return t.authorizer }

func (t *authorizerTest) prepare() {}

func (t *authorizerTest) eachKnown(f func(name string, caller KnownCaller)) {
	t.Helper()
	for name, caller := range t.harness.Known {
		f(name, caller)
	}
}

// wantPrincipal checks whom a caller's request leads to.
func (t *authorizerTest) wantPrincipal(name string, caller KnownCaller) {
	t.Helper()
	got, err := t.authorizer.Authenticate(t.Context(), caller.Request)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	roles := cmpopts.SortSlices(func(a, b driver.Role) bool { return a < b })
	if diff := cmp.Diff(caller.Want, got, roles, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(got, "NotAfter")); diff != "" {
		t.Errorf("%s: principal (-want +got):\n%s", name, diff)
	}
	if !got.NotAfter.IsZero() && got.NotAfter.Before(time.Now()) {
		t.Errorf("%s: the principal was good until %s only", name, got.NotAfter)
	}
}

// wantRefused checks that a request is refused without giving away what was in it.
func (t *authorizerTest) wantRefused(why string, req driver.AuthenticateRequest) {
	t.Helper()
	got, err := t.authorizer.Authenticate(t.Context(), req)
	checkCode(t.T, why, err, driver.Unauthenticated)
	if diff := cmp.Diff(driver.Principal{}, got); diff != "" {
		t.Errorf("%s: a principal was returned:\n%s", why, diff)
	}
	var e *driver.Error
	if !errors.As(err, &e) {
		return
	}
	if e.Message == "" {
		t.Errorf("%s: the error has no message for the caller", why)
	}
	for _, values := range req.Header {
		for _, v := range values {
			for word := range strings.FieldsSeq(v) {
				if len(word) > 8 && strings.Contains(err.Error(), word) {
					t.Errorf("%s: the error gives away a credential", why)
				}
			}
		}
	}
}

var authorizerClauses = []clause[*authorizerTest]{
	{"capabilities are the declared ones, with canonical headers", func(t *authorizerTest) {
		got, err := t.authorizer.Capabilities(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(t.harness.Capabilities, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("capabilities (-declared +reported):\n%s", diff)
		}
		for _, h := range got.Headers {
			if textproto.CanonicalMIMEHeaderKey(h) != h {
				t.Errorf("header %q is not canonical", h)
			}
		}
	}},
	{"known callers are who they are, time and again", func(t *authorizerTest) {
		for range 10 {
			t.eachKnown(t.wantPrincipal)
		}
	}},
	{"customers are in lower case, sorted and once", func(t *authorizerTest) {
		t.eachKnown(func(name string, caller KnownCaller) {
			got, err := t.authorizer.Authenticate(t.Context(), caller.Request)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			want := slices.Clone(got.Customers)
			for i, c := range want {
				want[i] = strings.ToLower(c)
			}
			slices.Sort(want)
			if diff := cmp.Diff(slices.Compact(want), got.Customers, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: customers (-want +got):\n%s", name, diff)
			}
		})
	}},
	{"only declared headers are looked at", func(t *authorizerTest) {
		t.eachKnown(func(name string, caller KnownCaller) {
			declared := map[string][]string{}
			for _, h := range t.harness.Capabilities.Headers {
				if v, ok := caller.Request.Header[h]; ok {
					declared[h] = v
				}
			}
			few := caller
			few.Request.Header = declared
			t.wantPrincipal(name+" with declared headers only", few)
			many := caller
			many.Request.Header = maps.Clone(caller.Request.Header)
			many.Request.Header["X-Not-Declared"] = []string{"anything"}
			t.wantPrincipal(name+" with more headers", many)
		})
	}},
	{"a request without credentials is refused", func(t *authorizerTest) {
		t.wantRefused("no headers", driver.AuthenticateRequest{})
		t.wantRefused("other headers", driver.AuthenticateRequest{Header: map[string][]string{"X-Not-Declared": {"anything"}}})
		for _, h := range t.harness.Capabilities.Headers {
			t.wantRefused("no value for "+h, driver.AuthenticateRequest{Header: map[string][]string{h: nil}})
			t.wantRefused("empty value for "+h, driver.AuthenticateRequest{Header: map[string][]string{h: {""}}})
		}
	}},
	{"bad credentials are refused, and not repeated in the message", func(t *authorizerTest) {
		for why, req := range t.harness.Refused {
			for range 2 {
				t.wantRefused(why, req)
			}
		}
	}},
	{"values belong to the caller after the call", func(t *authorizerTest) {
		t.eachKnown(func(name string, caller KnownCaller) {
			got, err := t.authorizer.Authenticate(t.Context(), caller.Request)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for i := range got.Customers {
				got.Customers[i] = "changed"
			}
			for i := range got.Roles {
				got.Roles[i] = "changed"
			}
			t.wantPrincipal(name, caller)
		})
	}},
	{"many calls at once do not get in each other's way", func(t *authorizerTest) {
		parallel(16, func(int) {
			for range 10 {
				t.eachKnown(t.wantPrincipal)
				for why, req := range t.harness.Refused {
					t.wantRefused(why, req)
				}
			}
		})
	}},
	{"a context that is done stops Authenticate", func(t *authorizerTest) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		t.eachKnown(func(name string, caller KnownCaller) {
			if _, err := t.authorizer.Authenticate(ctx, caller.Request); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v, want %v", name, err, context.Canceled)
			}
		})
	}},
	{"after Close Authenticate is Unavailable, and Close is idempotent", func(t *authorizerTest) {
		for range 10 {
			if err := t.authorizer.Close(t.Context()); err != nil {
				t.Fatalf("Close: %v", err)
			}
		}
		t.eachKnown(func(name string, caller KnownCaller) {
			_, err := t.authorizer.Authenticate(t.Context(), caller.Request)
			checkCode(t.T, name, err, driver.Unavailable)
		})
	}},
}
