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
	c.Insights.Subscribe(func(id string) {
		e.mu.Lock()
		d := e.dispatchers[id]
		e.mu.Unlock()
		if d != nil {
			d.signal()
		}
	})
	c.Customers.Subscribe(func(id string) {
		for _, d := range e.allDispatchers() {
			d.customerChanged(id)
		}
	})
	return e
}

// Start begins to schedule the agendas of every insight.
func (e *Engine) Start(ctx context.Context) error {
	insights, err := e.catalog.Insights.All(ctx)
	if err != nil {
		return fmt.Errorf("engine: start: %w", err)
	}
	for _, insight := range insights {
		e.dispatcher(insight.Object.ID)
	}
	return nil
}

// Stop ends scheduling and waits for it. Calls in flight are not affected.
func (e *Engine) Stop() {
	e.stop()
	e.running.Wait()
}

// Ready reports whether the store answers.
func (e *Engine) Ready(ctx context.Context) error {
	if _, err := e.store.GetOne(ctx, sessionKey("readiness probe")); err != nil {
		return fmt.Errorf("engine: store: %w", err)
	}
	return nil
}

// dispatcher returns the dispatcher of an insight, starting it if need be.
func (e *Engine) dispatcher(insightID string) *dispatcher {
	e.mu.Lock()
	defer e.mu.Unlock()
	d := e.dispatchers[insightID]
	if d == nil {
		d = newDispatcher(e, insightID)
		e.dispatchers[insightID] = d
		if e.ctx.Err() == nil {
			e.running.Go(func() { d.run(e.ctx) })
		}
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

// observe tells everyone in this process about a run that was written.
func (e *Engine) observe(r *run, version driver.Version) {
	e.recent.put(r, version)
	e.dispatcher(r.AgendaInsight.InsightID).observe(r)
	e.watchers.changed(r.ID)
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
			if before.State == model.Waiting {
				e.dispatcher(before.AgendaInsight.InsightID).leave(before.run)
			}
			e.observe(next, versions[0])
			return next, nil
		}
		e.recent.forget(id)
		if !driver.IsConflict(err) || attempt == maxChanges {
			e.dispatcher(before.AgendaInsight.InsightID).rescan()
			return nil, fmt.Errorf("change agenda %q: %w", id, err)
		}
	}
}
