package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// tokenServer is a transport in front of a server that takes some tokens.
type tokenServer struct {
	accepts func(token string) bool
	mu      sync.Mutex
	got     []string // tokens
	bodies  []string
}

func (s *tokenServer) RoundTrip(req *http.Request) (*http.Response, error) {
	token := strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, token)
	if req.Body != nil {
		buf := make([]byte, 1000)
		n, _ := req.Body.Read(buf)
		s.bodies = append(s.bodies, string(buf[:n]))
	}
	if s.accepts(token) {
		return ok(`{}`)(req)
	}
	return answer(401, wire.ContentTypeProblem, `{"type":"urn:pop:problem:unauthenticated","status":401,"detail":"the token has expired"}`)(req)
}

// numbered is a source that gives the tokens t1, t2, ..., each good for a while.
type numbered struct {
	life  time.Duration // 0 if they do not say
	takes time.Duration
	err   atomic.Pointer[error]
	calls atomic.Int64
}

func (n *numbered) token(ctx context.Context) (Token, error) {
	i := n.calls.Add(1)
	select {
	case <-time.After(n.takes):
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
	if err := n.err.Load(); err != nil {
		return Token{}, *err
	}
	t := Token{Value: fmt.Sprint("t", i)}
	if n.life > 0 {
		t.Expiry = time.Now().Add(n.life)
	}
	return t, nil
}

func (n *numbered) fail(err error) { n.err.Store(&err) }

func withTokens(t *testing.T, s *tokenServer, source TokenSource) *Client {
	t.Helper()
	c, err := New("http://pop.test", Options{HTTPClient: &http.Client{Transport: s}, Tokens: source})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pass lets time go by in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func anyToken(string) bool { return true }

func read(ctx context.Context, c *Client) error {
	_, err := c.Link(ctx, "x")
	return err
}

func TestATokenIsKeptUntilShortlyBeforeItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: anyToken}, &numbered{life: time.Hour}
		c := withTokens(t, s, source.token)
		call := func(want string) {
			t.Helper()
			if err := read(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got := s.got[len(s.got)-1]; got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
			synctest.Wait()
		}
		for range 10 {
			call("t1")
		}
		pass(59*time.Minute - time.Second)
		call("t1")
		if n := source.calls.Load(); n != 1 {
			t.Errorf("the source was asked %d times, want once", n)
		}
		pass(time.Second)
		call("t1") // and has the next one fetched behind its back
		call("t2")
		if n := source.calls.Load(); n != 2 {
			t.Errorf("the source was asked %d times, want twice", n)
		}
	})
}

func TestAShortTokenIsReplacedInTheLastQuarterOfItsLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: anyToken}, &numbered{life: time.Minute}
		c := withTokens(t, s, source.token)
		for range 600 {
			if err := read(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			pass(time.Second)
		}
		if n := source.calls.Load(); n < 10 || n > 14 {
			t.Errorf("the source was asked %d times in ten minutes, want about every 45 s", n)
		}
	})
}

func TestARefusedTokenIsReplacedAndTheCallRepeatedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: func(token string) bool { return token != "t1" }}, &numbered{}
		c := withTokens(t, s, source.token)
		if _, err := c.Pull(t.Context(), model.PullRequest{InsightID: "i"}); err != nil { // which is not repeated otherwise
			t.Fatal(err)
		}
		if got := strings.Join(s.got, " "); got != "t1 t2" {
			t.Errorf("sent the tokens %q, want t1 t2", got)
		}
		if len(s.bodies) != 2 || s.bodies[0] != s.bodies[1] || s.bodies[0] == "" {
			t.Errorf("the call was repeated with another body: %q", s.bodies)
		}
	})
}

func TestAServerThatRefusesEveryTokenIsNotAskedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: func(string) bool { return false }}, &numbered{}
		c := withTokens(t, s, source.token)
		for range 100 {
			if err := read(t.Context(), c); model.KindOf(err) != model.Unauthenticated {
				t.Fatalf("error %v, want the server's", err)
			}
		}
		if n := source.calls.Load(); n > 2 {
			t.Errorf("the source was asked %d times within %s, want twice", n, tokenPause)
		}
		if n := len(s.got); n != 101 {
			t.Errorf("the server was called %d times, want once for each call and once more with the second token", n)
		}
	})
}

func TestManyCallsAskTheSourceOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: func(token string) bool { return token == "t2" }}, &numbered{takes: time.Second}
		c := withTokens(t, s, source.token)
		var calls sync.WaitGroup
		for range 100 {
			calls.Go(func() {
				if err := read(t.Context(), c); err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if n := source.calls.Load(); n != 2 {
			t.Errorf("the source was asked %d times, want once at first and once after the refusal", n)
		}
	})
}

func TestASourceThatFailsIsNoMatterWhileTheTokenIsGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: anyToken}, &numbered{life: time.Hour}
		c := withTokens(t, s, source.token)
		if err := read(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		failure := errors.New("no network")
		source.fail(failure)
		for range 29 {
			pass(2 * time.Minute)
			if err := read(t.Context(), c); err != nil {
				t.Fatalf("while the token is good: %v", err)
			}
			synctest.Wait()
		}
		pass(2 * time.Minute)
		if err := read(t.Context(), c); !errors.Is(err, failure) || errors.Is(err, ErrUnreachable) {
			t.Errorf("error %v, want the source's", err)
		}
	})
}

func TestACallerWithLittleTimeDoesNotCutTheSourceShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: anyToken}, &numbered{takes: 10 * time.Second}
		c := withTokens(t, s, source.token)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := read(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want that of the context", err)
		}
		pass(9 * time.Second)
		synctest.Wait()
		if err := read(t.Context(), c); err != nil || source.calls.Load() != 1 {
			t.Errorf("error %v after %d calls of the source", err, source.calls.Load())
		}
	})
}

func TestAClockThatIsAheadDoesNotAskTheSourceForEveryCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, source := &tokenServer{accepts: anyToken}, &numbered{life: time.Nanosecond}
		c := withTokens(t, s, func(ctx context.Context) (Token, error) {
			token, err := source.token(ctx)
			token.Expiry = time.Now().Add(-time.Hour)
			return token, err
		})
		for range 10 {
			if err := read(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		if n := source.calls.Load(); n != 1 {
			t.Errorf("the source was asked %d times, want once", n)
		}
	})
}

func TestATokenThatCannotBeSentIsAnErrorThatDoesNotShowIt(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"empty": "", "two lines": "secret\nsecond", "not ASCII": "sécret"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := withTokens(t, &tokenServer{accepts: anyToken}, func(context.Context) (Token, error) { return Token{Value: value}, nil })
			err := read(t.Context(), c)
			if err == nil || strings.Contains(err.Error(), "cret") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCallsThatNeedNoTokenSendNone(t *testing.T) {
	t.Parallel()
	s := &tokenServer{accepts: anyToken}
	c := withTokens(t, s, func(context.Context) (Token, error) { return Token{}, errors.New("no token") })
	if _, err := c.Version(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(s.got, ""); got != "" {
		t.Errorf("sent %q", got)
	}
}
