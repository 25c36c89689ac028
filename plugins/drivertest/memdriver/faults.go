package memdriver

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// Method names a method of a driver, such as "Write".
type Method string

// The methods that a [Call] can be of.
const (
	Migrate Method = "Migrate"
	Get     Method = "Get"
	Scan    Method = "Scan"
	Write   Method = "Write"
	Ensure  Method = "Ensure"
	Send    Method = "Send"
	Receive Method = "Receive"
	Ack     Method = "Ack"
	Depth   Method = "Depth"
	Purge   Method = "Purge"

	Authenticate Method = "Authenticate"
)

// Call is a call that is about to be made.
type Call struct {
	Method  Method
	N       int // of this method, from 0
	Request any // a driver.WriteRequest and so on; not to be changed
}

// Fault is what goes wrong with a [Call]. The zero value is nothing.
type Fault struct {
	Delay time.Duration // before the call, and over when its context is
	Err   error         // what the call fails with
	Lost  bool          // the call is made nevertheless: only its reply is lost

	Drop      bool // messages of a Send are accepted but never arrive
	Duplicate bool // messages of a Send arrive twice

	// Each, if not nil, gives the fault of each group of a Write or message of a Send. Its Delay and Each count for nothing.
	Each func(i int) Fault
}

// Throttled makes a call fail before it does anything.
func Throttled(retryAfter time.Duration) Fault {
	return Fault{Err: &driver.Error{Code: driver.Throttled, Op: "fault", Message: "slow down", RetryAfter: retryAfter}}
}

// Unavailable makes a call fail before it does anything.
func Unavailable() Fault {
	return Fault{Err: &driver.Error{Code: driver.Unavailable, Op: "fault", Message: "out of order"}}
}

// LostReply makes a call fail after it has done its work; its outcome is unknown.
func LostReply() Fault {
	return Fault{Err: unknownOutcome(), Lost: true}
}

// LostRequest makes a call fail before it does anything, in a way that can't be told from [LostReply].
func LostRequest() Fault {
	return Fault{Err: unknownOutcome()}
}

func unknownOutcome() error {
	return &driver.Error{Code: driver.Unavailable, Op: "fault", Message: "the connection broke", Outcome: driver.Unknown}
}

// Count is how often a method was called and how many items it was about: keys of Get, records found by Scan, operations
// of Write, messages of Send, deliveries of Receive, receipts of Ack, callers of Authenticate. Calls that a fault refused count as calls.
type Count struct{ Calls, Items int }

// Counts are counts by method.
type Counts map[Method]Count

// Calls returns the number of calls of all methods.
func (c Counts) Calls() int {
	n := 0
	for _, count := range c {
		n += count.Calls
	}
	return n
}

// faults counts calls and asks the hook about each.
type faults struct {
	hook func(Call) Fault

	mu     sync.Mutex
	counts Counts
}

// Counts returns the counts since the beginning or the last reset.
func (f *faults) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts)
}

// ResetCounts sets all counts to zero.
func (f *faults) ResetCounts() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.counts)
}

func (f *faults) add(m Method, calls, items int) (before Count) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before = f.counts[m]
	f.counts[m] = Count{before.Calls + calls, before.Items + items}
	return before
}

// begin returns the fault of a call that is about to be made, after its delay.
func (f *faults) begin(ctx context.Context, m Method, request any) (Fault, error) {
	before := f.add(m, 1, 0)
	if f.hook == nil {
		return Fault{}, nil
	}
	fault := f.hook(Call{Method: m, N: before.Calls, Request: request})
	if fault.Delay > 0 {
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fault, fmt.Errorf("%s: %w", m, ctx.Err())
		}
	}
	return fault, nil
}

// do makes a call unless its fault is in the way. It returns a reply only without an error.
func do[Req, Resp any](
	ctx context.Context, f *faults, m Method, req Req, call func(Fault) (resp Resp, items int, err error),
) (Resp, error) {
	var none Resp
	fault, err := f.begin(ctx, m, req)
	if err != nil {
		return none, err
	}
	if fault.Err != nil && !fault.Lost {
		return none, fault.Err
	}
	resp, items, err := call(fault)
	f.add(m, 0, items)
	if fault.Err != nil {
		return none, fault.Err
	}
	return resp, err
}

// each returns the fault of one group or message of a call.
func (f Fault) each(i int) Fault {
	if f.Each != nil {
		return f.Each(i)
	}
	return Fault{Drop: f.Drop, Duplicate: f.Duplicate}
}
