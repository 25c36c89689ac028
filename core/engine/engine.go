package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
)

// Options are the optional parts of an [Engine].
type Options struct {
	Now    func() time.Time // default time.Now
	NewID  func() uuid.UUID // default random
	Logger *slog.Logger     // default discards
	// Lease is how long a session lives without a heartbeat. Default [DefaultLease].
	Lease time.Duration
	// Resend is when a QUEUED agenda that nobody claimed is sent to its queue again; it doubles each time. Default 30 seconds.
	Resend time.Duration
	// Sweep is how often an insight looks for lost sessions and lost hints. Default 1 second.
	Sweep time.Duration
	// ProgressEvery is how often executors report on a run of which there is only progress to tell: each report is a write. Default half a
	// second, and 30 seconds if the store is shared, as such a store is not on this machine and has its price.
	ProgressEvery time.Duration
	// Server is this server's id among those that share the store. Each process must have another. Default random.
	Server string
	// Address is where other servers reach this one's API, such as https://10.0.0.7:8080. Without one they cannot pass on to it what only
	// the owner of an insight can answer.
	Address string
	// OwnerLease is how long a server that has gone keeps the insights that it scheduled; then others take them over. It counts only
	// where the store is shared. Default [DefaultOwnerLease], at least a second.
	OwnerLease time.Duration
	// IndexLag is the longest that the store's indexes may lag behind, if they may be stale: for so long nobody schedules an insight
	// that has changed its owner, so that the new one sees what is in flight. It is part of OwnerLease, of which it is half at most.
	// Default 2 seconds.
	IndexLag time.Duration
	// Rescan is how often an insight reads its live agendas again if the store is shared or its indexes may be stale. Default 1 minute.
	Rescan time.Duration
	// KeepLogs is how long what operations printed is kept. Default [DefaultKeepLogs].
	KeepLogs time.Duration
}

// Engine leads agendas through their lives. It is safe for concurrent use.
type Engine struct {
	store   *store.Store
	queue   *queue.Queue
	catalog *catalog.Catalog
	Options

	started time.Time
	ctx     context.Context // of the dispatchers
	stop    context.CancelFunc
	running sync.WaitGroup

	mu          sync.Mutex
	dispatchers map[string]*dispatcher // by insight id

	owners *owners // nil if the store is not shared: then this server owns every insight

	ensured  sync.Map // names of queues that are there
	newsroom newsroom
	sessions sessionCache
	watchers watchers
	recent   recent
	pages    pageNames
}

// New returns an engine. Nothing is scheduled before [Engine.Start].
func New(st *store.Store, q *queue.Queue, c *catalog.Catalog, o Options) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.New
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Resend == 0 {
		o.Resend = 30 * time.Second
	}
	if o.Sweep == 0 {
		o.Sweep = time.Second
	}
	if o.Server == "" {
		o.Server = o.NewID().String()
	}
	if o.OwnerLease == 0 {
		o.OwnerLease = DefaultOwnerLease
	}
	if o.IndexLag == 0 {
		o.IndexLag = 2 * time.Second
	}
	o.OwnerLease = max(o.OwnerLease, time.Second)
	o.IndexLag = min(o.IndexLag, o.OwnerLease/2)
	if o.Rescan == 0 {
		o.Rescan = time.Minute
	}
	if o.KeepLogs == 0 {
		o.KeepLogs = DefaultKeepLogs
	}
	if o.ProgressEvery == 0 {
		o.ProgressEvery = 500 * time.Millisecond
		if st.Capabilities().Shared {
			o.ProgressEvery = 30 * time.Second
		}
	}
	e := &Engine{store: st, queue: q, catalog: c, Options: o, started: o.Now(), dispatchers: map[string]*dispatcher{}}
	e.ctx, e.stop = context.WithCancel(context.Background())
	if st.Capabilities().Shared {
		e.owners = &owners{engine: e, log: o.Logger.With("server", o.Server), wake: make(chan struct{}, 1)}
	}
	c.Insights.Subscribe(func(id string) {
		e.mu.Lock()
		d := e.dispatchers[id]
		e.mu.Unlock()
		switch {
		case d != nil:
			d.signal()
		case e.owners != nil:
			notify(e.owners.wake) // it may be a new one
			e.inform(id, news{Insight: true})
		}
	})
	c.Customers.Subscribe(func(id string) {
		for _, d := range e.allDispatchers() {
			d.customerChanged(id)
		}
		e.tellOfCustomer(id)
	})
	return e
}

// Start begins to schedule the agendas of every insight, or of those that no other server schedules if the store is shared.
func (e *Engine) Start(ctx context.Context) error {
	if e.owners != nil {
		if err := e.owners.step(ctx); err != nil {
			return fmt.Errorf("engine: start: %w", err)
		}
		e.running.Go(func() { e.owners.run(e.ctx) })
		return nil
	}
	insights, err := e.catalog.Insights.All(ctx)
	if err != nil {
		return fmt.Errorf("engine: start: %w", err)
	}
	for _, insight := range insights {
		e.dispatcher(insight.Object.ID)
	}
	return nil
}

// Stop ends scheduling and waits for it, and lets other servers take over at once. Calls in flight are not affected.
func (e *Engine) Stop() {
	e.stop()
	e.running.Wait()
	if e.owners == nil || e.owners.beaten.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	if err := e.owners.beat(ctx, true); err != nil {
		e.Logger.Warn("insights not given up, others take them over in a while", "after", e.OwnerLease, "error", err)
	}
}

// leaveTimeout is how long a server that stops tries to say so.
const leaveTimeout = 5 * time.Second

// Ready reports whether the store answers.
func (e *Engine) Ready(ctx context.Context) error {
	if _, err := e.store.GetOne(ctx, sessionKey("readiness probe")); err != nil {
		return fmt.Errorf("engine: store: %w", err)
	}
	return nil
}

// dispatcher returns the dispatcher of an insight, nil if another server owns it. Where there are no others it is started if need be.
func (e *Engine) dispatcher(insightID string) *dispatcher {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.dispatchers[insightID]
	if d == nil && e.owners == nil {
		d = e.startDispatcher(insightID, 0, 0)
	}
	return d
}

// startDispatcher makes a dispatcher and has it start after a while. The caller holds mu.
func (e *Engine) startDispatcher(insightID string, epoch int64, after time.Duration) *dispatcher {
	d := newDispatcher(e, insightID, epoch)
	e.dispatchers[insightID] = d
	if e.ctx.Err() != nil {
		return d
	}
	ctx, stop := context.WithCancel(e.ctx)
	d.stop = stop
	e.running.Go(func() {
		wait := time.NewTimer(after)
		defer wait.Stop()
		select {
		case <-wait.C:
			d.run(ctx)
		case <-ctx.Done():
		}
	})
	if e.owners != nil {
		e.running.Go(func() { d.listen(ctx) })
	}
	return d
}

// retire forgets the dispatcher of an insight that no longer exists.
func (e *Engine) retire(d *dispatcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dispatchers[d.insightID] == d {
		delete(e.dispatchers, d.insightID)
	}
	d.stop()
}

func (e *Engine) allDispatchers() []*dispatcher {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*dispatcher, 0, len(e.dispatchers))
	for _, d := range e.dispatchers {
		all = append(all, d)
	}
	return all
}

// observe tells everyone who must know about a run that was written: those who wait for it here, and who schedules its insight.
func (e *Engine) observe(r *run, version driver.Version) {
	e.recent.put(r, version)
	if d := e.dispatcher(r.AgendaInsight.InsightID); d != nil {
		d.observe(r)
	} else {
		e.inform(r.AgendaInsight.InsightID, news{Agendas: []string{r.ID}})
	}
	e.watchers.changed(r.ID)
}

// readLimits reads into memory, in one call, what the customers of runs may do that are to be observed. What it cannot read is read
// again for each by itself.
func (e *Engine) readLimits(ctx context.Context, runs []*run) {
	var customers []string
	for _, r := range runs {
		if e.dispatcher(r.AgendaInsight.InsightID) != nil {
			customers = append(customers, r.CustomerID)
		}
	}
	_ = e.catalog.Customers.Prefetch(ctx, customers...)
}

// recheck makes whoever schedules an insight look in the store at agendas that somebody may have changed.
func (e *Engine) recheck(insightID string, agendaIDs ...string) {
	if d := e.dispatcher(insightID); d != nil {
		d.recheck(agendaIDs...)
	} else {
		e.inform(insightID, news{Agendas: agendaIDs})
	}
}

func agendasOf(runs []*run) []string {
	ids := make([]string, len(runs))
	for i, r := range runs {
		ids[i] = r.ID
	}
	return ids
}

// ensure creates a queue unless this process knows that it is there.
func (e *Engine) ensure(ctx context.Context, name string) error {
	if _, ok := e.ensured.Load(name); ok {
		return nil
	}
	if err := e.queue.Ensure(ctx, name); err != nil {
		return fmt.Errorf("queue %q: %w", name, err)
	}
	e.ensured.Store(name, true)
	return nil
}

// finish detaches a call from its caller's cancellation, so that what it writes is also observed.
func finish(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// readRun reads the run of an agenda.
func (e *Engine) readRun(ctx context.Context, id string) (stored, error) {
	if uuid.Validate(id) != nil {
		return stored{}, notFound(id)
	}
	rec, err := e.store.GetOne(ctx, runKey(id))
	if err != nil {
		return stored{}, fmt.Errorf("read agenda %q: %w", id, err)
	}
	if rec == nil {
		return stored{}, notFound(id)
	}
	return decodeRun(rec)
}

func notFound(id string) error { return model.Errorf(model.NotFound, "there is no agenda %q", id) }

// readRuns reads the runs of agendas; one that is absent, or that cannot be read, has a nil run.
func (e *Engine) readRuns(ctx context.Context, ids []string) ([]stored, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	keys := make([]driver.Key, len(ids))
	for i, id := range ids {
		keys[i] = runKey(id)
	}
	records, err := e.store.Get(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("read %d agendas: %w", len(ids), err)
	}
	runs := make([]stored, len(ids))
	for i, rec := range records {
		if rec == nil {
			continue
		}
		if runs[i], err = decodeRun(rec); err != nil {
			e.Logger.Error("an agenda is passed over", "agenda", ids[i], "error", err) // one must not spoil the others
		}
	}
	return runs, nil
}

// maxChanges bounds how often a change of a run is tried when others change it at the same time.
const maxChanges = 10

// change applies a transition to the run of an agenda, reading again for as long as others change it at the same time.
func (e *Engine) change(ctx context.Context, id string, transition func(*run) (*run, error)) (*run, error) {
	ctx, cancel := finish(ctx)
	defer cancel()
	for attempt := 1; ; attempt++ {
		before, err := e.readRun(ctx, id)
		if err != nil {
			return nil, err
		}
		next, err := transition(before.run)
		if err != nil {
			return nil, err
		}
		op, err := e.fit(ctx, before, next)
		if err != nil {
			return nil, err
		}
		versions, err := e.store.WriteOne(ctx, op)
		if err == nil {
			if d := e.dispatcher(before.AgendaInsight.InsightID); d != nil && before.State == model.Waiting {
				d.leave(before.run)
			}
			e.observe(next, versions[0])
			return next, nil
		}
		e.recent.forget(id)
		if !driver.IsConflict(err) || attempt == maxChanges {
			e.recheck(before.AgendaInsight.InsightID, id)
			return nil, fmt.Errorf("change agenda %q: %w", id, err)
		}
	}
}
