package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// effect says what a call may have done when its reply is lost.
type effect bool

const (
	reads  effect = false
	writes effect = true
)

// ready returns the process that is ready, for a call that must leave it. It waits for one that is being started.
func (p *Plugin) ready(ctx context.Context, op string) (*instance, error) {
	var timeout <-chan time.Time
	for {
		p.mu.Lock()
		inst, changed, status := p.current, p.changed, p.status
		p.mu.Unlock()
		if inst != nil && !inst.over() && inst.calls.Enter() {
			return inst, nil
		}
		if status.State == Broken || status.State == Closed {
			return nil, p.notSent(op, status)
		}
		if timeout == nil {
			timer := time.NewTimer(p.opts.ReadyTimeout)
			defer timer.Stop()
			timeout = timer.C
		}
		limit := timeout
		if status.State == Replacing { // which has limits of its own
			limit = nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, notSentInTime(op, ctx)
		case <-limit:
			return nil, p.notSent(op, status)
		}
	}
}

// notSent is the error of a call that was not made because there is no process.
func (p *Plugin) notSent(op string, s Status) error {
	message := fmt.Sprintf("plugin %s is %s", s.Name, s.State)
	if s.Problem != "" && s.State != Closed {
		message += ": " + s.Problem
	}
	return &driver.Error{Code: driver.Unavailable, Source: driver.Plugin, Op: op, Message: message}
}

func notSentInTime(op string, ctx context.Context) error { //nolint:revive // the context is what the error is about
	return &driver.Error{Code: driver.Unavailable, Source: driver.Host, Op: op, Message: "gave up waiting for the plugin", Err: ctx.Err()}
}

// call makes a call of a plugin's process.
func call[Resp any](ctx context.Context, p *Plugin, op string, does effect, timeout time.Duration, f func(context.Context, *instance) (Resp, error)) (none Resp, err error) {
	if err := ctx.Err(); err != nil {
		return none, fmt.Errorf("%s: %w", op, err)
	}
	inst, err := p.ready(ctx, op)
	if err != nil {
		return none, err
	}
	defer inst.calls.Leave()
	bounded := ctx
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	resp, err := f(bounded, inst)
	if err == nil {
		inst.served.Store(true)
		return resp, nil
	}
	return none, p.explain(ctx, inst, op, does, timeout, err)
}

// explain returns the error of a call as drivers return it.
func (p *Plugin) explain(ctx context.Context, inst *instance, op string, does effect, timeout time.Duration, err error) error {
	var own *driver.Error
	known, fromDriver := wire.FromStatus(err)
	_, callers := ctx.Deadline()
	switch {
	case errors.As(err, &own): // made by the host
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case callers && status.Code(err) == codes.DeadlineExceeded: // the plugin's clock is a little faster than the context
		return fmt.Errorf("%s: %w", op, context.DeadlineExceeded)
	case fromDriver && !errors.Is(known, context.Canceled) && !errors.Is(known, context.DeadlineExceeded):
		inst.served.Store(true)
		return known
	}
	e := &driver.Error{Code: driver.Unavailable, Source: driver.Plugin, Op: op, Err: err}
	if does == writes {
		e.Outcome = driver.Unknown
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.DeadlineExceeded:
		e.Message = fmt.Sprintf("plugin %s did not answer within %s", p.entry.Name, timeout)
	case codes.Unavailable, codes.Canceled:
		inst.suspect()
		e.Message = fmt.Sprintf("plugin %s ended during the call", p.entry.Name)
	case codes.ResourceExhausted:
		e.Code, e.Outcome = driver.TooLarge, driver.NotApplied
		e.Message = fmt.Sprintf("plugin %s takes and returns messages of %d bytes at most: %s", p.entry.Name, wire.MaxMessage, s.Message())
	case codes.Unimplemented:
		e.Code, e.Outcome = driver.Unsupported, driver.NotApplied
		e.Message = fmt.Sprintf("plugin %s does not know the method: %s", p.entry.Name, s.Message())
	default:
		e.Code = driver.Internal
		e.Message = fmt.Sprintf("plugin %s: %s", p.entry.Name, s.Message())
	}
	return e
}

// wrongReply is a reply that a plugin that keeps to the contract does not send.
func (p *Plugin) wrongReply(op string, does effect, format string, args ...any) error {
	e := driver.Errorf(driver.Internal, op, "plugin %s broke the contract: %s", p.entry.Name, fmt.Sprintf(format, args...))
	e.Source = driver.Plugin
	if does == writes {
		e.Outcome = driver.Unknown
	}
	return e
}
