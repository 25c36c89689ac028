package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
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
//
// There is one for each insight that this server owns, and while the server has its lease nobody else has one. If a server is late to
// find out that it has lost its lease, two may work at once: what the older one still writes is void, see [run.Epoch].
type dispatcher struct {
	engine    *Engine
	insightID string
	epoch     int64 // of the ownership; 0 if the store is not shared
	log       *slog.Logger
	stop      context.CancelFunc
	wake      chan struct{}
	lost      chan struct{} // a session has ended

	mu        sync.Mutex
	line      *scheduling.State
	queued    map[scheduling.ID]queuedRun
	executing map[scheduling.ID]executingRun
	newest    steps
	suspects  map[string]bool         // runs to look at in the store before the next pass
	unsure    map[scheduling.ID]int64 // picks that may not have been scheduled, with the DispatchSeq that they would have
	unread    map[string]bool         // customers whose limits could not be read
	stale     bool                    // the store may hold live runs that are not in memory
	began     bool                    // memory has once been read from the store
	loaded    time.Time               // when memory was last brought up to date
	whole     time.Time               // when all live runs were last read for it
	pulled    time.Time               // when somebody last asked for agendas

	accounts accounts
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

func newDispatcher(e *Engine, insightID string, epoch int64) *dispatcher {
	d := &dispatcher{
		engine: e, insightID: insightID, epoch: epoch, log: e.Logger.With("insight", insightID), stop: func() {},
		wake: make(chan struct{}, 1), lost: make(chan struct{}, 1), line: scheduling.New(scheduling.Settings{}), stale: true,
		queued: map[scheduling.ID]queuedRun{}, executing: map[scheduling.ID]executingRun{}, suspects: map[string]bool{}, unsure: map[scheduling.ID]int64{}, unread: map[string]bool{},
	}
	d.line.Rest = d.rest
	return d
}

// rest lets those go first who wait for mu, which the caller holds.
func (d *dispatcher) rest() {
	d.mu.Unlock()
	runtime.Gosched() // else it would have mu again before they have woken up
	d.mu.Lock()
}

// mayAct reports whether the insight is still this server's.
func (d *dispatcher) mayAct() bool { return d.engine.owners == nil || d.engine.owners.mayAct() }

// run is the dispatcher's loop: it acts on events, and sweeps for what no event told.
func (d *dispatcher) run(ctx context.Context) {
	sweep := time.NewTicker(d.engine.Sweep)
	defer sweep.Stop()
	sweepFails := false
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
		if err := d.sweep(ctx); ctx.Err() == nil {
			if err != nil && !sweepFails {
				d.log.Error("sweep failed, trying again", "error", err)
			}
			sweepFails = err != nil
		}
	}
}

// step brings memory up to date if it is not, and schedules as much as the queue takes.
func (d *dispatcher) step(ctx context.Context) error {
	insight, err := d.engine.catalog.Insights.Get(ctx, d.insightID)
	if err != nil {
		return err
	}
	if since, stale := d.takeStale(); stale {
		if err := d.engine.ensure(ctx, insight.Object.QueueName); err != nil {
			return err
		}
		if err := d.load(ctx, since); err != nil {
			return err
		}
	}
	d.readPolicies()
	for {
		if err := d.settleSuspects(ctx); err != nil {
			return err
		}
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

// due returns a channel that tells when time alone lets an agenda be scheduled; nil if there is no such time.
func (d *dispatcher) due() <-chan time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.line.NextWake()
	if !ok || !d.mayAct() { // who has no lease may not act on it, and looks again with the sweep
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

const (
	// rescanOverlap is since how long before the last rescan the next one reads what has come into line: the clocks of servers differ, and
	// indexes lag behind.
	rescanOverlap = 5 * time.Minute
	// rescanAll is how many waiting runs are read anew with each rescan. Where more wait, all of them are read the more rarely, as reading a
	// million takes some ten seconds and has its price. It finds no more than what came back to an old place in line unheard.
	rescanAll = 10_000
)

// takeStale reports whether memory must be brought up to date, which the caller then does, with the runs that have come into line since
// then; with the zero time, with all.
func (d *dispatcher) takeStale() (since time.Time, stale bool) {
	caps, now := d.engine.store.Capabilities(), d.engine.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	due := func(last time.Time, every time.Duration) bool {
		return (caps.Shared || !caps.FreshIndexes) && now.Sub(last) >= every
	}
	switch {
	case d.stale || due(d.whole, d.engine.Rescan*time.Duration(1+d.line.Waiting()/rescanAll)):
		d.whole = now
	case due(d.loaded, d.engine.Rescan):
		since = d.loaded.Add(-rescanOverlap)
	default:
		return since, false
	}
	d.stale, d.loaded = false, now
	return since, true
}

// observe brings memory up to date with a run that was read or written. What is told late, after a later state of the run, is
// passed over.
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
	if _, doubted := d.unsure[item.ID]; doubted || !d.newest.take(item.ID, r.Step) {
		return
	}
	switch r.State {
	case model.Executing:
		entry := executingRun{session: r.SessionID, fence: r.Fence}
		if !r.Confirmed {
			entry.confirmBy = d.engine.Now().Add(d.engine.Lease)
		}
		if before, known := d.executing[item.ID]; !known || before.fence != r.Fence {
			delete(d.queued, item.ID)
			d.line.SetInFlight(now, r.CustomerID, policy, item, r.UpdatedTime.UnixNano())
		}
		d.executing[item.ID] = entry
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

// policy returns what a customer may do, and false if that cannot be read. A customer that was deleted is held to nothing.
func (d *dispatcher) policy(customerID string) (scheduling.Policy, bool) {
	entry, err := d.engine.catalog.Customers.Get(d.engine.ctx, customerID)
	switch {
	case err == nil:
		return PolicyOf(&entry.Object), true
	case model.KindOf(err) == model.NotFound:
		return scheduling.Policy{Weight: model.DefaultWeight}, true
	default:
		return scheduling.Policy{}, false
	}
}

// withPolicy calls f with a customer's policy while memory is locked. It takes care that an older policy is never used after a
// newer one. Where a policy cannot be read the one before stays, and who has none must wait; the next step tries again.
func (d *dispatcher) withPolicy(customerID string, f func(now int64, policy scheduling.Policy)) {
	for customers := d.engine.catalog.Customers; ; {
		epoch := customers.Epoch()
		policy, read := d.policy(customerID)
		d.mu.Lock()
		current := customers.Epoch() == epoch
		if !read {
			var known bool
			if policy, known = d.line.Policy(customerID); !known {
				policy = scheduling.Policy{Weight: model.DefaultWeight, Paused: scheduling.Forever}
			}
			d.unread[customerID] = true
		}
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

// readPolicies reads limits that could not be read before.
func (d *dispatcher) readPolicies() {
	d.mu.Lock()
	customers := slices.Sorted(maps.Keys(d.unread))
	clear(d.unread)
	d.mu.Unlock()
	_ = d.engine.catalog.Customers.Prefetch(d.engine.ctx, customers...) // else each by itself, as in readLimits
	for _, id := range customers {
		d.withPolicy(id, func(now int64, policy scheduling.Policy) { d.line.SetPolicy(now, id, policy) })
	}
}

// pass schedules as many agendas as may be and returns how many it took out of line.
func (d *dispatcher) pass(ctx context.Context, insight *model.Insight) (int, error) {
	if !d.mayAct() {
		return 0, nil
	}
	picks, accounts := d.take(insight)
	if len(picks) == 0 {
		return 0, nil
	}
	// What is used of rates and quotas is kept first: a crash costs a customer a turn, and never gives it one too many.
	if err := d.keep(ctx, accounts); err != nil {
		d.putBack(picks)
		return 0, err
	}
	return len(picks), d.schedule(ctx, insight, picks)
}

// schedule moves picks to QUEUED and sends their hints.
func (d *dispatcher) schedule(ctx context.Context, insight *model.Insight, picks []scheduling.Pick) error {
	ids := make([]string, len(picks))
	for i, p := range picks {
		ids[i] = agendaID(p.Item.ID)
	}
	runs, err := d.engine.fitting(ctx, ids, func(_ int, r *run) bool { return r.State == model.Waiting && !r.Held })
	if err != nil {
		d.putBack(picks)
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
		next, err := before.schedule(now, d.epoch)
		if err != nil {
			d.refund(picks[i])
			d.observe(before.run) // cancelled meanwhile, or it is to wait longer
			continue
		}
		op, err := before.put(next)
		if err != nil {
			d.putBack(picks)
			return err
		}
		groups, moved = append(groups, driver.Group{op}), append(moved, next)
	}
	results, err := d.engine.store.Write(ctx, groups...)
	if err != nil {
		d.doubt(moved...)
		return fmt.Errorf("schedule %d agendas: %w", len(groups), err)
	}
	sent := moved[:0:0]
	for i, result := range results {
		if result.Err != nil {
			d.doubt(moved[i])
			if !driver.IsConflict(result.Err) { // else somebody else moved it
				err = fmt.Errorf("schedule agenda %q: %w", moved[i].ID, result.Err)
			}
			continue
		}
		sent = append(sent, moved[i])
		d.engine.recent.put(moved[i], result.Versions[0])
		d.engine.watchers.changed(moved[i].ID)
	}
	d.send(ctx, insight.QueueName, sent)
	return err
}

// doubt notes that it is not known whether runs were scheduled. Before anything else is, the store is asked. Up to then they count
// as scheduled, whatever others tell of them.
func (d *dispatcher) doubt(runs ...*run) {
	for _, r := range runs {
		d.engine.recent.forget(r.ID)
		d.mu.Lock()
		d.unsure[r.item().ID] = r.DispatchSeq
		d.mu.Unlock()
		d.recheck(r.ID)
	}
}

// resolve ends the doubt about a run that was read since, and gives back what it was charged if it was not scheduled.
func (d *dispatcher) resolve(r *run) {
	id := r.item().ID
	d.mu.Lock()
	defer d.mu.Unlock()
	seq, doubted := d.unsure[id]
	if !doubted {
		return
	}
	delete(d.unsure, id)
	if r.DispatchSeq < seq || r.Epoch != d.epoch {
		d.line.Refund(d.now(), id)
	}
}

// take serves a pass in memory. With it come the accounts of the metered customers it serves.
func (d *dispatcher) take(insight *model.Insight) ([]scheduling.Pick, map[string]scheduling.Account) {
	settings, now := SettingsOf(insight), d.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.line.Configure(now, settings)
	picks := d.line.Serve(now, maxPass)
	return picks, d.line.Accounts(picks)
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
	d.engine.readLimits(ctx, runs)
	messages := make([]driver.Message, len(runs))
	for i, r := range runs {
		q := queuedRun{
			hint: hint{r.ID, r.Body, r.DispatchSeq}, customer: r.CustomerID,
			resendAt: d.engine.Now().Add(d.engine.Resend), resend: 2 * d.engine.Resend,
		}
		messages[i] = q.message()
		d.withPolicy(r.CustomerID, func(now int64, policy scheduling.Policy) {
			if !d.newest.take(r.item().ID, r.Step) {
				return // it has moved on
			}
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
