package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
)

var _ pool.API = (*Client)(nil)

// script is a transport that answers with one function after the other, the last one again and again.
type script struct {
	answers []func(*http.Request) (*http.Response, error)
	calls   atomic.Int64
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	n := int(s.calls.Add(1)) - 1
	return s.answers[min(n, len(s.answers)-1)](req)
}

func answer(status int, contentType, body string, headers ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {contentType}}
		for i := 0; i < len(headers); i += 2 {
			h.Set(headers[i], headers[i+1])
		}
		return &http.Response{
			StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)),
			Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: req,
		}, nil
	}
}

func ok(body string) func(*http.Request) (*http.Response, error) {
	return answer(200, "application/json", body)
}

func busy(headers ...string) func(*http.Request) (*http.Response, error) {
	return answer(503, wire.ContentTypeProblem, `{"type":"urn:pop:problem:unavailable","status":503,"detail":"busy"}`, headers...)
}

func broken(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }

func failing(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func TestAnAttemptThatMayHaveReachedTheServerIsNotForgotten(t *testing.T) {
	t.Parallel()
	lost, refused := failing(io.EOF), failing(syscall.ECONNREFUSED)
	submit := func(ctx context.Context, c *Client) error {
		_, err := c.Submit(ctx, model.Agenda{}, "key")
		return err
	}
	read := func(ctx context.Context, c *Client) error {
		_, err := c.Agenda(ctx, "a")
		return err
	}
	for name, tt := range map[string]struct {
		answers []func(*http.Request) (*http.Response, error)
		call    func(context.Context, *Client) error
		sent    bool
	}{
		"nothing listens":                         {[]func(*http.Request) (*http.Response, error){refused}, submit, false},
		"an answer is lost, then nothing listens": {[]func(*http.Request) (*http.Response, error){lost, refused}, submit, true},
		"an answer is lost, then it is busy":      {[]func(*http.Request) (*http.Response, error){lost, busy()}, submit, true},
		"an answer to a question is lost":         {[]func(*http.Request) (*http.Response, error){lost, refused}, read, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, _ := scripted(t, tt.answers...)
				if err := tt.call(t.Context(), c); err == nil || errors.Is(err, ErrSent) != tt.sent {
					t.Errorf("%v, want one that it was sent: %t", err, tt.sent)
				}
			})
		})
	}
}

func scripted(t *testing.T, answers ...func(*http.Request) (*http.Response, error)) (*Client, *script) {
	t.Helper()
	s := &script{answers: answers}
	c, err := New("http://pop.test/", Options{HTTPClient: &http.Client{Transport: s}})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func TestErrorsOfTheServerKeepTheirKind(t *testing.T) {
	t.Parallel()
	kinds := []model.ErrorKind{
		model.Invalid, model.Malformed, model.Unauthenticated, model.Forbidden, model.NotFound, model.Conflict, model.Fenced,
		model.Stale, model.TooLarge, model.Internal,
	}
	for _, kind := range kinds {
		problem, err := json.Marshal(wire.Problem{
			Type: wire.TypeOf(kind), Title: "t", Status: wire.StatusOf(kind), Detail: "what",
			Errors: []wire.FieldError{{Location: "body.operations[2].name", Message: "is missing"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := scripted(t, answer(wire.StatusOf(kind), "application/problem+json; charset=utf-8", string(problem)))
		_, err = c.Agenda(t.Context(), "x")
		var got *model.Error
		if !errors.As(err, &got) {
			t.Fatalf("%s: %v", kind, err)
		}
		want := &model.Error{Kind: kind, Detail: "what", Issues: []model.Issue{{Path: "operations[2].name", Message: "is missing"}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
	}
}

func TestErrorsOfOthersTakeTheirKindFromTheStatus(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]model.ErrorKind{
		400: model.Malformed, 401: model.Unauthenticated, 403: model.Forbidden, 404: model.NotFound, 405: model.Malformed,
		413: model.TooLarge, 500: model.Internal, 501: model.Internal,
	} {
		c, _ := scripted(t, answer(status, "text/html", "<h1>nginx</h1>"+strings.Repeat("x", 10_000)))
		_, err := c.Agenda(t.Context(), "x")
		if model.KindOf(err) != want || !strings.Contains(err.Error(), "nginx") || len(err.Error()) > 500 {
			t.Errorf("%d: %s, want %s", status, err, want)
		}
	}
}

// TestWhatIsRetried counts the calls that a failure which passes leads to.
func TestWhatIsRetried(t *testing.T) {
	t.Parallel()
	report := []model.Report{{}}
	tests := []struct {
		name    string
		call    func(context.Context, *Client) error
		retried bool
	}{
		{"a read", func(ctx context.Context, c *Client) error { _, err := c.Agenda(ctx, "x"); return err }, true},
		{"a put", func(ctx context.Context, c *Client) error {
			_, err := c.Customers.Put(ctx, "x", model.Customer{}, "")
			return err
		}, true},
		{"a put of a state, which may have been taken", func(ctx context.Context, c *Client) error {
			_, err := c.Customers.Put(ctx, "x", model.Customer{}, `"v"`)
			return err
		}, false},
		{"a creation, which may have been done", func(ctx context.Context, c *Client) error {
			_, err := c.Customers.Create(ctx, model.Customer{})
			return err
		}, false},
		{"a submission with a key", func(ctx context.Context, c *Client) error { _, err := c.Submit(ctx, model.Agenda{}, "k"); return err }, true},
		{"a submission without a key", func(ctx context.Context, c *Client) error { _, err := c.Submit(ctx, model.Agenda{}, ""); return err }, false},
		{"a batch with keys", func(ctx context.Context, c *Client) error {
			_, err := c.SubmitBatch(ctx, []wire.SubmitItem{{IdempotencyKey: "a"}, {IdempotencyKey: "b"}})
			return err
		}, true},
		{"a batch with a key missing", func(ctx context.Context, c *Client) error {
			_, err := c.SubmitBatch(ctx, []wire.SubmitItem{{IdempotencyKey: "a"}, {}})
			return err
		}, false},
		{"a report", func(ctx context.Context, c *Client) error { _, err := c.Report(ctx, report); return err }, true},
		{"a pull", func(ctx context.Context, c *Client) error { _, err := c.Pull(ctx, model.PullRequest{}); return err }, false},
		{"a question for readiness", func(ctx context.Context, c *Client) error { return c.Ready(ctx) }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for name, failure := range map[string]func(*http.Request) (*http.Response, error){"busy": busy(), "broken": broken} {
					c, s := scripted(t, failure)
					err := test.call(t.Context(), c)
					if calls := s.calls.Load(); test.retried && calls != maxAttempts || !test.retried && calls != 1 {
						t.Errorf("%s: %d calls", name, calls)
					}
					var answered *model.Error
					if name == "busy" && model.KindOf(err) != model.Unavailable || name == "broken" && (!errors.Is(err, ErrUnreachable) || errors.As(err, &answered)) {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		})
	}
}

func TestRetryObeysTheServerAndTheCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, busy("Retry-After", "7"), ok(`{"id":"x"}`))
		start := time.Now()
		if a, err := c.Agenda(t.Context(), "x"); err != nil || a.ID != "x" {
			t.Fatal(a, err)
		}
		if waited := time.Since(start); waited < 7*time.Second || waited > 8*time.Second || s.calls.Load() != 2 {
			t.Errorf("waited %s, %d calls", waited, s.calls.Load())
		}

		c, s = scripted(t, busy("Retry-After", "3600"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := c.Agenda(ctx, "x"); err == nil || time.Since(start) != time.Second || s.calls.Load() != 1 {
			t.Errorf("%v after %s, %d calls", err, time.Since(start), s.calls.Load())
		}
	})
}

func TestCallerThatGivesUpGetsItsOwnError(t *testing.T) {
	t.Parallel()
	c, _ := scripted(t, func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Agenda(ctx, "x"); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Error(err)
	}
}

func TestRequestsCarryWhatTheServerNeeds(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		got, body = r, string(data)
		w.Header().Set("ETag", `"v2"`)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"a/b c"}`)
	}))
	defer s.Close()
	c, err := New(s.URL+"/prefix/", Options{Token: "secret", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := c.Customers.Put(t.Context(), "a/b c", model.Customer{Meta: model.Meta{Title: "t"}}, `"v1"`)
	if err != nil || entry.ETag != `"v2"` || !entry.Created || entry.Object.ID != "a/b c" {
		t.Errorf("%+v %v", entry, err)
	}
	want := map[string]string{
		"request": "PUT /prefix/v1/customers/a%2Fb%20c", "Authorization": "Bearer secret", "User-Agent": "test",
		"Content-Type": "application/json", "If-Match": `"v1"`, "body": `{"title":"t"}`,
	}
	have := map[string]string{"request": got.Method + " " + got.URL.EscapedPath(), "body": body}
	for name := range want {
		if v := got.Header.Get(name); v != "" {
			have[name] = v
		}
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Error(diff)
	}
}

func TestWatchGoesOnThroughARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		state := func(tag, state string) func(*http.Request) (*http.Response, error) {
			return answer(200, "application/json", `{"processingState":"`+state+`"}`, "ETag", tag)
		}
		c, _ := scripted(t, state(`"1"`, "WAITING"), state(`"1"`, "WAITING"), broken, busy(), state(`"2"`, "EXECUTING"), state(`"3"`, "COMPLETE"))
		var states []model.State
		for p, err := range c.Watch(t.Context(), "x") {
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, p.State)
		}
		if diff := cmp.Diff([]model.State{model.Waiting, model.Executing, model.Complete}, states); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAllReadsEveryPageAndEndsAtAnError(t *testing.T) {
	t.Parallel()
	c, s := scripted(t, ok(`{"items":[{"id":"a"},{"id":"b"}],"next":"n"}`), ok(`{"items":[{"id":"c"}]}`))
	var ids []string
	for v, err := range c.Customers.All(t.Context(), Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, v.ID)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, ids); diff != "" || s.calls.Load() != 2 {
		t.Errorf("%s, %d calls", diff, s.calls.Load())
	}
	c, _ = scripted(t, ok(`{"items":[{"id":"a"}],"next":"n"}`), answer(404, "text/plain", "gone"))
	var last error
	n := 0
	for _, err := range c.Customers.All(t.Context(), Filter{}) {
		n, last = n+1, err
	}
	if n != 2 || model.KindOf(last) != model.NotFound {
		t.Errorf("%d steps, %v", n, last)
	}
}

func TestAddressMustBeAURL(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "localhost:8080", "ftp://x", "http://", "http://%zz"} {
		if _, err := New(address, Options{}); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

func TestTokenMustFitAHeader(t *testing.T) {
	t.Parallel()
	for _, token := range []string{"two\nlines", "with blank", "töken", "\x00"} {
		if _, err := New("http://localhost", Options{Token: token}); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v, want an error that does not repeat it", token, err)
		}
	}
}
