package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// Config is the configuration of a [Puller]. API, Name, InsightIDs, Launcher and Log are required.
type Config struct {
	API      API
	Launcher Launcher
	Log      *slog.Logger

	// Name is the session's name. It stays the same over restarts and is used by one puller at a time: opening a session
	// ends the one that had the name before, whose agendas are then run again.
	Name string
	// InsightIDs are the insights to pull for; they share the slots. An insight that is named twice is pulled by two calls
	// at a time.
	InsightIDs []string
	// Slots is how many agendas may run at a time. Default 10.
	Slots int
	// Batch is how many agendas one call asks for at most, up to 100. Default 16.
	Batch int
	// Wait is how long one call waits for an agenda, up to 30 s. Default 20 s.
	Wait time.Duration
	// AgendaOperations is how many operations of one agenda may run at a time. Default 16.
	AgendaOperations int
	// Operations is how many operations may run at a time in all. Default Slots, or AgendaOperations if that is more.
	Operations int
	// Spool is a folder for results that the server cannot take in for now, so that they outlive the puller. Several pullers may
	// share it. Without one they are kept in memory.
	Spool string
	// Fit is asked before agendas are: while it says why none can be run here, they are left to others. Default always.
	Fit func() error
	// DrainTimeout is how long agendas may go on when the puller is told to stop. Then they are handed back. Default 30 s.
	DrainTimeout time.Duration
}

func (c *Config) complete() error {
	c.Slots = cmp.Or(c.Slots, 10)
	c.Batch = cmp.Or(c.Batch, 16)
	c.AgendaOperations = cmp.Or(c.AgendaOperations, 16)
	c.Operations = cmp.Or(c.Operations, max(c.Slots, c.AgendaOperations))
	c.Wait = cmp.Or(c.Wait, 20*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	if c.Fit == nil {
		c.Fit = func() error { return nil }
	}
	switch {
	case c.Name == "":
		return errors.New("puller: a name is required")
	case len(c.InsightIDs) == 0:
		return errors.New("puller: an insight is required")
	case c.Slots < 0 || c.Batch < 0 || c.AgendaOperations < 0 || c.Operations < 0 || c.Wait < 0 || c.DrainTimeout < 0:
		return errors.New("puller: limits must not be negative")
	}
	return nil
}

// Puller pulls agendas and runs them.
type Puller struct {
	cfg      Config
	reporter *reporter
	keeper   *keeper // nil without a spool
	logs     *logs
	meter    *meter
	executor *executor
	slots    chan struct{} // one for each free slot

	mu   sync.Mutex
	runs map[string]*run // by agenda
}

// New returns a puller.
func New(cfg Config) (*Puller, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Puller{cfg: cfg, slots: make(chan struct{}, cfg.Slots), runs: map[string]*run{}}
	p.meter = newMeter(cfg.API)
	p.cfg.API, cfg.API = p.meter, p.meter
	p.reporter = newReporter(p.meter, cfg.Log, max(cfg.Slots, maxReports))
	if cfg.Spool != "" {
		spool, err := openSpool(cfg.Spool, cfg.Name)
		if err != nil {
			return nil, fmt.Errorf("puller: %w", err)
		}
		p.keeper = &keeper{reporter: p.reporter, spool: spool, files: map[*run]kept{}}
	}
	p.logs = newLogs(cfg.API, cfg.Log)
	p.executor = &executor{
		launcher: cfg.Launcher, reporter: p.reporter, logs: p.logs,
		perAgenda: cfg.AgendaOperations, operations: make(chan struct{}, cfg.Operations),
	}
	for range cfg.Slots {
		p.slots <- struct{}{}
	}
	return p, nil
}

// Run pulls and runs agendas until ctx is done. Then it lets running agendas end, hands back those that take too long, and
// returns when the server has taken in what became of them. It may be called once.
func (p *Puller) Run(ctx context.Context) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	if p.deliverLeft(ctx) != nil {
		stop()
		return
	}
	var reporting sync.WaitGroup
	reporting.Go(func() { p.reporter.run(background) })
	reporting.Go(func() { p.logs.run(background) })
	if p.keeper != nil {
		reporting.Go(func() { p.keeper.run(background) })
	}
	defer reporting.Wait()
	defer stop()
	for ctx.Err() == nil {
		if s, err := p.open(ctx); err == nil {
			p.serve(ctx, background, s)
		}
	}
	flush, cancel := context.WithTimeout(background, closeTimeout)
	defer cancel()
	p.logs.flush(flush)
}

// open opens a session as soon as the server can be reached.
func (p *Puller) open(ctx context.Context) (*session, error) {
	for failures := 1; ; failures++ {
		asked := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, openTimeout)
		reply, err := p.cfg.API.OpenSession(callCtx, p.cfg.Name)
		cancel()
		if err == nil {
			p.meter.inSession(reply.ID)
			p.cfg.Log.Info("session opened", "session", reply.ID, "name", p.cfg.Name)
			p.reporter.progressEvery.Store(reply.Progress * int64(time.Millisecond))
			return newSession(reply, asked), nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		p.cfg.Log.Warn("session not opened", "name", p.cfg.Name, "failures", failures, "error", err)
		if err := sleep(ctx, backoff(failures)); err != nil {
			return nil, err
		}
	}
}

// serve pulls and runs agendas in a session. It returns when the session is lost, or when ctx is done and the session closed,
// in either case with no agenda running.
func (p *Puller) serve(ctx, background context.Context, s *session) {
	defer p.meter.inSession("")
	live, lose := context.WithCancelCause(background)
	defer lose(nil)
	pulling, stopPulling := context.WithCancel(ctx)
	defer stopPulling()
	context.AfterFunc(live, stopPulling)

	var heartbeat, pulls, runs sync.WaitGroup
	defer heartbeat.Wait()
	heartbeatCtx, stopHeartbeat := context.WithCancel(live)
	defer stopHeartbeat()
	heartbeat.Go(func() {
		if err := p.keepAlive(heartbeatCtx, s); err != nil {
			p.cfg.Log.Error("session lost, its agendas are stopped", "session", s.id, "error", err)
			lose(fmt.Errorf("%w: %w", ErrSessionLost, err))
		}
	})
	for _, id := range p.cfg.InsightIDs {
		pulls.Go(func() { p.pull(pulling, live, s, id, &runs) })
	}
	pulls.Wait()

	ended := make(chan struct{})
	go func() {
		runs.Wait()
		close(ended)
	}()
	if live.Err() == nil {
		p.drain(live, ended)
	}
	<-ended // a lost session has stopped them
	// The end of the session is the end of the right to report: what has ended comes first, and the session is left alone if the
	// server does not take it in.
	if err := p.settle(ctx, background); err != nil {
		p.cfg.Log.Error("final reports not delivered; what is in the spool is delivered by the next start", "session", s.id, "error", err)
		return
	}
	if live.Err() != nil {
		return
	}
	closing, cancel := context.WithTimeout(background, closeTimeout)
	defer cancel()
	if err := p.cfg.API.CloseSession(closing, s.id); err != nil {
		p.cfg.Log.Warn("session not closed, it will expire", "session", s.id, "error", err)
	}
}

const (
	openTimeout  = 30 * time.Second
	flushTimeout = 30 * time.Second
	closeTimeout = 5 * time.Second
)

// settle waits until the server has answered all final reports: as long as it takes, or, once ctx is done, for a while.
func (p *Puller) settle(ctx, background context.Context) error {
	if p.reporter.flush(ctx) == nil {
		return nil
	}
	flush, cancel := context.WithTimeout(background, flushTimeout)
	defer cancel()
	return p.reporter.flush(flush)
}

// drain lets the runs end. Those that take too long are stopped.
func (p *Puller) drain(live context.Context, ended <-chan struct{}) {
	timeout := time.NewTimer(p.cfg.DrainTimeout)
	defer timeout.Stop()
	select {
	case <-ended:
		return
	case <-live.Done():
		return
	case <-timeout.C:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.runs {
		r.cancel(ErrDraining)
	}
}

// pull asks for agendas of an insight as long as there are free slots, until ctx is done.
func (p *Puller) pull(ctx, live context.Context, s *session, insightID string, runs *sync.WaitGroup) {
	log := p.cfg.Log.With("insight", insightID)
	alone := len(p.cfg.InsightIDs) == 1
	wait := p.cfg.Wait
	if len(p.cfg.InsightIDs) > p.cfg.Slots { // let the others have the slot now and then
		wait = min(wait, time.Second)
	}
	idle, failures, quick := true, 0, 0
	for {
		// An insight that has nothing to run keeps no more than one slot from the others.
		want := p.cfg.Batch
		if idle && !alone {
			want = 1
		}
		n := p.reserve(ctx, want)
		if n == 0 {
			return
		}
		if !p.fit(log) {
			for range n {
				p.slots <- struct{}{}
			}
			if sleep(ctx, fitPause) != nil {
				return
			}
			continue
		}
		asked := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, wait+pullTimeout)
		got, err := p.cfg.API.Pull(callCtx, model.PullRequest{InsightID: insightID, SessionID: s.id, Max: n, WaitMs: wait.Milliseconds()})
		cancel()
		for range n - len(got) {
			p.slots <- struct{}{}
		}
		for _, a := range got {
			p.launch(live, s, a, runs)
		}
		idle = len(got) == 0
		pause := time.Duration(0)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			failures++
			pause = backoff(failures)
			log.Warn("pull failed", "failures", failures, "error", err)
			if kind := model.KindOf(err); kind == model.Fenced || kind == model.NotFound {
				signal(s.doubt)
			}
		case idle && time.Since(asked) < wait/2:
			failures = 0
			pause = emptyPause(quick)
			quick++
		default:
			failures, quick = 0, 0
		}
		if pause > 0 && sleep(ctx, pause) != nil {
			return
		}
	}
}

// fitPause is how long a puller that cannot run agendas waits until it looks whether it can.
const fitPause = 2 * time.Second

// fit reports whether agendas can be run here. It says so when that changes.
func (p *Puller) fit(log *slog.Logger) bool {
	err := p.cfg.Fit()
	switch changed := p.meter.unfit(err); {
	case changed && err != nil:
		log.Error("no agendas are pulled", "error", err)
	case changed:
		log.Info("agendas are pulled again")
	}
	return err == nil
}

// emptyPause keeps a server that does not wait, as it was asked to, from being asked without a pause: after so many empty
// replies in a row that came too early. One may happen.
func emptyPause(quick int) time.Duration {
	if quick == 0 {
		return 0
	}
	return min(time.Millisecond<<min(quick, 10), time.Second)
}

// pullTimeout is how long a reply may take beyond the wait that was asked for.
const pullTimeout = 15 * time.Second

// reserve takes free slots, at most n. It waits until there is one; 0 means that ctx is done.
func (p *Puller) reserve(ctx context.Context, n int) int {
	if ctx.Err() != nil {
		return 0
	}
	select {
	case <-p.slots:
	default:
		full := time.Now()
		select {
		case <-ctx.Done():
			return 0
		case <-p.slots:
			p.meter.waitedForSlot(time.Since(full))
		}
	}
	for taken := 1; taken < n; taken++ {
		select {
		case <-p.slots:
		default:
			return taken
		}
	}
	return n
}

// launch runs an agenda in a slot that was reserved for it.
func (p *Puller) launch(live context.Context, s *session, a model.Assignment, runs *sync.WaitGroup) {
	r := newRun(live, a, s.id)
	p.mu.Lock()
	old := p.runs[a.AgendaID]
	p.runs[a.AgendaID] = r
	p.mu.Unlock()
	signal(s.busy)
	p.reporter.begin(r)
	runs.Go(func() {
		if old != nil { // the server has given up on it; no operation may run twice at a time
			old.cancel(ErrRevoked)
			<-old.ended
		}
		p.executor.execute(r)
		close(r.ended)
		p.mu.Lock()
		if p.runs[a.AgendaID] == r {
			delete(p.runs, a.AgendaID)
		}
		p.mu.Unlock()
		r.cancel(nil)
		p.reporter.release(r, func() { p.slots <- struct{}{} })
	})
}

// revoke stops runs whose leases were taken away.
func (p *Puller) revoke(leases []model.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lease := range leases {
		if r := p.runs[lease.AgendaID]; r != nil && r.Fence <= lease.Fence {
			p.cfg.Log.Info("lease taken away, agenda stopped", "agenda", r.AgendaID, "fence", r.Fence)
			r.cancel(ErrRevoked)
		}
	}
}

// idle reports whether nothing runs and nothing is to be reported, so that there is nothing that a lease would protect.
func (p *Puller) idle() bool {
	p.mu.Lock()
	running := len(p.runs)
	p.mu.Unlock()
	p.reporter.mu.Lock()
	defer p.reporter.mu.Unlock()
	return running == 0 && p.reporter.unsettled == 0
}

// pause keeps more from being started of runs that were paused.
func (p *Puller) pause(leases []model.Lease) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lease := range leases {
		if r := p.runs[lease.AgendaID]; r != nil && r.Fence == lease.Fence {
			r.pause()
		}
	}
}
