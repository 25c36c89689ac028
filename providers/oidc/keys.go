package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/pop-platform/pop/plugins/driver"
)

const (
	// keyRefresh is how old keys may be before they are read again, behind the back of whoever needs them.
	keyRefresh = 15 * time.Minute
	// keyLife is how old keys may be while they cannot be read again.
	keyLife = 24 * time.Hour
	// keyInterval is how long nothing is read after an attempt to, whatever ids of keys tokens come with.
	keyInterval = 10 * time.Second
	// keyTimeout is how long an attempt may take.
	keyTimeout = 10 * time.Second

	// minRSABits is the shortest RSA key that is taken.
	minRSABits = 2048
	// maxKeys is how many keys of an issuer are looked at.
	maxKeys = 100
)

// key is a public key, with one of the algorithms that it is for.
type key struct {
	id        string
	name      string // of the algorithm
	algorithm jwa.SignatureAlgorithm
	public    any
}

// keySet remembers the keys of an issuer.
type keySet struct {
	read  func(context.Context) ([]key, error)
	now   func() time.Time
	log   *slog.Logger
	ctx   context.Context // done when closed
	close func()          // and waits for an attempt in flight

	mu     sync.Mutex
	keys   []key
	good   time.Time     // when keys were read
	tried  time.Time     // when it was tried last
	err    error         // of the last attempt
	flight chan struct{} // closed when the attempt in flight ends; nil without one
}

func newKeySet(read func(context.Context) ([]key, error), now func() time.Time, log *slog.Logger) *keySet {
	ctx, cancel := context.WithCancel(context.Background())
	s := &keySet{read: read, now: now, log: log, ctx: ctx}
	s.close = func() {
		cancel()
		s.mu.Lock()
		flight := s.flight
		s.mu.Unlock()
		if flight != nil {
			<-flight
		}
	}
	return s
}

// warm begins to read the keys.
func (s *keySet) warm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start(s.now())
}

// find returns the keys that may have made a signature. Most calls are answered from memory. A key that is not there may be new:
// then they are read again, if that was not tried a moment ago.
func (s *keySet) find(ctx context.Context, id, algorithm string) ([]key, error) {
	s.mu.Lock()
	now := s.now()
	if found := s.lookup(id, algorithm, now); len(found) > 0 {
		if now.Sub(s.good) >= keyRefresh {
			s.start(now)
		}
		s.mu.Unlock()
		return found, nil
	}
	flight := s.start(now)
	s.mu.Unlock()

	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.lookup(id, algorithm, now)
	switch {
	case len(found) > 0:
		return found, nil
	case s.err != nil: // the key may be one that could not be read
		return nil, &driver.Error{
			Code: driver.Unavailable, Message: "the keys of the token's issuer cannot be read at the moment", RetryAfter: keyInterval, Err: s.err,
		}
	}
	return nil, refusal("the token is signed with a key that its issuer does not publish")
}

// lookup returns the keys with an id. A token need not name its key, if there is one only.
func (s *keySet) lookup(id, algorithm string, now time.Time) []key {
	if !s.inForce(now) {
		return nil
	}
	var found []key
	for _, k := range s.keys {
		if k.name == algorithm && (k.id == id || id == "") {
			found = append(found, k)
		}
	}
	if id == "" && len(found) > 1 {
		return nil
	}
	return found
}

// inForce reports whether there are keys that are not too old.
func (s *keySet) inForce(now time.Time) bool { return !s.good.IsZero() && now.Sub(s.good) < keyLife }

// start begins to read the keys, unless that was tried a moment ago. It returns what is closed when the attempt in flight ends,
// and nil if there is none. An attempt does not end with the request that caused it: who hangs up could keep others from keys.
func (s *keySet) start(now time.Time) chan struct{} {
	switch {
	case s.flight != nil:
		return s.flight
	case s.ctx.Err() != nil, !s.tried.IsZero() && now.Sub(s.tried).Abs() < keyInterval:
		return nil
	}
	s.tried = now
	flight := make(chan struct{})
	s.flight = flight
	go func() {
		defer close(flight)
		ctx, cancel := context.WithTimeout(s.ctx, keyTimeout)
		defer cancel()
		keys, err := s.read(ctx)
		s.done(keys, err, now)
	}()
	return flight
}

// done takes in the result of an attempt.
func (s *keySet) done(keys []key, err error, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	before := s.err
	s.err = err
	switch {
	case err == nil:
		s.keys, s.good = keys, now
		if before != nil {
			s.log.Info("the issuer's keys can be read again", "keys", len(keys))
		}
	case s.ctx.Err() != nil || before != nil: // said already
	case s.good.IsZero():
		s.log.Error("the issuer's keys cannot be read: its tokens are not taken until they can", "error", err)
	default:
		s.log.Warn("the issuer's keys cannot be read again: those that are known stay in force for a while",
			"error", err, "until", s.good.Add(keyLife).UTC())
	}
}

// check returns why there are no keys to verify tokens with. It tries to read them if there are none.
func (s *keySet) check(ctx context.Context) error {
	s.mu.Lock()
	now := s.now()
	if s.inForce(now) {
		s.mu.Unlock()
		return nil
	}
	flight := s.start(now)
	s.mu.Unlock()
	if flight != nil {
		select {
		case <-flight:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// parseKeys reads a JSON Web Key Set. What cannot sign tokens of ours is left out: symmetric keys, which would make whoever can
// read them an issuer, weak ones, those for encryption, and kinds that are not known here.
func parseKeys(text []byte) ([]key, error) {
	set, err := jwk.Parse(text, jwk.WithIgnoreParseError(true))
	if err != nil {
		return nil, fmt.Errorf("not a JSON Web Key Set: %w", err)
	}
	var keys []key
	for i := range min(set.Len(), maxKeys) {
		if k, ok := set.Key(i); ok {
			keys = append(keys, usable(k)...)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no public key that can be used for signatures")
	}
	return keys, nil
}

// usable returns a key once for each algorithm that it may be used with.
func usable(k jwk.Key) []key {
	if use, there := k.KeyUsage(); there && use != "" && use != "sig" {
		return nil
	}
	public, err := k.PublicKey()
	if err != nil {
		return nil
	}
	var raw any
	if err := jwk.Export(public, &raw); err != nil {
		return nil
	}
	id, _ := k.KeyID()
	declared, _ := k.Algorithm()
	var keys []key
	for _, name := range algorithmsOf(raw) {
		if declared != nil && declared.String() != "" && declared.String() != name {
			continue
		}
		algorithm, known := jwa.LookupSignatureAlgorithm(name)
		if known {
			keys = append(keys, key{id: id, name: name, algorithm: algorithm, public: raw})
		}
	}
	return keys
}

// algorithms are the names of all algorithms that signatures may be of. Those with a shared secret, and none, are not among them.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func algorithmsOf(public any) []string {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSABits {
			return nil
		}
		return algorithms[:6]
	case *ecdsa.PublicKey:
		switch k.Curve.Params().Name {
		case "P-256":
			return []string{"ES256"}
		case "P-384":
			return []string{"ES384"}
		case "P-521":
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}
