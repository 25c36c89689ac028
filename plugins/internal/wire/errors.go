package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// errorCodes gives each code its message and the gRPC code that tools without the contract understand.
var errorCodes = [...]struct {
	code  driver.Code
	proto pluginv1.Code
	grpc  codes.Code
}{
	{driver.Internal, pluginv1.Code_CODE_INTERNAL, codes.Internal},
	{driver.Invalid, pluginv1.Code_CODE_INVALID, codes.InvalidArgument},
	{driver.Conflict, pluginv1.Code_CODE_CONFLICT, codes.Aborted},
	{driver.TooLarge, pluginv1.Code_CODE_TOO_LARGE, codes.OutOfRange},
	{driver.Unsupported, pluginv1.Code_CODE_UNSUPPORTED, codes.Unimplemented},
	{driver.Throttled, pluginv1.Code_CODE_THROTTLED, codes.ResourceExhausted},
	{driver.Unavailable, pluginv1.Code_CODE_UNAVAILABLE, codes.Unavailable},
	{driver.Denied, pluginv1.Code_CODE_DENIED, codes.PermissionDenied},
	{driver.Unauthenticated, pluginv1.Code_CODE_UNAUTHENTICATED, codes.Unauthenticated},
	{driver.Corrupt, pluginv1.Code_CODE_CORRUPT, codes.DataLoss},
}

// ErrorToProto returns the message of an error that a driver returned; nil for none. What is no [driver.Error] is a fault of
// the plugin, and may have happened after the write.
func ErrorToProto(err error) *pluginv1.Error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*driver.Error](err)
	if !ok {
		e = &driver.Error{Code: driver.Internal, Source: driver.Plugin, Message: err.Error()}
	}
	m := &pluginv1.Error{
		Code:    pluginv1.Code_CODE_INTERNAL,
		Source:  [...]pluginv1.Source{pluginv1.Source_SOURCE_BACKEND, pluginv1.Source_SOURCE_PLUGIN, pluginv1.Source_SOURCE_HOST}[min(e.Source, driver.Host)],
		Outcome: pluginv1.Outcome_OUTCOME_NOT_APPLIED,
		Op:      text(e.Op), Message: text(e.Message), RetryAfter: durationToProto(e.RetryAfter),
	}
	if e.Message == "" && e.Err != nil {
		m.Message = text(e.Err.Error())
	}
	if driver.OutcomeOf(err) == driver.Unknown {
		m.Outcome = pluginv1.Outcome_OUTCOME_UNKNOWN
	}
	if int(e.Code) < len(errorCodes) {
		m.Code = errorCodes[e.Code].proto
	}
	return m
}

// ErrorFromProto returns the error of a message; nil for none.
func ErrorFromProto(m *pluginv1.Error) error {
	if m == nil {
		return nil
	}
	return errorFromProto(m)
}

func errorFromProto(m *pluginv1.Error) *driver.Error {
	e := &driver.Error{Code: driver.Internal, Outcome: driver.Unknown, Op: m.GetOp(), Message: m.GetMessage(), RetryAfter: m.GetRetryAfter().AsDuration()}
	for _, c := range errorCodes {
		if c.proto == m.GetCode() {
			e.Code = c.code
		}
	}
	switch m.GetSource() {
	case pluginv1.Source_SOURCE_PLUGIN:
		e.Source = driver.Plugin
	case pluginv1.Source_SOURCE_HOST:
		e.Source = driver.Host
	default:
		e.Source = driver.Backend
	}
	if m.GetOutcome() == pluginv1.Outcome_OUTCOME_NOT_APPLIED {
		e.Outcome = driver.NotApplied
	}
	return e
}

// ToStatus returns the gRPC error of an error that a driver returned for a whole call; nil for none.
func ToStatus(err error) error {
	if err == nil {
		return nil
	}
	m := ErrorToProto(err)
	code := codes.Internal
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	default:
		for _, c := range errorCodes {
			if c.proto == m.GetCode() {
				code = c.grpc
			}
		}
	}
	s := status.New(code, m.GetMessage())
	if detailed, err := s.WithDetails(m); err == nil {
		s = detailed
	}
	return s.Err()
}

// FromStatus returns the error that a driver returned, from the gRPC error of a call. An error that the driver did not return
// is false: it is gRPC's own, or that of something else that answers.
func FromStatus(err error) (error, bool) { //nolint:revive // the error is the result, not a failure
	s, ok := status.FromError(err)
	if !ok {
		return nil, false
	}
	for _, d := range s.Details() {
		m, ok := d.(*pluginv1.Error)
		if !ok {
			continue
		}
		e := errorFromProto(m)
		switch s.Code() { //nolint:exhaustive // the others have no counterpart in package context
		case codes.Canceled:
			e.Err = context.Canceled
		case codes.DeadlineExceeded:
			e.Err = context.DeadlineExceeded
		}
		return e, true
	}
	return nil, false
}

// Panicked is the error of a method that panicked.
func Panicked(method string, reason any) error {
	return &driver.Error{
		Code: driver.Internal, Source: driver.Plugin, Outcome: driver.Unknown, Op: method,
		Message: fmt.Sprintf("the plugin panicked: %v", reason),
	}
}

// text returns a text that a message can hold.
func text(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func durationToProto(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}
