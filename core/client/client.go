package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// Retries of calls that may be repeated: attempts and the delay before the second one, which doubles.
const (
	maxAttempts   = 5
	firstDelay    = 50 * time.Millisecond
	maxRetryAfter = 10 * time.Second // longest Retry-After that is obeyed
)

// maxErrorBytes is how much of an answer that is not a problem document is shown.
const maxErrorBytes = 300

// ErrUnreachable is in the tree of the error of a call that got no answer, or lost it. What the call did is not known.
var ErrUnreachable = errors.New("the server cannot be reached")

// ErrSent is in the tree of an [ErrUnreachable] if an attempt of the call may have reached the server: what it was to change may have been
// changed.
var ErrSent = errors.New("it was sent and not answered")

// Client calls a POP server. It is safe for concurrent use.
type Client struct {
	base      string
	tokens    *tokens // nil without authentication
	userAgent string
	http      *http.Client

	// Customers and the following are the objects that configure the platform.
	Customers       *Collection[model.Customer]
	ResourcePools   *Collection[model.ResourcePool]
	Insights        *Collection[model.Insight]
	AgendaTemplates *Collection[model.AgendaTemplate]
}

// Options are the optional parts of a [Client].
type Options struct {
	Token      string       // sent as a bearer token
	Tokens     TokenSource  // in place of Token, for tokens that end
	HTTPClient *http.Client // default one with connections kept for many concurrent calls
	UserAgent  string       // default "pop-go-client"
}

// New returns a client of the server at a URL such as http://localhost:8080. It does no I/O.
func New(baseURL string, o Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server address %q is not of the form http://host:port", baseURL)
	}
	if err := checkToken(o.Token); err != nil {
		return nil, err
	}
	c := &Client{base: strings.TrimRight(u.String(), "/"), userAgent: o.UserAgent, http: o.HTTPClient}
	switch {
	case o.Tokens != nil:
		c.tokens = &tokens{source: o.Tokens}
	case o.Token != "":
		c.tokens = &tokens{source: func(context.Context) (Token, error) { return Token{Value: o.Token}, nil }}
	}
	if c.userAgent == "" {
		c.userAgent = "pop-go-client"
	}
	if c.http == nil {
		c.http = &http.Client{Transport: transport()}
	}
	c.Customers = &Collection[model.Customer]{c, "/v1/customers"}
	c.ResourcePools = &Collection[model.ResourcePool]{c, "/v1/resource-pools"}
	c.Insights = &Collection[model.Insight]{c, "/v1/insights"}
	c.AgendaTemplates = &Collection[model.AgendaTemplate]{c, "/v1/agenda-templates"}
	return c, nil
}

// transport keeps enough idle connections that many goroutines calling one server do not dial for every call.
func transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 512, 512
	t.DisableCompression = true
	return t
}

// call is one request to the server.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	header http.Header
	body   any  // sent as JSON unless nil
	safe   bool // may be repeated though an earlier attempt may have had its effect
	public bool // needs no authentication, and gets none
}

// do sends a call, decodes the answer into out unless it is nil, and returns the answer's status and headers.
func (c *Client) do(ctx context.Context, r call, out any) (int, http.Header, error) {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return 0, nil, fmt.Errorf("%s %s: encode: %w", r.method, r.path, err)
		}
	}
	delay := firstDelay
	sent := false
	for attempt := 1; ; attempt++ {
		status, header, err := c.once(ctx, r, body, out)
		away := errors.Is(err, ErrUnreachable)
		sent = sent || away && r.method != http.MethodGet && !errors.Is(err, syscall.ECONNREFUSED)
		passing := away || model.KindOf(err) == model.Unavailable
		if err == nil || !r.safe || attempt == maxAttempts || ctx.Err() != nil || !passing {
			if passing && sent {
				err = fmt.Errorf("%w (%w)", err, ErrSent)
			}
			return status, header, err
		}
		wait := max(retryAfter(header), delay/2+rand.N(delay))
		delay *= 2
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return status, header, err
		}
	}
}

// once sends a call one time.
func (c *Client) once(ctx context.Context, r call, body []byte, out any) (int, http.Header, error) {
	resp, err := c.send(ctx, r, body)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 400 {
		return resp.StatusCode, resp.Header, problem(r, resp)
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, resp.Header, unreachable(ctx, r, err)
	}
	if out == nil || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		return resp.StatusCode, resp.Header, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return resp.StatusCode, resp.Header, fmt.Errorf("%s %s: decode the answer: %w", r.method, r.path, err)
	}
	return resp.StatusCode, resp.Header, nil
}

// send sends a call and returns the answer with its body open. If the server refuses the token and there is another, it tries once
// more with that: a call that was refused has done nothing.
func (c *Client) send(ctx context.Context, r call, body []byte) (*http.Response, error) {
	if c.tokens == nil || r.public {
		return c.sendWith(ctx, r, body, "")
	}
	token, err := c.tokens.get(ctx, "")
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	resp, err := c.sendWith(ctx, r, body, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	another, err := c.tokens.get(ctx, token)
	if err != nil || another == token {
		return resp, nil //nolint:nilerr // the refusal says more than that there is no other token
	}
	_ = resp.Body.Close()
	return c.sendWith(ctx, r, body, another)
}

func (c *Client) sendWith(ctx context.Context, r call, body []byte, token string) (*http.Response, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, reader)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.method, r.path, err)
	}
	maps.Copy(req.Header, r.header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, r, err)
	}
	return resp, nil
}

// unreachable is the error of a call that got no answer. It is not a [*model.Error], which only a server's answer is.
func unreachable(ctx context.Context, r call, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", r.method, r.path, ctx.Err())
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // without the URL, which path already says
	}
	return fmt.Errorf("%s %s: %w: %w", r.method, r.path, ErrUnreachable, err)
}

// problem is the error that an answer holds.
func problem(r call, resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	p := wire.Problem{}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != wire.ContentTypeProblem || json.Unmarshal(data, &p) != nil {
		text := strings.TrimSpace(string(data[:min(len(data), maxErrorBytes)]))
		p = wire.Problem{Detail: fmt.Sprintf("%s %s: %s, and not from POP: %s", r.method, r.path, resp.Status, text)}
	}
	p.Status = resp.StatusCode
	return p.Err()
}

// retryAfter returns how long the server asks to wait.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}
