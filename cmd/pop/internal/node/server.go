package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pop-platform/pop/core/api"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/config"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

// Config is the configuration of a [Server].
type Config struct {
	Settings config.Config
	Open     bool // everyone may do everything
	Version  string
	Log      *slog.Logger
}

// Server is POP in one process, over drivers that are linked in or served by plugins.
type Server struct {
	Engine  *engine.Engine
	Catalog *catalog.Catalog
	api     *api.API
	drivers *drivers
	open    bool // to everyone who can reach it
}

// StoreDir returns where in a data folder the store is.
func StoreDir(data string) string { return filepath.Join(data, "store") }

// gcPercent is the garbage collector's target for a server. Its heap is a few megabytes, which the default would collect many times
// a second under load: it costs a tenth of the CPU. GOGC, where it is set, goes before it.
const gcPercent = 400

// Open opens the drivers. Nothing is scheduled or served yet.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	metrics := prometheus.NewRegistry()
	measured, err := host.NewMetrics(metrics)
	if err != nil {
		return nil, err
	}
	d, err := openDrivers(ctx, cfg, measured)
	if err != nil {
		return nil, err
	}
	s := &Server{drivers: d, open: cfg.Open}
	if err := s.build(ctx, cfg, metrics); err != nil {
		return nil, errors.Join(err, d.close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// schema is that of all records.
func schema() driver.Schema {
	return driver.Schema{Kinds: append(engine.Schema(), catalog.Schema()...)}
}

// build puts the core on top of the drivers.
func (s *Server) build(ctx context.Context, cfg Config, metrics prometheus.Gatherer) error {
	records, err := store.Open(ctx, s.drivers.store, schema())
	if err != nil {
		return err
	}
	if steps := records.Steps(); len(steps) > 0 && cfg.Settings.Drivers.Store != config.Local {
		cfg.Log.Info("the store was made ready for this version", "steps", strings.Join(steps, "; "))
	}
	hints, err := queue.Open(ctx, s.drivers.queue)
	if err != nil {
		return err
	}
	var authorizer *authz.Authorizer
	if s.drivers.authorizer != nil {
		if authorizer, err = authz.New(ctx, s.drivers.authorizer, authz.Options{}); err != nil {
			return err
		}
	}
	keepLogs, err := cfg.Settings.Server.Retention()
	if err != nil {
		return err
	}
	ownerLease, err := cfg.Settings.Server.Lease()
	if err != nil {
		return err
	}
	s.Catalog = catalog.New(records, catalog.Options{})
	s.Engine = engine.New(records, hints, s.Catalog, engine.Options{
		Logger: cfg.Log, KeepLogs: keepLogs,
		Server: cfg.Settings.Server.Name, Address: cfg.Settings.Server.Advertise, OwnerLease: ownerLease,
	})
	s.api = api.New(api.Options{
		Engine: s.Engine, Catalog: s.Catalog, Logger: cfg.Log, Authorizer: authorizer, Version: cfg.Version, Metrics: metrics,
	})
	return nil
}

// Serve serves the API until ctx is done and requests in flight have ended.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	var handler http.Handler = s.api
	if s.open && IsLoopback(l.Addr().String()) {
		handler = forThisMachine(handler)
	}
	return s.api.Serve(ctx, l, handler)
}

// forThisMachine refuses requests that were not sent to this machine by one of its own names. A page of the web can have a
// browser here send requests to a name of its own that it has made to stand for this machine.
func forThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if host := (&url.URL{Host: r.Host}).Hostname(); !isLoopbackHost(host) {
			http.Error(w, fmt.Sprintf("this server is for this machine only, and it is not called %q; use localhost", host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Close ends scheduling and closes the drivers.
func (s *Server) Close() error {
	s.Engine.Stop()
	return s.drivers.close(context.Background())
}

// takenFor is how long an address has to be taken to count as in use. A program that is killed while it starts another leaves its sockets
// to that one up to the moment in which it becomes what it is to be, which takes a while on a busy machine.
const takenFor = 2 * time.Second

// Listen opens the address to serve on, which a flag names.
func Listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	var l net.Listener
	var err error
	for start := time.Now(); ; <-time.After(10 * time.Millisecond) {
		if l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr); err == nil {
			return l, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(start) > takenFor {
			break
		}
	}
	remedy := "take another with " + flag + ", such as 127.0.0.1:8080"
	if errors.Is(err, syscall.EADDRINUSE) {
		remedy = "stop what uses it, or take another with " + flag
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err // without the address, which is said already
	}
	return nil, fmt.Errorf("cannot listen on %s: %w; %s", addr, err, remedy)
}

// IsLoopback reports whether only this machine can reach an address to listen on.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && isLoopbackHost(host)
}

func isLoopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
