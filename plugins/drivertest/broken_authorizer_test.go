package drivertest_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

// authorizerFlaw is what is wrong with an authorizer.
type authorizerFlaw struct {
	clause       string
	also, may    []string
	capabilities func(driver.AuthorizerCapabilities) driver.AuthorizerCapabilities
	hooks        func() authorizerHooks              // for each authorizer
	harness      func(*drivertest.AuthorizerHarness) // what it is taken to be
}

type authorizerHooks struct {
	authenticate hook[driver.AuthenticateRequest, driver.Principal]
	close        func(ctx context.Context, next func(context.Context) error) error
}

func (f authorizerFlaw) run(t *testing.T) {
	h := memAuthorizers()
	open := h.Open
	h.Open = func(t *testing.T) driver.Authorizer {
		var hooks authorizerHooks
		if f.hooks != nil {
			hooks = f.hooks()
		}
		return &hookedAuthorizer{open(t), f.capabilities, hooks}
	}
	if f.harness != nil {
		f.harness(&h)
	}
	drivertest.RunAuthorizer(t, h)
}

// hookedAuthorizer is an authorizer with hooks before its methods.
type hookedAuthorizer struct {
	driver.Authorizer
	capabilities func(driver.AuthorizerCapabilities) driver.AuthorizerCapabilities
	hooks        authorizerHooks
}

func (a *hookedAuthorizer) Capabilities(ctx context.Context) (driver.AuthorizerCapabilities, error) {
	caps, err := a.Authorizer.Capabilities(ctx)
	if a.capabilities != nil {
		caps = a.capabilities(caps)
	}
	return caps, err
}

func (a *hookedAuthorizer) Authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	return a.hooks.authenticate.call(ctx, req, a.Authorizer.Authenticate)
}

func (a *hookedAuthorizer) Close(ctx context.Context) error {
	if a.hooks.close != nil {
		return a.hooks.close(ctx, a.Authorizer.Close)
	}
	return a.Authorizer.Close(ctx)
}

type authenticator = func(context.Context, driver.AuthenticateRequest) (driver.Principal, error)

var brokenAuthorizers = map[string]authorizerFlaw{
	"names a header as it likes": {
		clause: "capabilities are the declared ones, with canonical headers",
		capabilities: func(c driver.AuthorizerCapabilities) driver.AuthorizerCapabilities {
			c.Headers = []string{"authorization"}
			return c
		},
	},
	"forgets roles after a while": {
		clause: "known callers are who they are, time and again",
		may:    []string{"many calls at once do not get in each other's way"},
		hooks: func() authorizerHooks {
			var known, refused atomic.Int64
			return authorizerHooks{authenticate: func(ctx context.Context, req driver.AuthenticateRequest, next authenticator) (driver.Principal, error) {
				p, err := next(ctx, req)
				if err != nil {
					refused.Add(1)
				} else if known.Add(1) > 10 && refused.Load() == 0 {
					p.Roles = nil
				}
				return p, err
			}}
		},
	},
	"names customers in any order": {
		clause: "customers are in lower case, sorted and once",
		hooks: func() authorizerHooks {
			return authorizerHooks{authenticate: after(func(_ driver.AuthenticateRequest, p *driver.Principal) { slices.Reverse(p.Customers) })}
		},
		harness: func(h *drivertest.AuthorizerHarness) {
			for _, caller := range h.Known {
				slices.Reverse(caller.Want.Customers)
			}
		},
	},
	"looks at a header that it does not declare": {
		clause: "only declared headers are looked at",
		hooks: func() authorizerHooks {
			return authorizerHooks{authenticate: refusing[driver.AuthenticateRequest, driver.Principal](func(req driver.AuthenticateRequest) error {
				if req.Header["X-Not-Declared"] != nil {
					return driver.Errorf(driver.Unauthenticated, "authenticate", "what is that?")
				}
				return nil
			})}
		},
	},
	"is confused by an empty header": {
		clause: "a request without credentials is refused",
		hooks: func() authorizerHooks {
			return authorizerHooks{authenticate: refusing[driver.AuthenticateRequest, driver.Principal](func(req driver.AuthenticateRequest) error {
				if slices.Equal(req.Header["Authorization"], []string{""}) {
					return driver.Errorf(driver.Internal, "authenticate", "index out of range")
				}
				return nil
			})}
		},
	},
	"repeats what it refuses": {
		clause: "bad credentials are refused, and not repeated in the message",
		also:   []string{"many calls at once do not get in each other's way"},
		hooks: func() authorizerHooks {
			return authorizerHooks{authenticate: func(ctx context.Context, req driver.AuthenticateRequest, next authenticator) (driver.Principal, error) {
				p, err := next(ctx, req)
				if driver.CodeOf(err) == driver.Unauthenticated && err != nil {
					err = driver.Errorf(driver.Unauthenticated, "authenticate", "not known: %s", req.Header["Authorization"])
				}
				return p, err
			}}
		},
	},
	"hands out its own memory": {
		clause: "values belong to the caller after the call",
		hooks: func() authorizerHooks {
			var mine sync.Map
			return authorizerHooks{authenticate: after(func(_ driver.AuthenticateRequest, p *driver.Principal) {
				first, _ := mine.LoadOrStore(p.Subject, *p)
				*p = first.(driver.Principal)
			})}
		},
	},
	"mixes up calls that meet": {
		clause: "many calls at once do not get in each other's way",
		hooks: func() authorizerHooks {
			var calls atomic.Int64
			return authorizerHooks{authenticate: func(ctx context.Context, req driver.AuthenticateRequest, next authenticator) (driver.Principal, error) {
				alone := calls.Add(1) == 1
				defer calls.Add(-1)
				<-time.After(time.Millisecond)
				p, err := next(ctx, req)
				if !alone && err == nil {
					p.Subject = "somebody else"
				}
				return p, err
			}}
		},
	},
	"ignores its context": {
		clause: "a context that is done stops Authenticate",
		hooks: func() authorizerHooks {
			return authorizerHooks{authenticate: func(ctx context.Context, req driver.AuthenticateRequest, next authenticator) (driver.Principal, error) {
				return next(context.WithoutCancel(ctx), req)
			}}
		},
	},
	"works after Close": {
		clause: "after Close Authenticate is Unavailable, and Close is idempotent",
		hooks: func() authorizerHooks {
			return authorizerHooks{close: func(context.Context, func(context.Context) error) error { return nil }}
		},
	},
	"leaves a goroutine": {
		clause: "Close leaves no goroutine",
		hooks: func() authorizerHooks {
			return authorizerHooks{close: func(ctx context.Context, next func(context.Context) error) error {
				go func() { select {} }()
				return next(ctx)
			}}
		},
	},
}
