package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// maxSilence is how many checks of health in a row may go unanswered before a process counts as hung.
const maxSilence = 3

// replacement asks the supervisor for a process of another entry.
type replacement struct {
	ctx   context.Context
	entry Entry
	reply chan<- error
}

// Replace replaces the process by one of another entry, as after a new version of the program was installed: with another
// path, checksum, environment or configuration, for the same services. The new process is launched and checked first; calls
// wait while the old one finishes what it was doing and hands over. If the new process cannot be configured, the old entry is
// started again and stays.
func (p *Plugin) Replace(ctx context.Context, e Entry) error {
	if p.linked != nil {
		return driver.Errorf(driver.Unsupported, "plugin "+p.entry.Name, "it is linked in and has no process to replace")
	}
	e.Name, e.Services = p.entry.Name, p.entry.Services
	reply := make(chan error, 1)
	select {
	case p.requests <- replacement{ctx, e, reply}:
		return <-reply
	case <-ctx.Done():
		return fmt.Errorf("plugin %s: replace: %w", e.Name, ctx.Err())
	case <-p.done:
		return driver.Errorf(driver.Unavailable, "plugin "+e.Name, "it is closed")
	}
}

// publish makes an instance the one that calls go to.
func (p *Plugin) publish(inst *instance) {
	var away time.Time
	p.change(func() {
		away = p.away
		if p.status.Starts == 0 {
			p.caps = inst.caps
		}
		p.current = inst
		p.status.State, p.status.PID, p.status.Description, p.status.Unhealthy = Ready, inst.pid, inst.description, ""
		p.status.Starts++
	})
	p.opts.Metrics.started(p.entry.Name, inst.description.Version)
	p.log.Info("the plugin is ready", "version", inst.description.Version, "pid", inst.pid, "after", time.Since(away))
}

// withdraw lets calls wait, for the reason that the state says.
func (p *Plugin) withdraw(s State, problem error) {
	p.change(func() {
		if p.current != nil {
			p.away = time.Now()
		}
		p.current = nil
		p.status.State, p.status.PID = s, 0
		if problem != nil {
			p.status.Problem = problem.Error()
		}
	})
	p.opts.Metrics.stopped(p.entry.Name)
}

// change changes what calls go by, and lets those that wait look again.
func (p *Plugin) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.changed)
	p.changed = make(chan struct{})
}

// supervise keeps a process running until the plugin is closed.
func (p *Plugin) supervise(inst *instance, launch launcher) {
	defer close(p.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-p.closing
		cancel()
	}()
	var h history
	for inst != nil {
		request, cause := p.watch(ctx, inst)
		switch {
		case request != nil:
			inst, launch = p.replace(request, inst, launch)
			if inst != nil {
				continue
			}
			// Neither the new nor the old could be started.
			h.failed()
		case cause != nil:
			h.ended(time.Since(inst.since), inst.served.Load())
			p.withdraw(h.state(), cause)
			inst.end()
			p.log.Error("the plugin ended and is started again", "error", cause, "lived", time.Since(inst.since), "delay", h.delay())
		default:
			p.withdraw(Closed, nil)
			p.finish(p.retire(inst))
			return
		}
		inst, launch = p.restart(ctx, &h, launch)
	}
	p.withdraw(Closed, nil)
}

func (p *Plugin) finish(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = err
}

// watch returns why a process is no longer to be used: a request to replace it, a cause if it has ended or hangs, or neither
// when the plugin is to be closed.
func (p *Plugin) watch(ctx context.Context, inst *instance) (request *replacement, cause error) {
	ticker := time.NewTicker(p.opts.HealthInterval)
	defer ticker.Stop()
	for silent := 0; ; {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-inst.gone:
			return nil, inst.cause()
		case <-inst.broken:
			return nil, inst.cause()
		case r := <-p.requests:
			return &r, nil
		case <-ticker.C:
		}
		if p.examine(ctx, inst) {
			silent = 0
		} else if silent++; silent >= maxSilence {
			return nil, fmt.Errorf("the process has not answered %d checks of health", silent)
		}
	}
}

// exitLag is how much later than the end of its connection the end of a process may be seen.
const exitLag = 200 * time.Millisecond

// cause returns how a process has ended.
func (i *instance) cause() error {
	timer := time.NewTimer(exitLag)
	defer timer.Stop()
	select {
	case <-i.gone:
		return fmt.Errorf("the process has ended: %s", i.exit())
	case <-timer.C:
		return errors.New("the connection to the process has failed")
	}
}

// examine asks for the health of the backend and remembers it; false if the plugin did not answer.
func (p *Plugin) examine(ctx context.Context, inst *instance) bool {
	ctx, cancel := context.WithTimeout(ctx, max(p.opts.HealthInterval/2, time.Second))
	defer cancel()
	err := inst.checkHealth(ctx)
	_, answered := wire.FromStatus(err)
	unhealthy := ""
	if err != nil {
		unhealthy = err.Error()
	}
	p.mu.Lock()
	before := p.status.Unhealthy
	p.status.Unhealthy = unhealthy
	p.mu.Unlock()
	p.opts.Metrics.examined(p.entry.Name, err == nil)
	switch {
	case before == "" && err != nil && !errors.Is(ctx.Err(), context.Canceled):
		p.log.Warn("the plugin's backend does not answer", "error", err)
	case before != "" && err == nil:
		p.log.Info("the plugin's backend answers again")
	}
	if s, isStatus := status.FromError(err); err != nil && isStatus && !answered {
		if s.Code() == codes.Unavailable {
			inst.suspect()
		}
		return s.Code() != codes.DeadlineExceeded
	}
	return true
}

// restart starts a process again, time after time, until one is ready; nil when the plugin is to be closed.
func (p *Plugin) restart(ctx context.Context, h *history, launch launcher) (*instance, launcher) {
	for {
		timer := time.NewTimer(h.delay())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, launch
		case r := <-p.requests: // whoever makes it has mended something
			timer.Stop()
			next := p.launcher(r.entry)
			inst, err := p.open(ctx, next, r.entry)
			r.reply <- err
			if err == nil {
				p.setEntry(r.entry)
				p.publish(inst)
				return inst, next
			}
			continue
		case <-timer.C:
		}
		inst, err := p.open(ctx, launch, p.currentEntry())
		if err == nil {
			p.publish(inst)
			return inst, launch
		}
		if ctx.Err() != nil {
			return nil, launch
		}
		h.failed()
		p.withdraw(h.state(), err)
		p.log.Error("the plugin could not be started", "error", err, "failures", h.failures, "delay", h.delay())
	}
}

func (p *Plugin) currentEntry() Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.entry
}

func (p *Plugin) setEntry(e Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entry = e
}

// replace returns the instance that is ready after a request, and the launcher of its successors: those of the request if all
// went well. There is no instance if neither could be started.
func (p *Plugin) replace(r *replacement, old *instance, launch launcher) (*instance, launcher) {
	before := p.currentEntry()
	next := p.launcher(r.entry)
	starting, stop := context.WithTimeout(r.ctx, p.opts.StartTimeout)
	inst, err := p.describe(starting, next, r.entry)
	stop()
	if err != nil {
		r.reply <- err // nothing has changed
		return old, launch
	}
	p.withdraw(Replacing, nil)
	if err := p.retire(old); err != nil {
		p.log.Warn("the plugin that is replaced did not close well", "error", err)
	}
	// From here on there is no way back but to start something, whatever becomes of the request.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), p.opts.StartTimeout)
	defer cancel()
	err = p.configure(ctx, inst, r.entry)
	if err == nil {
		p.setEntry(r.entry)
		p.publish(inst)
		r.reply <- nil
		return inst, next
	}
	inst.end()
	p.log.Warn("the process that was to replace the plugin cannot be used, the one before is started again") // why, the request is told
	back, failed := p.open(context.WithoutCancel(r.ctx), launch, before)
	if failed != nil {
		p.withdraw(Restarting, failed)
		r.reply <- errors.Join(err, failed)
		return nil, launch
	}
	p.publish(back)
	r.reply <- err
	return back, launch
}
