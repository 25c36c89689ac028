package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// tokenTimeout is how long a source may take.
	tokenTimeout = time.Minute
	// tokenMargin is how long before its end a token is replaced, if it lives long enough.
	tokenMargin = time.Minute
	// tokenPause is how long a source is left alone after it was asked to replace a token, if there is one that could be sent.
	tokenPause = 5 * time.Second
)

// Token is what a client authenticates with.
type Token struct {
	Value  string
	Expiry time.Time // when it ceases to be good; zero if that is not known
}

// TokenSource returns a token that is good now. The client keeps it until shortly before its end, or until the server refuses
// it, and asks once however many calls are waiting. It must not remember tokens itself: after a refusal it is asked for another.
type TokenSource func(ctx context.Context) (Token, error)

// checkToken returns an error if a token could not be sent.
func checkToken(value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token holds a blank, a line break or a character outside of ASCII, as no token does")
	}
	return nil
}

// tokens remembers the token of a source.
type tokens struct {
	source TokenSource

	mu     sync.Mutex
	token  Token
	renew  time.Time     // when to replace the token; zero for not until it is refused
	again  time.Time     // when a token that could be sent may be replaced next
	err    error         // of the last answer
	flight chan struct{} // closed when the source answers; nil if it is not being asked
}

// get returns a token other than the one that the server has refused; "" refused means any. It returns the refused one if the
// source has no other.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	now := time.Now()
	if t.good(now) {
		wanted := t.token.Value == refused || !t.renew.IsZero() && !now.Before(t.renew)
		if wanted && t.flight == nil && !now.Before(t.again) {
			t.again = now.Add(tokenPause)
			t.ask(now)
		}
		if t.token.Value != refused || t.flight == nil {
			defer t.mu.Unlock()
			return t.token.Value, nil
		}
	}
	flight := t.ask(now)
	t.mu.Unlock()

	select {
	case <-flight:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil && !t.good(now) {
		return "", fmt.Errorf("get a token: %w", t.err)
	}
	return t.token.Value, nil
}

func (t *tokens) good(now time.Time) bool {
	return t.token.Value != "" && (t.token.Expiry.IsZero() || now.Before(t.token.Expiry))
}

// ask begins to ask the source, unless that is going on. It does not end with the call that made it: that one may have less time
// than a source needs, again and again.
func (t *tokens) ask(now time.Time) chan struct{} {
	if t.flight != nil {
		return t.flight
	}
	flight := make(chan struct{})
	t.flight = flight
	go func() {
		defer close(flight)
		ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
		defer cancel()
		token, err := t.source(ctx)
		switch {
		case err != nil:
		case token.Value == "":
			err = errors.New("the token is empty")
		default:
			err = checkToken(token.Value)
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.flight, t.err = nil, err
		if err != nil {
			return
		}
		if !token.Expiry.After(now) {
			token.Expiry = time.Time{} // a clock is wrong; the server decides, and the source is not asked for every call
		}
		t.token, t.renew = token, time.Time{}
		if !token.Expiry.IsZero() {
			t.renew = token.Expiry.Add(-min(tokenMargin, token.Expiry.Sub(now)/4))
		}
	}()
	return flight
}
