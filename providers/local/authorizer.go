package local

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// AuthorizerOptions configure an [Authorizer].
type AuthorizerOptions struct {
	// File holds the tokens, in YAML or JSON:
	//
	//	tokens:
	//	- token: sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08   # see HashToken
	//	  subject: alice
	//	  customers: [acme]
	//	  roles: [read, submit]             # of read, submit, operate and pull
	//	  global: false                     # true: acts for every customer
	//	  notAfter: 2030-01-01T00:00:00Z    # optional
	File string

	// Logger takes what an operator should know. The default drops it.
	Logger *slog.Logger

	// Now is the clock that decides which tokens have expired. The default is [time.Now].
	Now func() time.Time
}

const (
	// tokenCheck is how often the file is looked at for changes, at most.
	tokenCheck = time.Second

	// tokenTrust is how long the core may go on with a principal before it asks again.
	tokenTrust = 5 * time.Second
)

// Authorizer is a [driver.Authorizer] that reads tokens from a file, and reads it again when it changes. A file that can't
// be read then is logged and changes nothing.
type Authorizer struct {
	opts   AuthorizerOptions
	closed atomic.Bool

	tokens atomic.Pointer[tokenTable]
	next   atomic.Int64 // when to look at the file again, in nanoseconds since 1970

	mu   sync.Mutex  // held while looking
	seen os.FileInfo // of the file when it was last read; nil if it couldn't be
}

// NewAuthorizer returns an authorizer with the tokens of a file. The error for a bad file names the path and the field.
func NewAuthorizer(opts AuthorizerOptions) (*Authorizer, error) {
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.Now == nil {
		opts.Now = time.Now
	}
	a := &Authorizer{opts: opts}
	if err := a.read(); err != nil {
		return nil, &driver.Error{Code: driver.Invalid, Op: "local: open authorizer", Message: err.Error(), Err: err}
	}
	a.next.Store(opts.Now().Add(tokenCheck).UnixNano())
	return a, nil
}

// Capabilities implements [driver.Authorizer].
func (a *Authorizer) Capabilities(context.Context) (driver.AuthorizerCapabilities, error) {
	return authorizerCapabilities(), nil
}

func authorizerCapabilities() driver.AuthorizerCapabilities {
	return driver.AuthorizerCapabilities{Headers: []string{"Authorization"}, Challenge: "Bearer"}
}

// Authenticate implements [driver.Authorizer].
func (a *Authorizer) Authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	const op = "local: authenticate"
	if err := ctx.Err(); err != nil {
		return driver.Principal{}, fmt.Errorf("%s: %w", op, err)
	}
	if a.closed.Load() {
		return driver.Principal{}, driver.Errorf(driver.Unavailable, op, "the authorizer is closed")
	}
	now := a.opts.Now()
	a.refresh(now)

	values := req.Header["Authorization"]
	if len(values) != 1 {
		return driver.Principal{}, driver.Errorf(driver.Unauthenticated, op, "send one Authorization header: Bearer and a token")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return driver.Principal{}, driver.Errorf(driver.Unauthenticated, op, "the Authorization header must be Bearer and a token")
	}
	p, ok := a.tokens.Load().find(token)
	if !ok {
		return driver.Principal{}, driver.Errorf(driver.Unauthenticated, op, "the bearer token is not known")
	}
	trust := now.Add(tokenTrust)
	if !p.NotAfter.IsZero() && !now.Before(p.NotAfter) {
		return driver.Principal{}, driver.Errorf(driver.Unauthenticated, op, "the bearer token has expired")
	}
	if p.NotAfter.IsZero() || trust.Before(p.NotAfter) {
		p.NotAfter = trust
	}
	return p, nil
}

// Close implements [driver.Authorizer].
func (a *Authorizer) Close(context.Context) error {
	a.closed.Store(true)
	return nil
}

// refresh reads the file again if it has changed, and looks once in a while. Whoever looks does so for all.
func (a *Authorizer) refresh(now time.Time) {
	next := a.next.Load()
	if now.UnixNano() < next || !a.next.CompareAndSwap(next, now.Add(tokenCheck).UnixNano()) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	info, err := os.Stat(a.opts.File)
	switch {
	case err == nil && a.seen != nil && os.SameFile(info, a.seen) && info.Size() == a.seen.Size() && info.ModTime().Equal(a.seen.ModTime()):
		return
	case err != nil && a.seen == nil:
		return // and was logged
	}
	if err := a.read(); err != nil {
		a.opts.Logger.Error("the tokens could not be read again, those read before stay in force", "error", err)
		return
	}
	a.opts.Logger.Info("the tokens were read again", "file", a.opts.File)
}

// read takes the tokens of the file. With an error it keeps those it has.
func (a *Authorizer) read() error {
	a.seen = nil
	info, err := os.Stat(a.opts.File)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(a.opts.File)
	if err != nil {
		return err
	}
	a.seen = info // older than text, if anything: a change in between is seen the next time
	tokens, err := parseTokens(text)
	if err != nil {
		return fmt.Errorf("%s: %w", a.opts.File, err)
	}
	a.tokens.Store(tokens)
	return nil
}
