package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// trust is how long the core may go on with a principal before it asks again, if its token is good for so long.
const trust = 5 * time.Minute

// Options are the optional parts of an [Authorizer].
type Options struct {
	// Logger takes what an operator should know. The default drops it.
	Logger *slog.Logger

	// Now is the clock that decides which tokens have expired and how old keys are. The default is [time.Now].
	Now func() time.Time
}

// Authorizer is a [driver.Authorizer] that verifies tokens of the issuers of a [Config]. It begins to read their keys when it is
// opened, and does not wait: an issuer that is away keeps nobody from starting.
type Authorizer struct {
	issuers map[string]*issuer // by the claim iss
	now     func() time.Time
	closed  atomic.Bool
}

// issuer is one that tokens are taken from.
type issuer struct {
	Issuer
	keys *keySet
}

// New returns an authorizer. The error for a bad configuration is a [ConfigError].
func New(cfg Config, o Options) (*Authorizer, error) {
	const op = "oidc: open authorizer"
	if problems := cfg.problems(); len(problems) > 0 {
		return nil, &driver.Error{Code: driver.Invalid, Op: op, Message: problems.Error(), Err: problems}
	}
	log := cmp.Or(o.Logger, slog.New(slog.DiscardHandler))
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Authorizer{issuers: map[string]*issuer{}, now: o.Now}
	for i, conf := range cfg.Issuers {
		source, err := newSource(conf)
		if err != nil {
			problems := ConfigError{{Path: fmt.Sprintf("issuers[%d].caFile", i), Message: err.Error()}}
			return nil, &driver.Error{Code: driver.Invalid, Op: op, Message: problems.Error(), Err: problems}
		}
		a.issuers[conf.URL] = &issuer{Issuer: conf, keys: newKeySet(source.read, o.Now, log.With("issuer", conf.Name))}
	}
	for _, iss := range a.issuers {
		iss.keys.warm()
	}
	return a, nil
}

// Capabilities implements [driver.Authorizer].
func (a *Authorizer) Capabilities(context.Context) (driver.AuthorizerCapabilities, error) {
	return driver.AuthorizerCapabilities{Headers: []string{"Authorization"}, Challenge: "Bearer"}, nil
}

// Authenticate implements [driver.Authorizer].
func (a *Authorizer) Authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	const op = "oidc: authenticate"
	if err := ctx.Err(); err != nil {
		return driver.Principal{}, fmt.Errorf("%s: %w", op, err)
	}
	if a.closed.Load() {
		return driver.Principal{}, driver.Errorf(driver.Unavailable, op, "the authorizer is closed")
	}
	p, err := a.authenticate(ctx, req)
	var why refusal
	switch {
	case errors.As(err, &why):
		return driver.Principal{}, driver.Errorf(driver.Unauthenticated, op, "%s", string(why))
	case err != nil:
		return driver.Principal{}, fmt.Errorf("%s: %w", op, err)
	}
	return p, nil
}

func (a *Authorizer) authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	values := req.Header["Authorization"]
	if len(values) != 1 {
		return driver.Principal{}, refusal("send one Authorization header: Bearer and a token")
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return driver.Principal{}, refusal("the Authorization header must be Bearer and a token")
	}
	token, err := parseToken(text)
	if err != nil {
		return driver.Principal{}, err
	}
	// The token says which issuer it is from, but only those of the configuration can be found.
	iss, known := a.issuers[token.claims.text("iss")]
	if !known {
		return driver.Principal{}, refusal("the token is of an issuer that is not trusted here")
	}
	if err := iss.admits(token.header); err != nil {
		return driver.Principal{}, err
	}
	keys, err := iss.keys.find(ctx, token.header.KeyID, token.header.Algorithm)
	if err != nil {
		return driver.Principal{}, err
	}
	if err := token.verify(keys); err != nil {
		return driver.Principal{}, err
	}
	now := a.now()
	expires, err := iss.check(token.claims, now)
	if err != nil {
		return driver.Principal{}, err
	}
	p := iss.principal(token.claims)
	p.Subject = iss.Name + ":" + token.claims.text("sub") // a subject is unique within its issuer only, and names hold no colon
	p.NotAfter = now.Add(trust)
	if expires.Before(p.NotAfter) {
		p.NotAfter = expires
	}
	return p, nil
}

// CheckHealth returns an error if there is an issuer whose tokens can't be verified now, and says why. Keys that were read before
// are good enough: an issuer that is away for a while keeps nobody from being served.
func (a *Authorizer) CheckHealth(ctx context.Context) error {
	var errs []error
	for _, iss := range a.issuers {
		if err := iss.keys.check(ctx); err != nil {
			errs = append(errs, fmt.Errorf("the keys of issuer %q cannot be read: %w", iss.Name, err))
		}
	}
	if len(errs) == 0 {
		return nil
	}
	err := errors.Join(errs...)
	return &driver.Error{Code: driver.Unavailable, Op: "oidc: check health", Message: err.Error(), Err: err}
}

// Close implements [driver.Authorizer].
func (a *Authorizer) Close(context.Context) error {
	a.closed.Store(true)
	for _, iss := range a.issuers {
		iss.keys.close()
	}
	return nil
}
