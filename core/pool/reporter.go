package pool

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/core/model"
)

const (
	maxReports     = 100     // in one call
	maxReportBytes = 4 << 20 // of results in one call, more or less
	senders        = 2

	// calmTime is how long a new run only collects changes: if it ends within, it costs one report.
	calmTime = 200 * time.Millisecond
	// progressTime is between two reports of a run that tell nothing but progress, unless the server wants it longer.
	progressTime = 500 * time.Millisecond
	// tick is how often delayed reports are looked at. What starts and ends in between is told together: the end of an
	// operation with the start of those that waited for it, and one run with others.
	tick = 50 * time.Millisecond

	reportTimeout = 30 * time.Second
)

// reporter sends the reports of all runs: last state wins, many in one call, repeated until the server has spoken.
type reporter struct {
	api           API
	meter         *meter
	log           *slog.Logger
	maxUnsettled  int          // ended runs that may wait for their final report before they keep their slots
	progressEvery atomic.Int64 // a time.Duration: what the server wants instead of progressTime

	mu        sync.Mutex
	queue     []*run
	delayed   []*run
	unsettled int           // ended runs whose final report the server has not answered
	pending   map[*run]bool // runs with an end, of theirs or an operation's, that the server has not taken in
	keepOn    chan struct{}
	wake      chan struct{}
	tickerOn  chan struct{}
	idle      chan struct{} // closed and renewed when unsettled becomes 0
}

func newReporter(api *meter, log *slog.Logger, maxUnsettled int) *reporter {
	return &reporter{
		api: api, meter: api, log: log, maxUnsettled: maxUnsettled,
		wake:     make(chan struct{}, senders),
		tickerOn: make(chan struct{}, 1),
		pending:  map[*run]bool{},
		keepOn:   make(chan struct{}, 1),
		idle:     make(chan struct{}),
	}
}

// run sends reports until ctx is done.
func (p *reporter) run(ctx context.Context) {
	var group sync.WaitGroup
	for range senders {
		group.Go(func() { p.sendAll(ctx) })
	}
	group.Go(func() { p.tick(ctx) })
	group.Wait()
}

// begin takes a run in. The report that it has begun goes out after the calm time, or with the final one.
func (p *reporter) begin(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.calmUntil = time.Now().Add(calmTime)
	r.changed, r.urgent = true, true
	p.meter.began(r)
	p.schedule(r)
}

// update changes the progress of an operation.
func (p *reporter) update(r *run, i int, change func(op *model.OperationProgress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.change(r, i, change) {
		p.schedule(r)
	}
}

// updateLast is update for a change that finish or drop follows at once.
func (p *reporter) updateLast(r *run, i int, change func(op *model.OperationProgress)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change(r, i, change)
}

func (p *reporter) change(r *run, i int, change func(op *model.OperationProgress)) bool {
	if r.over() { // refused meanwhile
		return false
	}
	op := &r.operations[i]
	before := op.State
	change(&op.OperationProgress)
	op.changed, r.changed = true, true
	r.changes++
	if op.State == model.Complete {
		p.await(r)
	}
	if op.State != before {
		r.urgent = true
		p.meter.operation(op.kind, before, &op.OperationProgress)
	}
	return true
}

// await notes that the server is to take in an end.
func (p *reporter) await(r *run) {
	if !p.pending[r] {
		p.pending[r] = true
		r.pendingSince = time.Now()
		signal(p.keepOn)
	}
}

// finish reports the end of a run. It must be called once, or drop.
func (p *reporter) finish(r *run, status model.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.settled || r.over() { // refused meanwhile
		return
	}
	p.end(r, status)
}

func (p *reporter) end(r *run, status model.Status) {
	r.status = status
	if status.State == model.Complete {
		p.meter.ended(string(status.Outcome))
	} else {
		p.meter.ended("handed_back")
	}
	r.changed = true
	r.changes++
	p.unsettled++
	p.await(r)
	p.schedule(r)
}

// drop ends a run about which nothing is to be reported any more.
func (p *reporter) drop(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !r.over() { // as a refused one has
		p.meter.ended("revoked")
		p.settle(r)
	}
}

func (p *reporter) settle(r *run) {
	if r.settled {
		return
	}
	r.settled = true
	delete(p.pending, r)
	if !r.over() {
		return
	}
	if p.unsettled--; p.unsettled == 0 {
		close(p.idle)
		p.idle = make(chan struct{})
	}
	if r.onSettled != nil {
		r.onSettled()
	}
}

// release calls free when the run may give its slot to another: at once, unless too many final reports are outstanding.
func (p *reporter) release(r *run, free func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.settled || p.unsettled <= p.maxUnsettled {
		free()
	} else {
		r.onSettled = free
	}
}

// flush waits until every final report has been answered.
func (p *reporter) flush(ctx context.Context) error {
	p.mu.Lock()
	idle, n := p.idle, p.unsettled
	p.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// schedule puts a run where it belongs. Runs that are queued or in flight are looked at again afterwards.
func (p *reporter) schedule(r *run) {
	switch {
	case !r.changed || r.settled || r.place == queued || r.place == inFlight:
	case r.over():
		p.enqueue(r)
	default:
		r.place = delayed
		if !r.listed {
			r.listed = true
			p.delayed = append(p.delayed, r)
			signal(p.tickerOn)
		}
	}
}

func (p *reporter) enqueue(r *run) {
	r.place = queued
	p.queue = append(p.queue, r)
	signal(p.wake)
}

// due reports whether a run that has not ended should be reported now.
func (r *run) due(now time.Time) bool {
	if r.urgent {
		return !now.Before(r.calmUntil)
	}
	return !now.Before(r.notBefore)
}

// tick queues delayed runs when they are due. It rests while there are none.
func (p *reporter) tick(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.tickerOn:
		}
		if sleep(ctx, tick) != nil {
			return
		}
		now := time.Now()
		p.mu.Lock()
		waiting := p.delayed
		p.delayed = p.delayed[:0]
		for _, r := range waiting {
			r.listed = false
			switch {
			case r.place != delayed: // queued meanwhile
			case r.due(now):
				p.enqueue(r)
			default:
				p.schedule(r)
			}
		}
		clear(waiting[len(p.delayed):])
		p.mu.Unlock()
	}
}
