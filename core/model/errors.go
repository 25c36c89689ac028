package model

import (
	"errors"
	"fmt"
	"strings"
)

// ErrorKind classifies an [Error]. The set is closed.
type ErrorKind string

// The kinds of error, with the HTTP status that the API answers.
const (
	Invalid         ErrorKind = "invalid"         // 422
	Malformed       ErrorKind = "malformed"       // 400
	Unauthenticated ErrorKind = "unauthenticated" // 401
	Forbidden       ErrorKind = "forbidden"       // 403
	NotFound        ErrorKind = "not-found"       // 404
	Conflict        ErrorKind = "conflict"        // 409
	Fenced          ErrorKind = "fenced"          // 409: the lease is lost
	Stale           ErrorKind = "stale"           // 412: the object has changed since it was read
	TooLarge        ErrorKind = "too-large"       // 413
	Unavailable     ErrorKind = "unavailable"     // 503
	Internal        ErrorKind = "internal"        // 500
)

// Issue is one thing that is wrong with a request, and where.
type Issue struct {
	Path    string `json:"location" doc:"Path of the field, such as operations[2].payload."`
	Message string `json:"message"`
}

// Error is an error that a caller can act upon.
type Error struct {
	Kind   ErrorKind `json:"kind"`
	Detail string    `json:"detail"`
	Issues []Issue   `json:"issues,omitempty"`
}

func (e *Error) Error() string {
	if len(e.Issues) == 0 {
		return e.Detail
	}
	issues := make([]string, len(e.Issues))
	for i, issue := range e.Issues {
		issues[i] = strings.TrimPrefix(issue.Path+": "+issue.Message, ": ")
	}
	return e.Detail + ": " + strings.Join(issues, "; ")
}

// Errorf returns an [*Error] with a formatted detail.
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first [*Error] in err's tree, and [Internal] if there is none.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
