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
	p.reporter = newReporter(cfg.API, cfg.Log, max(cfg.Slots, maxReports))
	p.executor = &executor{
		launcher: cfg.Launcher, reporter: p.reporter,
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
	var reporting sync.WaitGroup
	reporting.Go(func() { p.reporter.run(background) })
	defer reporting.Wait()
	defer stop()
	for ctx.Err() == nil {
		if s, err := p.open(ctx); err == nil {
			p.serve(ctx, background, s)
		}
	}
}

// open opens a session as soon as the server can be reached.
func (p *Puller) open(ctx context.Context) (*session, error) {
	for failures := 1; ; failures++ {
		asked := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, openTimeout)
		reply, err := p.cfg.API.OpenSession(callCtx, p.cfg.Name)
		cancel()
		if err == nil {
			p.cfg.Log.Info("session opened", "session", reply.ID, "name", p.cfg.Name)
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
	if live.Err() != nil {
		return
	}
	flush, cancel := context.WithTimeout(live, flushTimeout)
	defer cancel()
	if err := p.reporter.flush(flush); err != nil {
		p.cfg.Log.Error("final reports not delivered, their agendas will be run again", "error", err)
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
	case <-ctx.Done():
		return 0
	case <-p.slots:
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
	if old := p.runs[a.AgendaID]; old != nil { // the server has given up on it
		old.cancel(ErrRevoked)
	}
	p.runs[a.AgendaID] = r
	p.mu.Unlock()
	p.reporter.begin(r)
	runs.Go(func() {
		p.executor.execute(r)
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
			r.cancel(ErrRevoked)
		}
	}
}
