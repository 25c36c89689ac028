package wire

import (
	"net/http"
	"strings"

	"github.com/pop-platform/pop/core/model"
)

// ContentTypeProblem is the media type of a [Problem].
const ContentTypeProblem = "application/problem+json"

// Problem is an error as RFC 9457 wants it.
type Problem struct { //nolint:errname // it is a problem document, which Huma wants to be an error too
	Type     string       `json:"type" doc:"urn:pop:problem: and the kind of error, or about:blank if the status says it all."`
	Title    string       `json:"title"`
	Status   int          `json:"status"`
	Detail   string       `json:"detail,omitempty" doc:"What went wrong and how to mend it."`
	Instance string       `json:"instance,omitempty" doc:"The request, by its X-Request-Id."`
	Errors   []FieldError `json:"errors,omitempty"`
}

// FieldError is one thing that is wrong with a request, and where.
type FieldError struct {
	Location string `json:"location,omitempty" doc:"Where, such as body.operations[2].name or query.limit."`
	Message  string `json:"message"`
	Value    any    `json:"value,omitempty" doc:"What was there, if it is short."`
}

const typePrefix = "urn:pop:problem:"

// TypeOf returns the type of the problems of a kind of error.
func TypeOf(kind model.ErrorKind) string { return typePrefix + string(kind) }

// StatusOf returns the HTTP status of a kind of error.
func StatusOf(kind model.ErrorKind) int {
	switch kind {
	case model.Invalid:
		return http.StatusUnprocessableEntity
	case model.Malformed:
		return http.StatusBadRequest
	case model.Unauthenticated:
		return http.StatusUnauthorized
	case model.Forbidden:
		return http.StatusForbidden
	case model.NotFound:
		return http.StatusNotFound
	case model.Conflict, model.Fenced:
		return http.StatusConflict
	case model.Stale:
		return http.StatusPreconditionFailed
	case model.TooLarge:
		return http.StatusRequestEntityTooLarge
	case model.Unavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// kindOf returns the kind of error that a status most likely means, for answers of proxies and of newer servers.
func kindOf(status int) model.ErrorKind {
	switch status {
	case http.StatusUnprocessableEntity:
		return model.Invalid
	case http.StatusUnauthorized:
		return model.Unauthenticated
	case http.StatusForbidden:
		return model.Forbidden
	case http.StatusNotFound:
		return model.NotFound
	case http.StatusConflict:
		return model.Conflict
	case http.StatusPreconditionFailed:
		return model.Stale
	case http.StatusRequestEntityTooLarge:
		return model.TooLarge
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return model.Unavailable
	}
	if status >= 400 && status < 500 {
		return model.Malformed
	}
	return model.Internal
}

// Error returns what went wrong.
func (p *Problem) Error() string { return p.Err().Error() }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of a problem in the place of any other.
func (p *Problem) ContentType(string) string { return ContentTypeProblem }

// Err rebuilds the error that the problem was made from.
func (p *Problem) Err() *model.Error {
	kind, ok := strings.CutPrefix(p.Type, typePrefix)
	e := &model.Error{Kind: model.ErrorKind(kind), Detail: p.Detail}
	if !ok {
		e.Kind = kindOf(p.Status)
	}
	if e.Detail == "" {
		e.Detail = p.Title
	}
	for _, issue := range p.Errors {
		e.Issues = append(e.Issues, model.Issue{Path: strings.TrimPrefix(issue.Location, "body."), Message: issue.Message})
	}
	return e
}
