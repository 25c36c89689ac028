package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/server"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// ReattachEnv is the environment variable that makes a host use plugins that are already running: what --debug prints.
const ReattachEnv = wire.ReattachEnv

// Serve serves the drivers of a provider to the host that has started this process, and ends the process. It is all that the
// main of a plugin does: nothing may be written to standard output before.
//
// Started by hand with the argument describe, the process prints what it is; with --debug it waits for a host that is told to
// reattach, so that it can run in a debugger.
func Serve(p driver.Provider) {
	os.Exit(run(p, os.Args, os.Stdout, os.Stderr)) //nolint:forbidigo // it is the body of a main
}

func run(p driver.Provider, args []string, stdout, stderr io.Writer) int {
	name := filepath.Base(args[0])
	arg := ""
	if len(args) > 1 {
		arg = args[1]
	}
	switch {
	case len(args) > 2 || arg != "" && arg != "describe" && arg != "--debug":
		_, _ = fmt.Fprintf(stderr, "usage: %s [describe | --debug]\n", name)
		return 2
	case arg == "describe":
		return describe(p, stdout, stderr)
	case arg == "--debug":
		serveDebug(p, stderr)
	case os.Getenv(wire.CookieKey) != wire.CookieValue: //nolint:forbidigo // that is where go-plugin puts it
		_, _ = fmt.Fprintf(stderr, "%[1]s is a plugin of POP: the server starts it when its configuration names it.\n"+
			"\"%[1]s describe\" says what it is, \"pop plugin check %[2]s\" tries it.\n", name, args[0])
		return 1
	default:
		serve(p, stderr)
	}
	return 0
}

// describe prints what the plugin is, for people and for what packages plugins.
func describe(p driver.Provider, stdout, stderr io.Writer) int {
	d := p.Describe()
	enc := json.NewEncoder(stdout)
	enc.SetIndent("", "  ")
	err := enc.Encode(struct {
		Name         string           `json:"name"`
		Version      string           `json:"version"`
		Protocol     int              `json:"protocol"`
		Services     []driver.Service `json:"services"`
		ConfigSchema json.RawMessage  `json:"configSchema"`
	}{d.Name, d.Version, wire.Protocol, d.Services, d.Schema})
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// closeTimeout is how long drivers may take to close when nobody has asked them to before.
const closeTimeout = 5 * time.Second

// serve serves until the host says otherwise or is gone. The logger is made before go-plugin takes standard error away.
func serve(p driver.Provider, stderr io.Writer) {
	level := &slog.LevelVar{}
	log := newLogger(stderr, level)
	srv := server.New(p, log, level)
	// Service managers send SIGTERM to a whole group of processes: the host needs its backends to stop in order, and says
	// when they are done.
	signal.Ignore(syscall.SIGTERM)
	go watchHost(os.Getppid, log, func() {
		closeNow(srv, log)
		os.Exit(1) //nolint:forbidigo // nobody is left to return to
	})
	plugin.Serve(config(srv, stderr))
	closeNow(srv, log)
}

// watchInterval is how often a plugin looks whether its host is there.
const watchInterval = 500 * time.Millisecond

// watchHost calls gone once the process has another parent than at the start.
func watchHost(parent func() int, log *slog.Logger, gone func()) {
	host := parent()
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for parent() == host {
		<-ticker.C
	}
	log.Warn("the host is gone, ending", "host", host)
	gone()
}

func closeNow(srv *server.Server, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := srv.Close(ctx); err != nil {
		log.Error("the drivers were not closed well", "error", err)
	}
}

// serveDebug serves until the process is told to stop. There is no encryption: the socket is this user's alone.
func serveDebug(p driver.Provider, stderr io.Writer) {
	level := &slog.LevelVar{}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	srv := server.New(p, log, level)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ready, done := make(chan *plugin.ReattachConfig, 1), make(chan struct{})
	cfg := config(srv, stderr)
	cfg.Test = &plugin.ServeTestConfig{Context: ctx, ReattachConfigCh: ready, CloseCh: done}
	go plugin.Serve(cfg)
	select {
	case r := <-ready:
		text, err := json.Marshal(map[string]wire.Reattach{p.Describe().Name: {Address: r.Addr.String(), PID: r.Pid}})
		if err != nil {
			log.Error("the address could not be written", "error", err)
			stop()
		}
		_, _ = fmt.Fprintf(stderr, "Start the server with:\n\n  %s='%s'\n\n", wire.ReattachEnv, text)
		<-done
	case <-done:
	}
	closeNow(srv, log)
}

func config(srv *server.Server, stderr io.Writer) *plugin.ServeConfig {
	return &plugin.ServeConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{wire.Protocol: {wire.PluginName: served{srv: srv}}},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: stderr, JSONFormat: true}),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, srv.Options()...)...)
		},
	}
}

// served is what go-plugin registers.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	srv *server.Server
}

// GRPCServer implements [plugin.GRPCPlugin].
func (s served) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	s.srv.Register(g)
	return nil
}

// GRPCClient implements [plugin.GRPCPlugin]; it is the host's half.
func (served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, driver.Errorf(driver.Unsupported, "sdk", "a plugin is no host")
}
