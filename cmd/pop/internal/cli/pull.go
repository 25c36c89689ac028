package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/cmd/pop/internal/pullhealth"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/pool/process"
	"github.com/pop-platform/pop/core/pool/registry"
)

// spoolFolder is where in a work folder results are kept that the server cannot take in for now.
const spoolFolder = "spool"

type pullOptions struct {
	daemon
	insights          []string
	handlers, session string
	work, health      string
	slots             int
	drain             time.Duration
}

func (a *app) pullCommand() *cobra.Command {
	var o pullOptions
	cmd := &cobra.Command{
		Use: "pull", Short: "Pull agendas of insights from a server and run them here",
		Long: `Pull agendas of insights from a server and run them here, as many at a time as there are slots.

Pullers with the same session name take each other's work away: give each its own, and keep it over restarts, so that what a
killed puller has left is run again at once.`,
		Example: `  pop pull --server https://pop.example.com --insight text --handlers handlers.yaml --session worker-1`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case len(o.insights) == 0:
				return usagef("name at least one insight with --insight")
			case o.handlers == "":
				return usagef("name the file of handlers with --handlers")
			case o.slots < 1:
				return usagef("--slots must be at least 1")
			}
			if err := names("insight", o.insights); err != nil {
				return err
			}
			if err := o.complete(); err != nil {
				return err
			}
			return a.run(cmd, &o.daemon, func(ctx context.Context, log *slog.Logger) error { return a.pull(ctx, log, o) })
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&o.insights, "insight", nil, "insights to pull for; they share the slots")
	flags.StringVar(&o.handlers, "handlers", "", "file that names the handlers")
	flags.IntVar(&o.slots, "slots", 10, "agendas that run at a time")
	flags.StringVar(&o.session, "session", "", "name of this puller (default the name of this machine)")
	flags.StringVar(&o.work, "work", "", "folder for the handlers' own folders, and for results while the server is away (default one for the session among temporary files)")
	flags.StringVar(&o.health, "health", "", "address to serve /healthz, /readyz and /metrics on")
	flags.DurationVar(&o.drain, "drain", 30*time.Second, "how long agendas may go on when told to stop; then they are handed back")
	o.addFlags(flags)
	fromEnv(flags)
	return cmd
}

// complete fills in what follows from this machine.
func (o *pullOptions) complete() error {
	if o.session == "" {
		name, err := os.Hostname()
		if err != nil {
			return usagef("this machine has no name (%w); name the puller with --session", err)
		}
		o.session = name
	}
	if o.work == "" {
		name := strings.Map(func(r rune) rune {
			if r == '/' || r == '\\' {
				return '-'
			}
			return r
		}, o.session)
		o.work = filepath.Join(os.TempDir(), "pop-pull-"+name)
	}
	return nil
}

// openHandlers opens the file that --handlers names.
func openHandlers(file string, log *slog.Logger) (*registry.Registry, error) {
	handlers, err := registry.Open(file, log)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name the right file with --handlers", err)
	}
	return handlers, err
}

func (a *app) pull(ctx context.Context, log *slog.Logger, o pullOptions) (err error) {
	c, err := a.client()
	if err != nil {
		return err
	}
	handlers, err := openHandlers(o.handlers, log)
	if err != nil {
		return err
	}
	launcher, err := process.New(process.Config{Root: o.work, Handlers: handlers, Log: log})
	if err != nil {
		return fmt.Errorf("%w; name another folder with --work", err)
	}
	defer closing(&err, launcher.Close)
	puller, err := pool.New(pool.Config{
		API: c, Launcher: launcher, Log: log, Name: o.session, InsightIDs: o.insights, Slots: o.slots, DrainTimeout: o.drain,
		Spool: filepath.Join(o.work, spoolFolder), Fit: launcher.Fit,
	})
	if err != nil {
		return err
	}
	if o.health != "" {
		l, err := node.Listen(ctx, o.health, "--health")
		if err != nil {
			return err
		}
		// It outlives the signal to stop, to tell that the puller is stopping.
		serving, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		go func() {
			if err := pullhealth.Serve(serving, ctx, l, puller.Stats, log); err != nil {
				log.Error("health is not served any more", "error", err)
			}
		}()
	}
	var reading sync.WaitGroup
	reading.Go(func() { handlers.Run(ctx) })
	log.Info("pulling", "server", a.server, "insights", o.insights, "slots", o.slots, "operation_types", handlers.Types())
	puller.Run(ctx)
	reading.Wait()
	return nil
}
