package cli

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// daemon holds what the commands have in common that run until they are told to stop.
type daemon struct {
	logLevel slog.Level
	pprof    string
}

func (d *daemon) addFlags(flags *pflag.FlagSet) {
	flags.TextVar(&d.logLevel, "log-level", slog.LevelInfo, "least important messages to log: debug, info, warn or error")
	d.addHidden(flags)
}

// addHidden adds the flags that are for developers only.
func (d *daemon) addHidden(flags *pflag.FlagSet) {
	flags.StringVar(&d.pprof, "pprof", "", "serve profiles on this address")
	_ = flags.MarkHidden("pprof") // the flag exists
}

// run runs f until it returns, or the process is told to stop: then its context ends, and a second signal ends the process
// at once.
func (a *app) run(cmd *cobra.Command, d *daemon, f func(ctx context.Context, log *slog.Logger) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	log := slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{Level: d.logLevel}))
	if d.pprof != "" {
		go func() {
			if err := serveProfiles(d.pprof); err != nil {
				log.Error("profiles are not served", "error", err)
			}
		}()
	}
	err := f(ctx, log)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // told to stop before it had begun
	}
	return err
}

func serveProfiles(addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// self returns how this program was called, so that what it says to type next works.
func self() string {
	name := os.Args[0]
	if program, err := os.Executable(); err == nil && strings.Contains(filepath.ToSlash(program), "/go-build") {
		return "go run ./cmd/pop"
	}
	return name
}
