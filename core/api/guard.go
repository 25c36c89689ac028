package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// bodyTimeout is how long the body of a request may take to arrive.
const bodyTimeout = 30 * time.Second

// access says who may call an operation and how it behaves.
type access struct {
	public bool        // needs no authentication
	role   driver.Role // that the caller must have
	waits  bool        // may take longer than requestTimeout, on purpose
	body   bool        // takes a JSON body
	asks   asks        // who alone can answer
}

// asks says which server an operation asks.
type asks uint8

const (
	nobody         asks = iota // any
	ownerOfInsight             // the owner of the insight with the id of the path
	ownerOfAgenda              // the owner of the insight of the agenda with that id
)

const accessKey = "access"

func accessOf(op *huma.Operation) access {
	a, _ := op.Metadata[accessKey].(access)
	a.body = op.RequestBody != nil
	return a
}

// request is what is known about a request from its start.
type request struct {
	id     string
	caller driver.Principal
}

type requestKey struct{}

// requestOf returns the request that a context belongs to.
func requestOf(ctx context.Context) *request {
	r, _ := ctx.Value(requestKey{}).(*request)
	return r
}

// caller returns who sent the request that a context belongs to.
func caller(ctx context.Context) driver.Principal { return requestOf(ctx).caller }

// requestIDs makes ids that differ between servers and restarts, at the cost of a counter.
type requestIDs struct {
	prefix string
	last   *atomic.Uint64
}

func newRequestIDs() requestIDs {
	return requestIDs{prefix: rand.Text()[:8] + "-", last: new(atomic.Uint64)}
}

// of returns the id that the caller gave the request, if it is a reasonable one, and a new id otherwise.
func (ids requestIDs) of(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id != "" && len(id) <= 100 && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return id
	}
	return ids.prefix + strconv.FormatUint(ids.last.Add(1), 36)
}

// browsers refuses requests that a web page of another origin makes a browser send: they come with no credentials of their own,
// and `pop dev` needs none.
var browsers = http.NewCrossOriginProtection()

// guard returns a Gin handler that does for a request what every request needs, and calls serve if it is to be served.
func (a *API) guard(acc access, serve func(ctx context.Context, c *gin.Context, body []byte)) gin.HandlerFunc {
	return func(c *gin.Context) {
		req := &request{id: a.requests.of(c.Request)}
		ctx := context.WithValue(c.Request.Context(), requestKey{}, req)
		if a.Logger.Enabled(ctx, slog.LevelDebug) {
			defer a.logAccess(ctx, c, req, time.Now())
		}
		defer a.recoverPanic(ctx, c)
		c.Header("X-Request-Id", req.id)
		unescape(c.Params)

		if err := browsers.Check(c.Request); err != nil {
			a.fail(ctx, c, model.Errorf(model.Forbidden, "requests from web pages of another origin are not served"))
			return
		}
		if err := a.admit(ctx, c, acc, req); err != nil {
			a.fail(ctx, c, err)
			return
		}
		// What follows would take a query that cannot be read for none, and so drop filters.
		if _, err := url.ParseQuery(c.Request.URL.RawQuery); err != nil {
			a.fail(ctx, c, model.Errorf(model.Malformed, "the query cannot be read: %v; percent-encode what has a meaning in queries", err))
			return
		}
		var body []byte
		if acc.body {
			buf := buffers.Get().(*bytes.Buffer)
			defer releaseBuffer(buf)
			if err := readBody(c, buf); err != nil {
				a.fail(ctx, c, err)
				return
			}
			body = buf.Bytes()
		}
		if !acc.waits {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, requestTimeout)
			defer cancel()
		}
		serve(ctx, c, body)
	}
}

// admit finds out who the caller is and whether it has the role that the operation needs.
func (a *API) admit(ctx context.Context, c *gin.Context, acc access, req *request) error {
	switch {
	case acc.public:
		return nil
	case a.Authorizer == nil:
		req.caller = authz.Everyone()
		return nil
	}
	ip, _, err := net.SplitHostPort(c.Request.RemoteAddr)
	if err != nil {
		ip = c.Request.RemoteAddr
	}
	req.caller, err = a.Authorizer.Authenticate(ctx, c.Request.Header, ip)
	if err != nil {
		return err
	}
	if !authz.HasRole(req.caller, acc.role) {
		return model.Errorf(model.Forbidden, "this needs the role %q; %s has %s", acc.role, req.caller.Subject, rolesText(req.caller.Roles))
	}
	return nil
}

func rolesText(roles []driver.Role) string {
	if len(roles) == 0 {
		return "none"
	}
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = strconv.Quote(string(role))
	}
	return strings.Join(names, ", ")
}

// buffers hold the bodies of requests while they are served.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// releaseBuffer keeps a buffer for the next request, unless one large body would hold on to much memory.
func releaseBuffer(buf *bytes.Buffer) {
	if buf.Cap() <= 1<<20 {
		buf.Reset()
		buffers.Put(buf)
	}
}

// readBody reads the body of a request, which must be JSON of no more than [wire.MaxBodyBytes].
func readBody(c *gin.Context, buf *bytes.Buffer) error {
	r := c.Request
	if r.ContentLength != 0 && !isJSON(r.Header.Get("Content-Type")) {
		return &wire.Problem{
			Type: aboutBlank, Status: http.StatusUnsupportedMediaType,
			Detail: fmt.Sprintf("the body is declared as %q; send JSON with Content-Type: application/json", r.Header.Get("Content-Type")),
		}
	}
	// The deadline is lifted afterwards: it would end a long poll.
	control := http.NewResponseController(c.Writer)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // not supported by recorders in tests
	_, err := buf.ReadFrom(http.MaxBytesReader(c.Writer, r.Body, wire.MaxBodyBytes))
	_ = control.SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return errBodyTooLarge
	case err != nil:
		return model.Errorf(model.Malformed, "the body cannot be read: %v", err)
	}
	if err := model.CheckJSON(buf.Bytes(), model.MaxDepth); err != nil {
		return model.Errorf(model.Malformed, "the body %v", err)
	}
	return nil
}

var errBodyTooLarge = model.Errorf(model.TooLarge, "the body is larger than %d bytes (%d MiB), the most that is taken", wire.MaxBodyBytes, wire.MaxBodyBytes>>20)

func isJSON(contentType string) bool {
	if contentType == "application/json" || contentType == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

// recoverPanic answers a request whose handler panicked, and logs where.
func (a *API) recoverPanic(ctx context.Context, c *gin.Context) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(v) //nolint:forbidigo // it is how net/http wants a connection to be cut
	}
	a.Logger.ErrorContext(ctx, "panic", "request", requestOf(ctx).id, "method", c.Request.Method, "path", c.Request.URL.Path,
		"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if !c.Writer.Written() {
		write(c, a.finish(ctx, a.internal(), nil), nil)
	}
}

func (a *API) logAccess(ctx context.Context, c *gin.Context, req *request, start time.Time) {
	a.Logger.DebugContext(ctx, "request", "request", req.id, "method", c.Request.Method, "path", c.Request.URL.Path,
		"status", c.Writer.Status(), "bytes", c.Writer.Size(), "duration", time.Since(start), "subject", req.caller.Subject)
}

func (a *API) noRoute(ctx context.Context, c *gin.Context, _ []byte) {
	a.fail(ctx, c, &wire.Problem{
		Type: aboutBlank, Status: http.StatusNotFound,
		Detail: fmt.Sprintf("there is nothing at %s %s; /v1/docs lists all there is", c.Request.Method, c.Request.URL.EscapedPath()),
	})
}

func (a *API) noMethod(ctx context.Context, c *gin.Context, _ []byte) {
	a.fail(ctx, c, &wire.Problem{
		Type: aboutBlank, Status: http.StatusMethodNotAllowed,
		Detail: fmt.Sprintf("%s is not possible on %s, only %s", c.Request.Method, c.Request.URL.EscapedPath(), c.Writer.Header().Get("Allow")),
	})
}
