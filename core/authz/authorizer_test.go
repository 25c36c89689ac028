package authz

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// tokens is an authorizer that knows tokens and counts how often it is asked.
type tokens struct {
	known    map[string]driver.Principal
	err      error
	calls    int
	requests []driver.AuthenticateRequest
}

func (t *tokens) Capabilities(context.Context) (driver.AuthorizerCapabilities, error) {
	return driver.AuthorizerCapabilities{Headers: []string{"authorization", "X-Tenant"}, Challenge: "Bearer"}, nil
}

func (t *tokens) Authenticate(_ context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	t.calls++
	t.requests = append(t.requests, req)
	if t.err != nil {
		return driver.Principal{}, t.err
	}
	if values := req.Header["Authorization"]; len(values) == 1 {
		if p, ok := t.known[values[0]]; ok {
			return p, nil
		}
	}
	return driver.Principal{}, driver.Errorf(driver.Unauthenticated, "test", "the token is not known")
}

func (t *tokens) Close(context.Context) error { return nil }

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTest(t *testing.T, entries int) (*Authorizer, *tokens, *clock) {
	t.Helper()
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	d := &tokens{known: map[string]driver.Principal{
		"forever": {Subject: "f", NotAfter: c.t.Add(time.Hour)},
		"once":    {Subject: "o"},
	}}
	a, err := New(t.Context(), d, Options{Now: c.now, Entries: entries})
	if err != nil {
		t.Fatal(err)
	}
	return a, d, c
}

func authorization(token string) http.Header { return http.Header{"Authorization": {token}} }

func TestDriverIsGivenOnlyTheHeadersItDeclares(t *testing.T) {
	t.Parallel()
	a, d, _ := newTest(t, 0)
	_, _ = a.Authenticate(t.Context(), http.Header{"Authorization": {"forever"}, "Cookie": {"secret"}, "X-Tenant": {"a", "b"}}, "10.0.0.1")
	want := []driver.AuthenticateRequest{{
		Header:   map[string][]string{"Authorization": {"forever"}, "X-Tenant": {"a", "b"}},
		RemoteIP: "10.0.0.1",
	}}
	if diff := cmp.Diff(want, d.requests); diff != "" {
		t.Error(diff)
	}
}

func TestPrincipalIsRememberedUntilNotAfter(t *testing.T) {
	t.Parallel()
	a, d, c := newTest(t, 0)
	ask := func() {
		t.Helper()
		if p, err := a.Authenticate(t.Context(), authorization("forever"), "ip"); err != nil || p.Subject != "f" {
			t.Fatalf("got %v, %v", p, err)
		}
	}
	ask()
	c.t = c.t.Add(time.Hour - time.Nanosecond)
	ask()
	if d.calls != 1 {
		t.Errorf("the driver was asked %d times before NotAfter, want once", d.calls)
	}
	c.t = c.t.Add(time.Nanosecond)
	ask()
	if d.calls != 2 {
		t.Errorf("the driver was asked %d times after NotAfter, want twice", d.calls)
	}
}

func TestPrincipalWithoutNotAfterIsNotRemembered(t *testing.T) {
	t.Parallel()
	a, d, _ := newTest(t, 0)
	for range 2 {
		if _, err := a.Authenticate(t.Context(), authorization("once"), "ip"); err != nil {
			t.Fatal(err)
		}
	}
	if d.calls != 2 {
		t.Errorf("the driver was asked %d times, want twice", d.calls)
	}
}

func TestRefusalIsRememberedForASecond(t *testing.T) {
	t.Parallel()
	a, d, c := newTest(t, 0)
	for range 3 {
		_, err := a.Authenticate(t.Context(), authorization("bad"), "ip")
		if model.KindOf(err) != model.Unauthenticated || err.Error() != "the token is not known" {
			t.Fatalf("got %v", err)
		}
	}
	if d.calls != 1 {
		t.Errorf("the driver was asked %d times within a second, want once", d.calls)
	}
	c.t = c.t.Add(time.Second)
	d.known["bad"] = driver.Principal{Subject: "b"}
	if _, err := a.Authenticate(t.Context(), authorization("bad"), "ip"); err != nil {
		t.Errorf("after a second: %v", err)
	}
}

func TestFailingDriverRefusesAndIsAskedAgain(t *testing.T) {
	t.Parallel()
	a, d, _ := newTest(t, 0)
	d.err = driver.Errorf(driver.Unavailable, "test", "no connection")
	for range 2 {
		_, err := a.Authenticate(t.Context(), authorization("forever"), "ip")
		var e *driver.Error
		if !errors.As(err, &e) || e.Code != driver.Unavailable {
			t.Fatalf("got %v, want the driver's error", err)
		}
	}
	if d.calls != 2 {
		t.Errorf("a failure was remembered: %d calls", d.calls)
	}
}

func TestDifferentCredentialsNeverShareAnAnswer(t *testing.T) {
	t.Parallel()
	a, _, _ := newTest(t, 0)
	requests := []struct {
		h  http.Header
		ip string
	}{
		{http.Header{}, "ip"},
		{http.Header{"Authorization": {""}}, "ip"},
		{http.Header{"Authorization": {"a"}}, "ip"},
		{http.Header{"Authorization": {"a"}}, "other"},
		{http.Header{"X-Tenant": {"a"}}, "ip"},
		{http.Header{"Authorization": {"a", "b"}}, "ip"},
		{http.Header{"Authorization": {"ab"}}, "ip"},
		{http.Header{"Authorization": {"a"}, "X-Tenant": {"b"}}, "ip"},
	}
	seen := map[[32]byte]int{}
	for i, r := range requests {
		key := a.key(r.h, r.ip)
		if j, dup := seen[key]; dup {
			t.Errorf("requests %d and %d share a key", i, j)
		}
		seen[key] = i
	}
}

func TestMemoryIsBoundedAndRefusalsDoNotPushOutPrincipals(t *testing.T) {
	t.Parallel()
	a, d, _ := newTest(t, 3)
	if _, err := a.Authenticate(t.Context(), authorization("forever"), "ip"); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		_, _ = a.Authenticate(t.Context(), authorization(fmt.Sprint("bad", i)), "ip")
	}
	if n := len(a.refusals.entries); n != 3 {
		t.Errorf("%d refusals are remembered, want 3", n)
	}
	before := d.calls
	if _, err := a.Authenticate(t.Context(), authorization("forever"), "ip"); err != nil || d.calls != before {
		t.Errorf("the principal was forgotten: %v, %d calls", err, d.calls-before)
	}
}

func BenchmarkAuthenticateKnown(b *testing.B) {
	d := &tokens{known: map[string]driver.Principal{"forever": {NotAfter: time.Now().Add(time.Hour)}}}
	a, err := New(b.Context(), d, Options{})
	if err != nil {
		b.Fatal(err)
	}
	h := authorization("forever")
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), h, "10.0.0.1"); err != nil {
			b.Fatal(err)
		}
	}
}
