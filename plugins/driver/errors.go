package driver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Code classifies an [Error]. The set is closed: the core acts upon codes and never upon text.
type Code uint8

const (
	// Internal is a bug, or anything a driver could not classify.
	Internal Code = iota
	// Invalid is a request that no state of the backend could satisfy.
	Invalid
	// Conflict is a condition of a write that did not hold.
	Conflict
	// TooLarge is a request beyond a declared limit.
	TooLarge
	// Unsupported is a method whose capability the driver does not declare.
	Unsupported
	// Throttled is the backend asking for less; see RetryAfter.
	Throttled
	// Unavailable is a backend, network, disk or plugin process that cannot serve now.
	Unavailable
	// Denied is the backend refusing the credentials of POP itself, never those of a caller.
	Denied
	// Unauthenticated is an authorizer refusing the credentials of a caller.
	Unauthenticated
	// Corrupt is stored data that cannot be read back.
	Corrupt
)

var codeNames = [...]string{
	"internal", "invalid", "conflict", "too large", "unsupported", "throttled", "unavailable", "denied", "unauthenticated", "corrupt",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Source says whose fault an error is.
type Source uint8

const (
	// Backend is the service or disk behind the driver.
	Backend Source = iota
	// Plugin is the driver's own code or process.
	Plugin
	// Host is POP, before or after the driver was called.
	Host
)

func (s Source) String() string { return [...]string{"backend", "plugin", "host"}[min(s, Host)] }

// Outcome says what a failed write did.
type Outcome uint8

const (
	// NotApplied writes changed nothing.
	NotApplied Outcome = iota
	// Unknown writes may or may not have been applied: the reply was lost. The caller settles it by reading again.
	Unknown
)

func (o Outcome) String() string { return [...]string{"not applied", "unknown"}[min(o, Unknown)] }

// Error is the error type of every driver method.
type Error struct {
	Code       Code
	Source     Source
	Outcome    Outcome
	Op         string        // the operation that failed: "local: write"
	Message    string        // what, where and how to mend it, for an operator; never a secret
	RetryAfter time.Duration // for Throttled and Unavailable; zero if the backend did not say
	Err        error         // the cause, if any
}

func (e *Error) Error() string {
	s := e.Code.String()
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	switch {
	case e.Message != "":
		s += ": " + e.Message
	case e.Err != nil:
		s += ": " + e.Err.Error()
	}
	if e.Outcome == Unknown {
		s += " (outcome unknown)"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an [*Error] with a formatted message. A %w verb wraps as in [fmt.Errorf].
func Errorf(code Code, op, format string, args ...any) *Error {
	cause := fmt.Errorf(format, args...)
	return &Error{Code: code, Op: op, Message: cause.Error(), Err: errors.Unwrap(cause)}
}

// CodeOf returns the code of the first [*Error] in err's tree, and [Internal] if there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// IsConflict reports whether err is a write condition that did not hold.
func IsConflict(err error) bool { return err != nil && CodeOf(err) == Conflict }

// OutcomeOf returns what a failed write did. A context error leaves it unknown, and so does an error a driver did not classify.
func OutcomeOf(err error) Outcome {
	var e *Error
	if errors.As(err, &e) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return e.Outcome
	}
	return Unknown
}
