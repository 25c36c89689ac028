package host

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/gate"
	"github.com/pop-platform/pop/plugins/internal/wire"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// launcher starts a process, or finds one. The context ends the attempt, not the process.
type launcher func(ctx context.Context) (*connection, error)

// connection is a process that answers, and the way to it.
type connection struct {
	grpc.ClientConnInterface
	gone <-chan struct{} // closed when the process has ended
	exit func() string   // how it has, once it is gone
	pid  int
	end  func() // ends the process, if it is ours; may be called again
}

// instance is a connection that has been described, and configured to be used.
type instance struct {
	*connection
	description driver.Description
	caps        capabilities

	plugin     pluginv1.PluginServiceClient
	store      pluginv1.StoreServiceClient
	queue      pluginv1.QueueServiceClient
	authorizer pluginv1.AuthorizerServiceClient

	calls  gate.Gate   // that are going on
	served atomic.Bool // it has answered a call
	since  time.Time   // when it was ready

	broken   chan struct{} // closed when its connection has failed
	breaking sync.Once

	ending context.Context // done when Receive has to return
	wake   context.CancelFunc
}

// capabilities are those of the services in use.
type capabilities struct {
	store      driver.StoreCapabilities
	queue      driver.QueueCapabilities
	authorizer driver.AuthorizerCapabilities
}

// suspect says that the connection has failed, so that nothing more is sent over it.
func (i *instance) suspect() { i.breaking.Do(func() { close(i.broken) }) }

// over reports whether nothing is to be sent to an instance any more, though the supervisor may not know yet.
func (i *instance) over() bool {
	select {
	case <-i.broken:
		return true
	case <-i.gone:
		return true
	default:
		return false
	}
}

// open brings a plugin up: launch, describe, check, configure, check health. With an error nothing stays running.
func (p *Plugin) open(ctx context.Context, launch launcher, e Entry) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, p.opts.StartTimeout)
	defer cancel()
	inst, err := p.describe(ctx, launch, e)
	if err != nil {
		return nil, err
	}
	if err := p.configure(ctx, inst, e); err != nil {
		inst.end()
		return nil, err
	}
	return inst, nil
}

// describe launches a process and checks that it is what the entry needs.
func (p *Plugin) describe(ctx context.Context, launch launcher, e Entry) (*instance, error) {
	inst, err := p.identify(ctx, launch, e)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(checkDescription(e, inst.description), checkConfig(e, inst.description.Schema)); err != nil {
		inst.end()
		return nil, err
	}
	return inst, nil
}

// identify launches a process and asks what it is.
func (p *Plugin) identify(ctx context.Context, launch launcher, e Entry) (*instance, error) {
	conn, err := launch(ctx)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", e.Name, err)
	}
	inst := &instance{
		connection: conn, broken: make(chan struct{}),
		plugin: pluginv1.NewPluginServiceClient(conn), store: pluginv1.NewStoreServiceClient(conn),
		queue: pluginv1.NewQueueServiceClient(conn), authorizer: pluginv1.NewAuthorizerServiceClient(conn),
	}
	inst.ending, inst.wake = context.WithCancel(context.Background())
	d, err := inst.plugin.Describe(ctx, &pluginv1.DescribeRequest{})
	if err == nil && d.GetProtocol() != wire.Protocol {
		err = driver.Errorf(driver.Unsupported, "describe", "it speaks version %d of the protocol, and this server %d: use a version of it that was made for this server",
			d.GetProtocol(), wire.Protocol)
	} else if err != nil {
		err = p.stepError(e, "describe", err)
	}
	if err != nil {
		inst.end()
		return nil, err
	}
	inst.description = wire.DescriptionFromProto(d)
	return inst, nil
}

// configure opens the drivers of a process.
func (p *Plugin) configure(ctx context.Context, inst *instance, e Entry) error {
	_, err := inst.plugin.Configure(ctx, &pluginv1.ConfigureRequest{
		Services: wire.ServicesToProto(e.Services), Config: e.config(), LogLevel: levelOf(ctx, p.opts.Log).String(),
	})
	if err != nil {
		return p.stepError(e, "configure", err)
	}
	if inst.caps, err = inst.capabilities(ctx, e.Services); err != nil {
		return p.stepError(e, "capabilities", err)
	}
	if err := p.sameCapabilities(e, inst.caps); err != nil {
		return err
	}
	if err := p.ensureAgain(ctx, inst); err != nil {
		return p.stepError(e, "ensure", err)
	}
	if err := inst.checkHealth(ctx); err != nil {
		return &HealthError{p.stepError(e, "check health", err)}
	}
	inst.since = time.Now()
	return nil
}

// HealthError is that of a plugin whose drivers could be opened, and whose backend does not answer as it should.
type HealthError struct{ err error }

func (e *HealthError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *HealthError) Unwrap() error { return e.err }

// stepError is what a step on the way to a plugin that is ready has failed with.
func (p *Plugin) stepError(e Entry, step string, err error) error {
	known, ok := wire.FromStatus(err)
	switch {
	case ok:
		err = known
	case status.Code(err) == codes.DeadlineExceeded:
		err = &driver.Error{
			Code: driver.Unavailable, Source: driver.Plugin, Op: step,
			Message: fmt.Sprintf("it was not ready within %s of its launch", p.opts.StartTimeout),
		}
	case status.Code(err) == codes.Unavailable:
		err = &driver.Error{Code: driver.Unavailable, Source: driver.Plugin, Op: step, Message: "the process ended, or broke the connection: " + status.Convert(err).Message()}
	}
	return fmt.Errorf("plugin %s: %w", e.Name, err)
}

func (i *instance) capabilities(ctx context.Context, services []driver.Service) (c capabilities, err error) {
	for _, service := range services {
		switch service {
		case driver.StoreService:
			var m *pluginv1.GetStoreCapabilitiesResponse
			m, err = i.store.GetStoreCapabilities(ctx, &pluginv1.GetStoreCapabilitiesRequest{})
			c.store = wire.StoreCapabilitiesFromProto(m)
		case driver.QueueService:
			var m *pluginv1.GetQueueCapabilitiesResponse
			m, err = i.queue.GetQueueCapabilities(ctx, &pluginv1.GetQueueCapabilitiesRequest{})
			c.queue = wire.QueueCapabilitiesFromProto(m)
		case driver.AuthorizerService:
			var m *pluginv1.GetAuthorizerCapabilitiesResponse
			m, err = i.authorizer.GetAuthorizerCapabilities(ctx, &pluginv1.GetAuthorizerCapabilitiesRequest{})
			c.authorizer = wire.AuthorizerCapabilitiesFromProto(m)
		}
		if err != nil {
			return c, err
		}
	}
	return c, nil
}

// checkHealth returns what keeps a backend from answering.
func (i *instance) checkHealth(ctx context.Context) error {
	resp, err := i.plugin.CheckHealth(ctx, &pluginv1.CheckHealthRequest{})
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range resp.GetServices() {
		if err := wire.ErrorFromProto(s.GetError()); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", wire.ServiceFromProto(s.GetService()), err))
		}
	}
	return errors.Join(errs...)
}

// retire lets the calls of an instance end, closes its drivers and ends its process. Calls that are not done in time are cut
// off.
func (p *Plugin) retire(inst *instance) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.DrainTimeout)
	defer cancel()
	inst.wake()
	err := inst.calls.Close(ctx)
	if err != nil {
		p.log.Warn("calls are cut off: they went on for too long", "drain_timeout", p.opts.DrainTimeout)
	}
	// What closes a driver has a time of its own: it may have to write what it holds.
	ctx, cancel = context.WithTimeout(context.Background(), p.opts.DrainTimeout)
	defer cancel()
	if _, err = inst.plugin.Shutdown(ctx, &pluginv1.ShutdownRequest{Drain: durationpb.New(p.opts.DrainTimeout / 2)}); err != nil {
		if known, ok := wire.FromStatus(err); ok {
			err = known
		}
		err = fmt.Errorf("plugin %s: shut down: %w", p.entry.Name, err)
	}
	inst.end()
	return err
}

// checkDescription returns why a plugin is not what the entry needs.
func checkDescription(e Entry, d driver.Description) error {
	if d.Name == "" || d.Version == "" {
		return driver.Errorf(driver.Invalid, "plugin "+e.Name, "it does not say its name and version: it is no plugin of POP, or a broken one")
	}
	for _, s := range e.Services {
		if !slices.Contains(d.Services, s) {
			return driver.Errorf(driver.Unsupported, "plugin "+e.Name, "%s %s has no %s, only %v: take another plugin for it", d.Name, d.Version, s, d.Services)
		}
	}
	return nil
}

// sameCapabilities returns why a process cannot take the place of the first one: the core goes by the capabilities of that.
func (p *Plugin) sameCapabilities(e Entry, now capabilities) error {
	p.mu.Lock()
	before, first := p.caps, p.status.Starts == 0
	p.mu.Unlock()
	if !first && !reflect.DeepEqual(before, now) {
		return driver.Errorf(driver.Unsupported, "plugin "+e.Name,
			"the new process has other capabilities than the one before (%+v, before %+v): restart the server to use it", now, before)
	}
	return nil
}
