package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/gin-gonic/gin"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// aboutBlank is the type of problems of which the status says all.
const aboutBlank = "about:blank"

// maxValueBytes is how long a value may be to be shown in a problem.
const maxValueBytes = 100

// statusClientGone is never seen by anybody; it only keeps such requests apart from failures.
const statusClientGone = 499

// problemOf returns the problem that an error is told to the caller as, and the headers that go with it.
func (a *API) problemOf(err error) (*wire.Problem, http.Header) {
	var p *wire.Problem
	var m *model.Error
	var d *driver.Error
	switch {
	case errors.As(err, &p):
		return p, nil
	case errors.As(err, &m):
		return problemOfModel(m), a.headersOf(m.Kind)
	case errors.As(err, &d):
		return a.problemOfDriver(d)
	case errors.Is(err, context.DeadlineExceeded):
		return &wire.Problem{
			Type: wire.TypeOf(model.Unavailable), Status: http.StatusGatewayTimeout,
			Detail: fmt.Sprintf("it took longer than %s; whether it was done is not known", requestTimeout),
		}, nil
	case errors.Is(err, context.Canceled):
		return &wire.Problem{Type: aboutBlank, Status: statusClientGone, Detail: "the caller has gone"}, nil
	default:
		return a.internal(), nil
	}
}

func (a *API) internal() *wire.Problem {
	return &wire.Problem{
		Type: wire.TypeOf(model.Internal), Status: http.StatusInternalServerError,
		Detail: "an internal error; the server's log says more under this request's id",
	}
}

func problemOfModel(e *model.Error) *wire.Problem {
	p := &wire.Problem{Type: wire.TypeOf(e.Kind), Status: wire.StatusOf(e.Kind), Detail: e.Detail}
	for _, issue := range e.Issues {
		p.Errors = append(p.Errors, wire.FieldError{Location: strings.TrimSuffix("body."+issue.Path, "."), Message: issue.Message})
	}
	return p
}

func (a *API) headersOf(kind model.ErrorKind) http.Header {
	switch {
	case kind == model.Unavailable:
		return http.Header{"Retry-After": {"1"}}
	case kind == model.Unauthenticated && a.Authorizer.Challenge() != "":
		return http.Header{"Www-Authenticate": {a.Authorizer.Challenge()}}
	}
	return nil
}

func (a *API) problemOfDriver(e *driver.Error) (*wire.Problem, http.Header) {
	p := &wire.Problem{Detail: e.Error()}
	switch e.Code {
	case driver.Unavailable, driver.Throttled:
		p.Type, p.Status = wire.TypeOf(model.Unavailable), http.StatusServiceUnavailable
		seconds := math.Ceil(max(e.RetryAfter, time.Second).Seconds())
		return p, http.Header{"Retry-After": {strconv.Itoa(int(seconds))}}
	case driver.Denied:
		p.Type, p.Status = wire.TypeOf(model.Internal), http.StatusBadGateway
		p.Detail = "a backend refuses the server's own credentials; its operator must mend that"
	case driver.TooLarge:
		p.Type, p.Status = wire.TypeOf(model.TooLarge), http.StatusRequestEntityTooLarge
	case driver.Conflict:
		p.Type, p.Status = wire.TypeOf(model.Conflict), http.StatusConflict
		p.Detail = "it was changed by others at the same time; try again"
	default:
		p = a.internal()
	}
	return p, nil
}

// finish fills in what every problem has, and logs those that are the server's fault. It is called once for each.
func (a *API) finish(ctx context.Context, p *wire.Problem, err error) *wire.Problem {
	out := *p // which may be one that all requests share
	if out.Title == "" {
		out.Title = http.StatusText(out.Status)
	}
	if r := requestOf(ctx); r != nil {
		out.Instance = instance(r)
		if out.Status >= 500 && err != nil {
			a.Logger.ErrorContext(ctx, "request failed", "request", r.id, "status", out.Status, "subject", r.caller.Subject, "error", err)
		}
	}
	return &out
}

func instance(r *request) string { return "urn:pop:request:" + r.id }

// fail answers a request with an error, outside of Huma.
func (a *API) fail(ctx context.Context, c *gin.Context, err error) {
	p, header := a.problemOf(err)
	write(c, a.finish(ctx, p, err), header)
}

func write(c *gin.Context, p *wire.Problem, header http.Header) {
	maps.Copy(c.Writer.Header(), header)
	body, err := json.Marshal(p)
	if err != nil { // a value that was shown; none of ours fails
		p.Errors = nil
		body, _ = json.Marshal(p)
	}
	c.Data(p.Status, wire.ContentTypeProblem, body)
}

// refusal turns an error of a handler into one that Huma answers with.
func (a *API) refusal(ctx context.Context, err error) error {
	p, header := a.problemOf(err)
	p = a.finish(ctx, p, err)
	if header != nil {
		return huma.ErrorWithHeaders(p, header)
	}
	return p
}

// newProblem makes a problem of what Huma finds wrong with a request.
func newProblem(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
	p := &wire.Problem{Type: wire.TypeOf(kindOfStatus(status)), Title: http.StatusText(status), Status: status, Detail: message}
	if p.Status == http.StatusUnprocessableEntity {
		p.Detail = "the request is not valid"
	}
	if ctx != nil {
		if r := requestOf(ctx.Context()); r != nil {
			p.Instance = instance(r)
		}
	}
	for _, err := range errs {
		var detail huma.ErrorDetailer
		switch {
		case err == nil:
		case errors.As(err, &detail):
			d := detail.ErrorDetail()
			p.Errors = append(p.Errors, fieldError(d))
		default:
			p.Errors = append(p.Errors, wire.FieldError{Message: err.Error()})
		}
	}
	if status == http.StatusBadRequest && len(p.Errors) == 1 {
		p.Detail = p.Errors[0].Message
		p.Errors = nil
	}
	return p
}

// missing takes the name of a field out of Huma's words for one that is not there.
var missing = regexp.MustCompile("^" + strings.Replace(regexp.QuoteMeta(validation.MsgExpectedRequiredProperty), "%s", "(.+)", 1) + "$")

// fieldError says what Huma finds wrong, and where: of a field that is missing it names the object that lacks it.
func fieldError(d *huma.ErrorDetail) wire.FieldError {
	if m := missing.FindStringSubmatch(d.Message); m != nil {
		return wire.FieldError{Location: d.Location + "." + m[1], Message: "is missing"}
	}
	return wire.FieldError{Location: d.Location, Message: d.Message, Value: shown(d.Value)}
}

func kindOfStatus(status int) model.ErrorKind {
	switch {
	case status == http.StatusUnprocessableEntity:
		return model.Invalid
	case status < http.StatusInternalServerError:
		return model.Malformed
	}
	return model.Internal
}

// shown returns a value if it is a short scalar. Anything else is of no help, and may hold what should not be repeated.
func shown(v any) any {
	switch v := v.(type) {
	case string:
		if len(v) <= maxValueBytes {
			return v
		}
	case bool, float64, int, int64:
		return v
	}
	return nil
}
