package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// maxPass bounds the agendas of one pass, so that the first of them need not wait for the last.
const maxPass = 128

// dispatcher schedules the agendas of one insight. Its memory is a view of the store: what it holds too much is dropped when the
// store says otherwise, and what it misses is found by the next rescan.
type dispatcher struct {
	engine    *Engine
	insightID string
	log       *slog.Logger
	wake      chan struct{}
	lost      chan struct{} // a session has ended
	open      chan struct{} // closed once the queue is there

	openOnce sync.Once

	mu        sync.Mutex
	line      *scheduling.State
	queued    map[scheduling.ID]queuedRun
	executing map[scheduling.ID]executingRun
	stale     bool // the store may hold live runs that are not in memory
	loaded    time.Time
}

// queuedRun is a run whose hint is on the queue.
type queuedRun struct {
	hint     hint
	customer string
	resendAt time.Time
	resend   time.Duration // until the next time
}

// executingRun is a run that an executor has claimed.
type executingRun struct {
	session   string
	fence     int64
	confirmBy time.Time // zero once the executor has reported
}

// hint is the body of a message: it tells a puller which run to claim.
type hint struct {
	AgendaID    string `json:"a"`
	Body        string `json:"b"`
	DispatchSeq int64  `json:"s"`
}

func newDispatcher(e *Engine, insightID string) *dispatcher {
	return &dispatcher{
		engine: e, insightID: insightID, log: e.Logger.With("insight", insightID),
		wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), open: make(chan struct{}), line: scheduling.New(scheduling.WeightedFair), stale: true,
		queued: map[scheduling.ID]queuedRun{}, executing: map[scheduling.ID]executingRun{},
	}
}

// run is the dispatcher's loop: it acts on events, and sweeps for what no event told.
func (d *dispatcher) run(ctx context.Context) {
	sweep := time.NewTicker(d.engine.Sweep)
	defer sweep.Stop()
	for failures := 0; ; {
		err := d.step(ctx)
		if ctx.Err() != nil {
			return
		}
		switch {
		case model.KindOf(err) == model.NotFound:
			d.log.Info("the insight is gone, scheduling ends")
			d.engine.retire(d)
			return
		case err != nil:
			d.rescan()
			if failures++; failures == 1 {
				d.log.Error("scheduling failed, trying again", "error", err)
			}
		case failures > 0:
			d.log.Info("scheduling goes on", "failures", failures)
			failures = 0
		}
		wake := d.wake
		if failures > 0 {
			wake = nil // wait for the sweep
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
			continue
		case <-sweep.C:
		case <-d.lost:
		}
		if err := d.sweep(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("sweep failed, trying again", "error", err)
		}
	}
}

// step brings memory up to date if it is not, and schedules as much as the queue takes.
func (d *dispatcher) step(ctx context.Context) error {
	insight, err := d.engine.catalog.Insights.Get(ctx, d.insightID)
	if err != nil {
		return err
	}
	if d.takeStale() {
		if err := d.engine.queue.Ensure(ctx, insight.Object.QueueName); err != nil {
			return fmt.Errorf("queue %q: %w", insight.Object.QueueName, err)
		}
		d.openOnce.Do(func() { close(d.open) })
		if err := d.load(ctx); err != nil {
			return err
		}
	}
	for {
		n, err := d.pass(ctx, &insight.Object)
		if err != nil || n == 0 {
			return err
		}
	}
}

// awaitOpen waits until the insight's queue is there and reports whether it is.
func (d *dispatcher) awaitOpen(ctx context.Context, wait time.Duration) bool {
	select {
	case <-d.open:
		return true
	default:
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case <-d.open:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	return false
}

// signal wakes the loop.
func (d *dispatcher) signal() { notify(d.wake) }

// sweepNow makes the loop look for lost sessions and hints at once.
func (d *dispatcher) sweepNow() { notify(d.lost) }

func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// rescan makes the loop read the live runs from the store.
func (d *dispatcher) rescan() {
	d.mu.Lock()
	d.stale = true
	d.mu.Unlock()
	d.signal()
}

// takeStale reports whether memory must be brought up to date, which the caller then does.
func (d *dispatcher) takeStale() bool {
	caps, now := d.engine.store.Capabilities(), d.engine.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	stale := d.stale || (caps.Shared || !caps.FreshIndexes) && now.Sub(d.loaded) >= d.engine.Rescan
	if stale {
		d.stale, d.loaded = false, now
	}
	return stale
}

// observe brings memory up to date with a run that was written. Runs may be observed in another order than they were written:
// at worst that leaves an entry too many, which is dropped when the store is asked about it.
func (d *dispatcher) observe(r *run) {
	item, weight := r.item(), 0.0
	if r.live() {
		weight = d.weight(r.CustomerID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r.State {
	case model.Queued: // only the dispatcher itself schedules
		return
	case model.Executing:
		_, known := d.executing[item.ID]
		switch {
		case !r.Confirmed:
			delete(d.queued, item.ID)
			d.executing[item.ID] = executingRun{r.SessionID, r.Fence, d.engine.Now().Add(d.engine.Lease)}
		case known:
			d.executing[item.ID] = executingRun{session: r.SessionID, fence: r.Fence}
			return
		}
	default:
		delete(d.queued, item.ID)
		delete(d.executing, item.ID)
		if r.live() {
			d.line.Add(r.CustomerID, weight, item)
		} else {
			d.line.Remove(r.CustomerID, item)
		}
	}
	d.signal()
}

// weight returns a customer's weight. One that cannot be read counts as 1 until it can.
func (d *dispatcher) weight(customerID string) float64 {
	entry, err := d.engine.catalog.Customers.Get(d.engine.ctx, customerID)
	if err != nil {
		return model.DefaultWeight
	}
	return entry.Object.Weight
}

// pass schedules as many agendas as the queue has room for and returns how many it took out of line.
func (d *dispatcher) pass(ctx context.Context, insight *model.Insight) (int, error) {
	picks := d.take(insight)
	if len(picks) == 0 {
		return 0, nil
	}
	ids := make([]string, len(picks))
	for i, p := range picks {
		ids[i] = agendaID(p.Item.ID)
	}
	runs, err := d.engine.readRuns(ctx, ids)
	if err != nil {
		return 0, err
	}
	now := d.engine.Now()
	var groups []driver.Group
	var moved []*run
	for i, before := range runs {
		if before.run == nil {
			d.drop(picks[i])
			continue
		}
		next, err := before.schedule(now)
		if err != nil {
			d.drop(picks[i]) // cancelled meanwhile
			continue
		}
		op, err := before.put(next)
		if err != nil {
			return 0, err
		}
		groups, moved = append(groups, driver.Group{op}), append(moved, next)
	}
	results, err := d.engine.store.Write(ctx, groups...)
	if err != nil {
		return 0, fmt.Errorf("schedule %d agendas: %w", len(groups), err)
	}
	sent := moved[:0]
	for i, result := range results {
		if result.Err != nil {
			if !driver.IsConflict(result.Err) {
				return 0, fmt.Errorf("schedule agenda %q: %w", moved[i].ID, result.Err)
			}
			d.rescan() // somebody else moved it; see where to
			continue
		}
		sent = append(sent, moved[i])
		d.engine.watchers.changed(moved[i].ID)
	}
	d.send(ctx, insight.QueueName, sent)
	return len(picks), nil
}

// take plans and commits a pass in memory.
func (d *dispatcher) take(insight *model.Insight) []scheduling.Pick {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.SetAlgorithm(algorithmOf(insight.SchedulingAlgorithm))
	picks := d.line.Plan(min(insight.QueueSize-len(d.queued), maxPass))
	d.line.Commit(picks)
	return picks
}

func algorithmOf(a model.SchedulingAlgorithm) scheduling.Algorithm {
	switch a {
	case model.FirstInFirstOut:
		return scheduling.FirstInFirstOut
	case model.RoundRobin:
		return scheduling.RoundRobin
	default:
		return scheduling.WeightedFair
	}
}

// drop takes back a pick that turned out not to be waiting.
func (d *dispatcher) drop(p scheduling.Pick) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.Refund(p.Customer)
}

// send puts the hints of QUEUED runs on the queue. They are in memory before, so that a claim finds them there. A hint that could
// not be sent is sent again by the sweep.
func (d *dispatcher) send(ctx context.Context, queueName string, runs []*run) {
	if len(runs) == 0 {
		return
	}
	messages := make([]driver.Message, len(runs))
	d.mu.Lock()
	for i, r := range runs {
		q := queuedRun{
			hint: hint{r.ID, r.Body, r.DispatchSeq}, customer: r.CustomerID,
			resendAt: d.engine.Now().Add(d.engine.Resend), resend: 2 * d.engine.Resend,
		}
		d.queued[r.item().ID] = q
		messages[i] = q.message()
	}
	d.mu.Unlock()
	if err := d.engine.queue.Send(ctx, queueName, messages); err != nil {
		d.log.Warn("hints not sent, the sweep sends them again", "queue", queueName, "error", err)
	}
}

func (q queuedRun) message() driver.Message {
	body, _ := json.Marshal(q.hint) // two strings and a number
	return driver.Message{Group: q.customer, Body: body}
}

// load reads the live runs of the insight into memory.
func (d *dispatcher) load(ctx context.Context) error {
	start := d.engine.Now()
	waiting := map[string][]scheduling.Item{}
	var busy []string
	for shard := range liveShards {
		req := driver.ScanRequest{Kind: kindRun, Index: indexLive, Part: livePart(d.insightID, shard)}
		for rec, err := range d.engine.store.Scan(ctx, req) {
			if err != nil {
				return fmt.Errorf("load live agendas: %w", err)
			}
			entry, err := parseLiveSort(rec.Index[0].Sort)
			if err != nil {
				return driver.Errorf(driver.Corrupt, "engine", "live agenda %q: %w", rec.Key.Part, err)
			}
			if entry.waiting {
				waiting[entry.customer] = append(waiting[entry.customer], entry.item)
			} else {
				busy = append(busy, rec.Key.Part)
			}
		}
	}
	for customer, items := range waiting {
		weight := d.weight(customer)
		d.mu.Lock()
		d.line.AddAll(customer, weight, items)
		d.mu.Unlock()
	}
	if err := d.settle(ctx, busy); err != nil {
		return err
	}
	if len(waiting)+len(busy) > 0 {
		d.log.Info("live agendas loaded", "customers_waiting", len(waiting), "busy", len(busy), "took", d.engine.Now().Sub(start))
	}
	return nil
}

// settle asks the store about runs that are thought to be QUEUED or EXECUTING, and sends the hints of those that are QUEUED and
// have none in memory.
func (d *dispatcher) settle(ctx context.Context, ids []string) error {
	insight, err := d.engine.catalog.Insights.Get(ctx, d.insightID)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(ids, 500) {
		runs, err := d.engine.readRuns(ctx, batch)
		if err != nil {
			return err
		}
		var unsent []*run
		for _, r := range runs {
			if r.run == nil {
				continue
			}
			switch {
			case r.State == model.Queued && !d.hasQueued(r.run):
				unsent = append(unsent, r.run)
			case r.State == model.Executing:
				d.adopt(r.run)
			default:
				d.observe(r.run)
			}
		}
		d.send(ctx, insight.Object.QueueName, unsent)
	}
	return nil
}

func (d *dispatcher) hasQueued(r *run) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.queued[r.item().ID]
	return ok
}

// adopt takes in a run that was claimed before this dispatcher was there.
func (d *dispatcher) adopt(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := r.item().ID
	if old, ok := d.executing[id]; ok && old.fence >= r.Fence {
		return
	}
	delete(d.queued, id)
	e := executingRun{session: r.SessionID, fence: r.Fence}
	if !r.Confirmed {
		e.confirmBy = d.engine.Now().Add(d.engine.Lease)
	}
	d.executing[id] = e
}
