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
	"time"

	"github.com/pop-platform/pop/core/api"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/local"
)

// Config is the configuration of a [Server].
type Config struct {
	Data    string // folder
	Tokens  string // file; empty to let everyone do everything
	Version string
	Log     *slog.Logger
	// KeepLogs is how long what operations printed is kept.
	KeepLogs time.Duration
}

// DefaultKeepLogs is how long what operations printed is kept, unless it is configured otherwise.
const DefaultKeepLogs = engine.DefaultKeepLogs

// Server is POP on the embedded store.
type Server struct {
	Engine  *engine.Engine
	Catalog *catalog.Catalog
	api     *api.API
	store   *store.Store
	queue   *queue.Queue
	open    bool // to everyone who can reach it
}

// StoreDir returns where in a data folder the store is.
func StoreDir(data string) string { return filepath.Join(data, "store") }

// gcPercent is the garbage collector's target for a server. Its heap is a few megabytes, which the default would collect many times
// a second under load: it costs a tenth of the CPU. GOGC, where it is set, goes before it.
const gcPercent = 400

// Open opens the data folder. Nothing is scheduled or served yet.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	s := &Server{open: cfg.Tokens == ""}
	authorizer, err := openAuthorizer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	disk, err := local.OpenStore(ctx, local.StoreOptions{Dir: StoreDir(cfg.Data), Logger: cfg.Log})
	if err != nil {
		return nil, err
	}
	schema := driver.Schema{Kinds: append(engine.Schema(), catalog.Schema()...)}
	if s.store, err = store.Open(ctx, disk, schema); err != nil {
		return nil, errors.Join(err, disk.Close(ctx))
	}
	if s.queue, err = queue.Open(ctx, local.NewQueue(local.QueueOptions{})); err != nil {
		return nil, errors.Join(err, s.store.Close(ctx))
	}
	s.Catalog = catalog.New(s.store, catalog.Options{})
	s.Engine = engine.New(s.store, s.queue, s.Catalog, engine.Options{Logger: cfg.Log, KeepLogs: cfg.KeepLogs})
	s.api = api.New(api.Options{Engine: s.Engine, Catalog: s.Catalog, Logger: cfg.Log, Authorizer: authorizer, Version: cfg.Version})
	return s, nil
}

func openAuthorizer(ctx context.Context, cfg Config) (*authz.Authorizer, error) {
	if cfg.Tokens == "" {
		return nil, nil
	}
	tokens, err := local.NewAuthorizer(local.AuthorizerOptions{File: cfg.Tokens, Logger: cfg.Log})
	if err != nil {
		return nil, err
	}
	return authz.New(ctx, tokens, authz.Options{})
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

// Close ends scheduling and closes the data folder.
func (s *Server) Close() error {
	s.Engine.Stop()
	ctx := context.Background()
	return errors.Join(s.queue.Close(ctx), s.store.Close(ctx))
}

// Listen opens the address to serve on.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; stop what uses it, or take another with --addr", addr, err)
	}
	return l, nil
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
