package aws

import (
	"context"
	"sync"

	"github.com/pop-platform/pop/plugins/driver"
)

// life lets the calls of a driver end before it is closed.
type life struct {
	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup
}

// begin starts a call, which lasts until the function it returns is called.
func (l *life) begin(ctx context.Context, op string) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, &driver.Error{Code: driver.Unavailable, Source: driver.Plugin, Op: op, Message: "the driver is closed"}
	}
	l.calls.Add(1)
	return l.calls.Done, nil
}

// close refuses further calls and waits for those in flight.
func (l *life) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.calls.Wait()
}
