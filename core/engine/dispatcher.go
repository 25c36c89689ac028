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

	accountsLoaded bool
	pulled         time.Time // when somebody last asked for agendas
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
	confirmBy time.Time // when to ask the store whether it has reported; zero once it has
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
		wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), open: make(chan struct{}), line: scheduling.New(scheduling.Settings{}), stale: true,
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
		wake, due := d.wake, d.due()
		if failures > 0 {
			wake, due = nil, nil // wait for the sweep
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
			continue
		case <-due:
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

// noticePull notes that somebody asks for agendas.
func (d *dispatcher) noticePull() {
	now := d.engine.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pulled = now
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

// due returns a channel that tells when time alone lets an agenda be scheduled; nil if there is no such time.
func (d *dispatcher) due() <-chan time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.line.NextWake()
	if !ok {
		return nil
	}
	return time.NewTimer(time.Unix(0, at).Sub(d.engine.Now())).C
}

// now is the time as the planner counts it.
func (d *dispatcher) now() int64 { return d.engine.Now().UnixNano() }

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
	if r.State == model.Queued {
		return // only the dispatcher itself schedules
	}
	d.withPolicy(r.CustomerID, func(now int64, policy scheduling.Policy) { d.place(r, now, policy) })
	d.signal()
}

// leave takes a run that has waited out of the place in line that it had.
func (d *dispatcher) leave(r *run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.Remove(d.now(), r.CustomerID, r.item())
}

// place puts a run where its state says.
func (d *dispatcher) place(r *run, now int64, policy scheduling.Policy) {
	item := r.item()
	switch r.State {
	case model.Executing:
		before, known := d.executing[item.ID]
		switch {
		case known && before.fence > r.Fence: // told late
		case !r.Confirmed:
			delete(d.queued, item.ID)
			d.executing[item.ID] = executingRun{r.SessionID, r.Fence, d.engine.Now().Add(d.engine.Lease)}
			d.line.SetInFlight(now, r.CustomerID, policy, item, now)
		case known:
			d.executing[item.ID] = executingRun{session: r.SessionID, fence: r.Fence}
		}
	default:
		delete(d.queued, item.ID)
		delete(d.executing, item.ID)
		d.line.Finish(now, item.ID)
		if r.live() {
			d.line.Add(now, r.CustomerID, policy, item)
		} else {
			d.line.Remove(now, r.CustomerID, item)
		}
	}
}

// policy returns what a customer may do. One that cannot be read is held to nothing until it can.
func (d *dispatcher) policy(customerID string) scheduling.Policy {
	entry, err := d.engine.catalog.Customers.Get(d.engine.ctx, customerID)
	if err != nil {
		return scheduling.Policy{Weight: model.DefaultWeight}
	}
	return PolicyOf(&entry.Object)
}

// withPolicy calls f with a customer's policy while memory is locked. It takes care that an older policy is never used after a
// newer one.
func (d *dispatcher) withPolicy(customerID string, f func(now int64, policy scheduling.Policy)) {
	for customers := d.engine.catalog.Customers; ; {
		epoch := customers.Epoch()
		policy := d.policy(customerID)
		d.mu.Lock()
		current := customers.Epoch() == epoch
		if current {
			f(d.now(), policy)
		}
		d.mu.Unlock()
		if current {
			return
		}
	}
}

// customerChanged takes over what a customer may do now.
func (d *dispatcher) customerChanged(customerID string) {
	d.withPolicy(customerID, func(now int64, policy scheduling.Policy) { d.line.SetPolicy(now, customerID, policy) })
	d.signal()
}

// pass schedules as many agendas as may be and returns how many it took out of line.
func (d *dispatcher) pass(ctx context.Context, insight *model.Insight) (int, error) {
	picks, accounts := d.take(insight)
	if len(picks) == 0 {
		return 0, nil
	}
	if err := d.schedule(ctx, insight, picks, accounts); err != nil {
		d.putBack(picks)
		return 0, err
	}
	return len(picks), nil
}

// schedule moves picks to QUEUED and sends their hints. After an error it is not known which were moved.
func (d *dispatcher) schedule(ctx context.Context, insight *model.Insight, picks []scheduling.Pick, accounts map[string]scheduling.Account) error {
	// What is used of rates and quotas is kept first: a crash costs a customer a turn, and never gives it one too many.
	if err := d.keep(ctx, accounts); err != nil {
		return err
	}
	ids := make([]string, len(picks))
	for i, p := range picks {
		ids[i] = agendaID(p.Item.ID)
	}
	runs, err := d.engine.fitting(ctx, ids, func(_ int, r *run) bool { return r.State == model.Waiting && !r.Held })
	if err != nil {
		return err
	}
	now := d.engine.Now()
	var groups []driver.Group
	var moved []*run
	for i, before := range runs {
		if before.run == nil {
			d.refund(picks[i])
			continue
		}
		next, err := before.schedule(now)
		if err != nil {
			d.refund(picks[i])
			d.observe(before.run) // cancelled meanwhile, or it is to wait longer
			continue
		}
		op, err := before.put(next)
		if err != nil {
			return err
		}
		groups, moved = append(groups, driver.Group{op}), append(moved, next)
	}
	results, err := d.engine.store.Write(ctx, groups...)
	if err != nil {
		for _, r := range moved {
			d.engine.recent.forget(r.ID)
		}
		return fmt.Errorf("schedule %d agendas: %w", len(groups), err)
	}
	sent := moved[:0]
	for i, result := range results {
		if result.Err != nil {
			d.engine.recent.forget(moved[i].ID)
			if !driver.IsConflict(result.Err) {
				return fmt.Errorf("schedule agenda %q: %w", moved[i].ID, result.Err)
			}
			d.refund(scheduling.Pick{Customer: moved[i].CustomerID, Item: moved[i].item()})
			d.rescan() // somebody else moved it; see where to
			continue
		}
		sent = append(sent, moved[i])
		d.engine.recent.put(moved[i], result.Versions[0])
		d.engine.watchers.changed(moved[i].ID)
	}
	d.send(ctx, insight.QueueName, sent)
	return nil
}

// take plans and commits a pass in memory. With it come the accounts of the metered customers it serves.
func (d *dispatcher) take(insight *model.Insight) ([]scheduling.Pick, map[string]scheduling.Account) {
	settings, now := SettingsOf(insight), d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.Configure(now, settings)
	for {
		planned := d.line.Plan(now, maxPass)
		picks := d.line.Commit(planned)
		if len(picks) > 0 || len(planned) == 0 { // else they were twins: a stale index can show an agenda in two places of the line
			return picks, d.line.Accounts(picks)
		}
	}
}

// putBack takes picks back in line. What is not WAITING any more is dropped when it comes up again.
func (d *dispatcher) putBack(picks []scheduling.Pick) {
	for _, p := range picks {
		d.withPolicy(p.Customer, func(now int64, policy scheduling.Policy) {
			d.line.Refund(now, p.Item.ID)
			d.line.Add(now, p.Customer, policy, p.Item)
		})
	}
}

// refund takes back a pick that turned out not to be waiting.
func (d *dispatcher) refund(p scheduling.Pick) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.Refund(d.now(), p.Item.ID)
}

// send puts the hints of QUEUED runs on the queue. They are in memory before, so that a claim finds them there. A hint that could
// not be sent is sent again by the sweep.
func (d *dispatcher) send(ctx context.Context, queueName string, runs []*run) {
	if len(runs) == 0 {
		return
	}
	messages := make([]driver.Message, len(runs))
	for i, r := range runs {
		q := queuedRun{
			hint: hint{r.ID, r.Body, r.DispatchSeq}, customer: r.CustomerID,
			resendAt: d.engine.Now().Add(d.engine.Resend), resend: 2 * d.engine.Resend,
		}
		messages[i] = q.message()
		d.withPolicy(r.CustomerID, func(now int64, policy scheduling.Policy) {
			d.queued[r.item().ID] = q
			d.line.SetInFlight(now, r.CustomerID, policy, r.item(), 0)
		})
	}
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
	if err := d.loadAccounts(ctx); err != nil {
		return err
	}
	for customer, items := range waiting {
		d.withPolicy(customer, func(now int64, policy scheduling.Policy) { d.line.AddAll(now, customer, policy, items) })
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
	d.withPolicy(r.CustomerID, func(now int64, policy scheduling.Policy) {
		id := r.item().ID
		if old, ok := d.executing[id]; ok && old.fence >= r.Fence {
			return
		}
		delete(d.queued, id)
		// It may have ended since it was read, so it must be heard of, or read, once more.
		d.executing[id] = executingRun{r.SessionID, r.Fence, d.engine.Now().Add(d.engine.Lease)}
		d.line.SetInFlight(now, r.CustomerID, policy, r.item(), r.UpdatedTime.UnixNano())
	})
}
