package authz

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

const (
	// refusalTTL is how long a refusal is remembered, so that a caller that hammers with bad credentials costs little.
	refusalTTL = time.Second
	// defaultEntries is how many principals, and as many refusals, are remembered.
	defaultEntries = 10_000
)

// Authorizer authenticates callers through a driver and remembers the answers for as long as the driver allows. It is safe for
// concurrent use.
type Authorizer struct {
	driver  driver.Authorizer
	headers []string
	caps    driver.AuthorizerCapabilities
	now     func() time.Time

	mu         sync.Mutex
	principals cache[driver.Principal]
	refusals   cache[*model.Error]
}

// Options are the optional parts of an [Authorizer].
type Options struct {
	Now     func() time.Time // default time.Now
	Entries int              // principals that are remembered at most; default 10,000
}

// New asks the driver which headers it reads.
func New(ctx context.Context, d driver.Authorizer, o Options) (*Authorizer, error) {
	caps, err := d.Capabilities(ctx)
	if err != nil {
		return nil, fmt.Errorf("authorizer: capabilities: %w", err)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Entries <= 0 {
		o.Entries = defaultEntries
	}
	a := &Authorizer{driver: d, caps: caps, now: o.Now}
	for _, name := range caps.Headers {
		a.headers = append(a.headers, http.CanonicalHeaderKey(name))
	}
	a.principals, a.refusals = newCache[driver.Principal](o.Entries), newCache[*model.Error](o.Entries)
	return a, nil
}

// Challenge returns the value of WWW-Authenticate on a refusal, "" for none.
func (a *Authorizer) Challenge() string { return a.caps.Challenge }

// Authenticate says who sent a request. Refused credentials are a [model.Unauthenticated] error. Any error means that the
// request must be refused.
func (a *Authorizer) Authenticate(ctx context.Context, header http.Header, remoteIP string) (driver.Principal, error) {
	key, now := a.key(header, remoteIP), a.now()
	a.mu.Lock()
	p, known := a.principals.get(key, now)
	refusal, refused := a.refusals.get(key, now)
	a.mu.Unlock()
	switch {
	case known:
		return p, nil
	case refused:
		return driver.Principal{}, refusal
	}

	req := driver.AuthenticateRequest{Header: map[string][]string{}, RemoteIP: remoteIP}
	for _, name := range a.headers {
		if values := header[name]; len(values) > 0 {
			req.Header[name] = values
		}
	}
	p, err := a.driver.Authenticate(ctx, req)
	switch {
	case err == nil:
		if p.NotAfter.After(now) {
			a.mu.Lock()
			a.principals.put(key, p, p.NotAfter)
			a.mu.Unlock()
		}
		return p, nil
	case driver.CodeOf(err) == driver.Unauthenticated:
		refusal = &model.Error{Kind: model.Unauthenticated, Detail: refusalText(err)}
		a.mu.Lock()
		a.refusals.put(key, refusal, now.Add(refusalTTL))
		a.mu.Unlock()
		return driver.Principal{}, refusal
	default:
		return driver.Principal{}, fmt.Errorf("authenticate: %w", err)
	}
}

// refusalText is the part of a refusal that is meant for the caller.
func refusalText(err error) string {
	var e *driver.Error
	if errors.As(err, &e) && e.Message != "" {
		return e.Message
	}
	return "the credentials are missing or not known"
}

// key returns a digest of all that the driver's answer may depend on. Every value is preceded by its length, so that no two
// requests share a key.
func (a *Authorizer) key(header http.Header, remoteIP string) [sha256.Size]byte {
	buf := make([]byte, 0, 256)
	add := func(s string) {
		buf = binary.AppendUvarint(buf, uint64(len(s)))
		buf = append(buf, s...)
	}
	add(remoteIP)
	for _, name := range a.headers {
		values := header[name]
		buf = binary.AppendUvarint(buf, uint64(len(values)))
		for _, v := range values {
			add(v)
		}
	}
	return sha256.Sum256(buf)
}

// cache remembers values until they expire, at most a given number of them. Its owner guards it.
type cache[V any] struct {
	size    int
	entries map[[sha256.Size]byte]cached[V]
}

type cached[V any] struct {
	value V
	until time.Time
}

func newCache[V any](size int) cache[V] {
	return cache[V]{size: size, entries: map[[sha256.Size]byte]cached[V]{}}
}

func (c *cache[V]) get(key [sha256.Size]byte, now time.Time) (V, bool) {
	entry, ok := c.entries[key]
	if ok && !now.Before(entry.until) {
		delete(c.entries, key)
		entry, ok = cached[V]{}, false
	}
	return entry.value, ok
}

// put makes room by dropping any entry: that costs one more call of the driver, whichever it is.
func (c *cache[V]) put(key [sha256.Size]byte, value V, until time.Time) {
	if _, there := c.entries[key]; !there && len(c.entries) >= c.size {
		for victim := range c.entries {
			delete(c.entries, victim)
			break
		}
	}
	c.entries[key] = cached[V]{value, until}
}
