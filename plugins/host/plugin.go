package host

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// Entry says which plugin to run and how: an entry of the catalogue in the server's configuration.
type Entry struct {
	Name     string           // in the catalogue, for people
	Path     string           // of the program, absolute
	SHA256   string           // of the program, in hexadecimal; empty: it is not checked
	Env      []string         // the only variables of this process's environment that the plugin gets
	Services []driver.Service // those that are used
	Config   []byte           // for the plugin, a JSON object; empty: {}
}

// Options are the optional parts of a [Plugin].
type Options struct {
	// Log takes what an operator should know, and what plugins log. The default drops it.
	Log *slog.Logger
	// Metrics measures calls and processes. The default measures nothing.
	Metrics *Metrics
	// LookupEnv reads the environment for Entry.Env, and is os.LookupEnv. The default finds nothing.
	LookupEnv func(string) (string, bool)
	// RunDir is where sockets are put. The default is a folder of this user in the one for temporary files.
	RunDir string
	// Reattach has plugins by their names that are running already, as [ParseReattach] returns them.
	Reattach map[string]Reattach

	// StartTimeout is how long a plugin may take from its launch until it is ready. The default is 30 s.
	StartTimeout time.Duration
	// CallTimeout is how long a call may take whose context has no deadline. The default is 30 s.
	CallTimeout time.Duration
	// ReadyTimeout is how long a call waits for a plugin that is being started again. The default is 5 s.
	ReadyTimeout time.Duration
	// DrainTimeout is how long calls may go on when the plugin is closed or replaced. The default is 10 s.
	DrainTimeout time.Duration
	// HealthInterval is how often the plugin is asked about its backend. The default is 10 s.
	HealthInterval time.Duration
}

func (o Options) withDefaults() Options {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.StartTimeout = cmp.Or(o.StartTimeout, 30*time.Second)
	o.CallTimeout = cmp.Or(o.CallTimeout, 30*time.Second)
	o.ReadyTimeout = cmp.Or(o.ReadyTimeout, 5*time.Second)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 10*time.Second)
	o.HealthInterval = cmp.Or(o.HealthInterval, 10*time.Second)
	if o.LookupEnv == nil {
		o.LookupEnv = func(string) (string, bool) { return "", false }
	}
	return o
}

// State is what a plugin is doing.
type State string

// The states of a plugin.
const (
	Ready      State = "ready"
	Restarting State = "restarting" // its process has ended
	Replacing  State = "replacing"  // by another process, at somebody's request
	Broken     State = "broken"     // it keeps failing to start, and is tried once in a while
	Closed     State = "closed"
)

// Status describes a plugin at a moment.
type Status struct {
	Name        string
	State       State
	Description driver.Description // of the process that was last ready
	PID         int                // 0 for one that is linked in, or not running
	Starts      int                // processes that have become ready
	Problem     string             // the last thing that went wrong with the process; empty if nothing has
	Unhealthy   string             // what the backend lacked when it was last asked; empty if it answered
}

// Plugin is a set of drivers that are linked in, or served by a process. It is safe for concurrent use.
type Plugin struct {
	opts   Options
	log    *slog.Logger
	linked *driver.Drivers // nil for a process

	requests chan replacement
	closing  chan struct{}
	done     chan struct{} // closed when nothing of the plugin runs any more
	begin    sync.Once     // of closing

	mu      sync.Mutex
	entry   Entry
	status  Status
	current *instance     // nil while there is none that is ready
	away    time.Time     // since when there has been none
	changed chan struct{} // closed, and replaced, when state or current change
	caps    capabilities  // of the first process, and all others
	inUse   int           // drivers that were taken and not closed
	taken   map[driver.Service]any
	ensured map[string]struct{} // queues
	closed  error               // how closing went
}

// Link opens drivers that are linked in, with the checks that a process would get and no process.
func Link(ctx context.Context, provider driver.Provider, e Entry, o Options) (*Plugin, error) {
	o = o.withDefaults()
	d := provider.Describe()
	if err := checkDescription(e, d); err != nil {
		return nil, err
	}
	if err := checkConfig(e, d.Schema); err != nil {
		return nil, err
	}
	drivers, err := provider.Open(ctx, driver.OpenRequest{Services: e.Services, Config: e.config(), Log: o.Log.With("plugin", e.Name)})
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", e.Name, err)
	}
	p := newPlugin(e, o)
	p.linked = &drivers
	p.status.State, p.status.Description, p.status.Starts = Ready, d, 1
	return p, nil
}

// Start launches a plugin process, checks and configures it, and keeps it running until the plugin is closed.
func Start(ctx context.Context, e Entry, o Options) (*Plugin, error) {
	o = o.withDefaults()
	p := newPlugin(e, o)
	if e.SHA256 == "" && o.Reattach[e.Name] == (Reattach{}) {
		p.log.Warn("the plugin's program is not checked: add its sha256 to the configuration", "path", e.Path)
	}
	return p.start(ctx, p.launcher(e))
}

func newPlugin(e Entry, o Options) *Plugin {
	return &Plugin{
		opts: o, log: o.Log.With("plugin", e.Name), entry: e,
		requests: make(chan replacement), closing: make(chan struct{}), done: make(chan struct{}),
		changed: make(chan struct{}), taken: map[driver.Service]any{}, ensured: map[string]struct{}{},
		status: Status{Name: e.Name, State: Restarting}, away: time.Now(),
	}
}

func (p *Plugin) start(ctx context.Context, launch launcher) (*Plugin, error) {
	first, err := p.open(ctx, launch, p.entry)
	if err != nil {
		return nil, err
	}
	p.publish(first)
	go p.supervise(first, launch)
	return p, nil
}

// Status returns what the plugin is doing.
func (p *Plugin) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// CheckHealth asks the drivers whether their backends answer.
func (p *Plugin) CheckHealth(ctx context.Context) error {
	if p.linked != nil {
		return checkLinked(ctx, *p.linked)
	}
	inst, err := p.ready(ctx, "check health")
	if err != nil {
		return err
	}
	defer inst.calls.Leave()
	return inst.checkHealth(ctx)
}

// Close closes the plugin and its drivers: calls that are going on may end, then the process does. It is idempotent.
func (p *Plugin) Close(ctx context.Context) error {
	if p.linked != nil {
		p.mu.Lock()
		p.status.State = Closed
		p.mu.Unlock()
		return closeAll(ctx, *p.linked)
	}
	p.begin.Do(func() { close(p.closing) })
	select {
	case <-p.done:
	default:
		select {
		case <-p.done:
		case <-ctx.Done():
			return fmt.Errorf("plugin %s: close: %w", p.entry.Name, ctx.Err())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// take returns the driver of a service, the same each time, made by make. The plugin closes when the last of those that were
// taken is closed.
func take[D any](p *Plugin, service driver.Service, linked func(driver.Drivers) D, remote func() D) (D, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var none D
	if !slices.Contains(p.entry.Services, service) {
		return none, driver.Errorf(driver.Unsupported, "plugin "+p.entry.Name, "it was not asked to open a %s", service)
	}
	if d, ok := p.taken[service]; ok {
		return d.(D), nil
	}
	var d D
	if p.linked != nil {
		d = linked(*p.linked)
	} else {
		d = remote()
		p.inUse++
	}
	p.taken[service] = d
	return d, nil
}

// release is called when a driver that was taken is closed, and closes the plugin after the last.
func (p *Plugin) release(ctx context.Context) error {
	p.mu.Lock()
	p.inUse--
	last := p.inUse == 0
	p.mu.Unlock()
	if last {
		return p.Close(ctx)
	}
	return nil
}

// Store returns the plugin's store, which closes the plugin if it is the last of its drivers to be closed.
func (p *Plugin) Store() (driver.Store, error) {
	return take(p, driver.StoreService,
		func(d driver.Drivers) driver.Store { return measureStore(d.Store, p.opts.Metrics, p.entry.Name) },
		func() driver.Store {
			return measureStore(newStore(p), p.opts.Metrics, p.entry.Name)
		})
}

// Queue returns the plugin's queue, which closes the plugin if it is the last of its drivers to be closed.
func (p *Plugin) Queue() (driver.Queue, error) {
	return take(p, driver.QueueService,
		func(d driver.Drivers) driver.Queue { return measureQueue(d.Queue, p.opts.Metrics, p.entry.Name) },
		func() driver.Queue { return measureQueue(newQueue(p), p.opts.Metrics, p.entry.Name) })
}

// Authorizer returns the plugin's authorizer, which closes the plugin if it is the last of its drivers to be closed.
func (p *Plugin) Authorizer() (driver.Authorizer, error) {
	return take(p, driver.AuthorizerService,
		func(d driver.Drivers) driver.Authorizer {
			return measureAuthorizer(d.Authorizer, p.opts.Metrics, p.entry.Name)
		},
		func() driver.Authorizer {
			return measureAuthorizer(&authorizer{plugin: p, caps: p.caps.authorizer}, p.opts.Metrics, p.entry.Name)
		})
}
