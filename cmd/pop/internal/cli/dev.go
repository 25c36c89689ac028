package cli

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/core/pool/process"
	"github.com/pop-platform/pop/core/pool/registry"
	"github.com/pop-platform/pop/examples/quickstart"
)

// devDrain is how long agendas may go on when dev is told to stop.
const devDrain = 3 * time.Second

type devOptions struct {
	daemon
	settings
	data, addr          string // of the configuration
	handlers            string
	slots               int
	noSamples, insecure bool
}

func (a *app) devCommand() *cobra.Command {
	o := devOptions{settings: settings{open: true}}
	cmd := &cobra.Command{
		Use: "dev", Short: "Run everything on this machine: server, scheduler and puller, with samples to try",
		Long: `Run everything on this machine: server, scheduler and puller in one process, with samples to try.

All it keeps is in one folder. It may be killed at any moment and goes on where it was when it is started again. Delete the
folder to begin anew.

A file of settings can put other drivers in the place of those that are linked in; see "pop config docs". Whoever it says may call
does not count: authentication is off.`,
		Example: `  pop dev
  pop dev --data /tmp/mine --no-samples --handlers handlers.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.slots < 1 {
				return usagef("--slots must be at least 1")
			}
			cfg, err := a.nodeConfig(&o.settings)
			if err != nil {
				return err
			}
			o.data, o.addr = cfg.Settings.Server.Data, cfg.Settings.Server.Addr
			o.logLevel, _ = cfg.Settings.Server.Level() // the configuration is good
			if !node.IsLoopback(o.addr) && !o.insecure {
				return usagef("not listening on %s: authentication is off, so whoever reaches it may do everything and run programs here; "+
					"use an address of this machine such as 127.0.0.1:8080, or `pop serve`, or say --insecure-listen", o.addr)
			}
			return a.run(cmd, &o.daemon, func(ctx context.Context, log *slog.Logger) error {
				cfg.Log = log
				return a.dev(ctx, log, cfg, o)
			})
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.slots, "slots", 10, "agendas that run at a time, for each insight")
	flags.StringVar(&o.handlers, "handlers", "", "file that names the handlers (default handlers.yaml in the data folder)")
	flags.BoolVar(&o.noSamples, "no-samples", false, "begin without sample objects and handlers")
	flags.BoolVar(&o.insecure, "insecure-listen", false, "listen on addresses that others can reach though authentication is off")
	o.addHidden(flags)
	fromEnv(flags)
	o.settings.addFlags(flags)
	return cmd
}

func (a *app) dev(ctx context.Context, log *slog.Logger, cfg node.Config, o devOptions) (err error) {
	server, err := node.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer closing(&err, server.Close)
	listener, err := node.Listen(ctx, o.addr, "--addr")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // serving closes it as well
	launcher, handlers, err := o.prepare(ctx, server, log)
	if err != nil {
		return err
	}
	defer closing(&err, launcher.Close)
	a.sayWhere(listener.Addr())
	if err := server.Engine.Start(ctx); err != nil {
		return err
	}
	// The API stays until the pullers are done, so that those who watch can see how it ends.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	pulling, stopPulling := context.WithCancel(ctx)
	defer stopPulling()
	var parts sync.WaitGroup
	parts.Go(func() { handlers.Run(pulling) })
	parts.Go(func() {
		defer stopServing()
		pullers := node.Pullers{
			API: server.Engine, Catalog: server.Catalog, Launcher: launcher, Slots: o.slots, Drain: devDrain,
			Spool: filepath.Join(o.data, "work", spoolFolder), Log: log,
		}
		pullers.Run(pulling)
	})
	a.sayWhatNext(listener.Addr(), o, handlers.Types(), o.sampleTypes(ctx, server))
	context.AfterFunc(ctx, func() { log.Info("stopping; a second signal stops at once", "running_agendas_may_take", devDrain) })
	err = server.Serve(serving, listener)
	stopPulling()
	parts.Wait()
	return err
}

// prepare adds the samples, and returns what runs handlers and what knows them.
func (o *devOptions) prepare(ctx context.Context, server *node.Server, log *slog.Logger) (*process.Launcher, *registry.Registry, error) {
	samples := fs.FS(quickstart.Files)
	if o.noSamples {
		samples = nil
	} else if err := node.AddSamples(ctx, server.Catalog, samples); err != nil {
		return nil, nil, err
	}
	file := o.handlers
	if file == "" {
		file = node.HandlersFile(o.data)
		if err := node.WriteHandlers(o.data, samples); err != nil {
			return nil, nil, err
		}
	}
	handlers, err := openHandlers(file, log)
	if err != nil {
		return nil, nil, err
	}
	launcher, err := process.New(process.Config{Root: filepath.Join(o.data, "work"), Handlers: handlers, Log: log})
	return launcher, handlers, err
}

func (a *app) sayWhere(addr net.Addr) {
	who := "only this machine can reach it"
	if !node.IsLoopback(addr.String()) {
		who = "WHOEVER CAN REACH IT may do everything and run programs here"
	}
	_, _ = fmt.Fprintf(a.Stdout, "Authentication is OFF; listening on http://%s, and %s.\n", addr, who)
}

// sampleTemplate is the template that dev says to try.
const sampleTemplate = "words"

// sampleTypes returns the operation types of the sample template; none without samples.
func (o *devOptions) sampleTypes(ctx context.Context, server *node.Server) (types []string) {
	if o.noSamples {
		return nil
	}
	template, err := server.Catalog.AgendaTemplates.Get(ctx, sampleTemplate)
	if err != nil { // then it is not worth trying
		return nil
	}
	for _, op := range template.Object.Agenda.Operations {
		types = append(types, op.Type)
	}
	return types
}

// sayWhatNext says what to try, and only what will work.
func (a *app) sayWhatNext(addr net.Addr, o devOptions, handled, sample []string) {
	pop := self()
	if url := "http://" + addr.String(); url != defaultServer {
		pop = fmt.Sprintf("%s --server %s", pop, url)
	}
	file := o.handlers
	if file == "" {
		file = node.HandlersFile(o.data)
	}
	_, _ = fmt.Fprintf(a.Stdout, "Data is kept in %s; %s names handlers of %d operation types.\n", o.data, file, len(handled))
	missing := slices.DeleteFunc(slices.Clone(sample), func(t string) bool { return slices.Contains(handled, t) })
	if len(missing) > 0 {
		_, _ = fmt.Fprintf(a.Stdout, "The sample template %s cannot be run: %s has no handlers of its operation types %s.\n",
			sampleTemplate, file, strings.Join(slices.Compact(slices.Sorted(slices.Values(missing))), ", "))
	}
	_, _ = fmt.Fprint(a.Stdout, "\nTry, in another terminal:\n")
	if len(sample) > 0 && len(missing) == 0 {
		_, _ = fmt.Fprintf(a.Stdout, `  %[1]s agenda submit --template %[2]s --customer acme --watch
  %[1]s agenda submit --template %[2]s --customer globex --payload '{"text": "the quick brown fox", "failures": 1}' --link fox --watch
  %[1]s link fox
`, pop, sampleTemplate)
	}
	_, _ = fmt.Fprintf(a.Stdout, `  %[1]s insight list
  %[1]s agenda list
  %[1]s doctor --handlers %[2]s
  %[1]s apply --help
Reference of the API: http://%[3]s/v1/docs
`, pop, file, addr)
}

// closing closes something at the end of a function whose error is *err.
func closing(err *error, end func() error) {
	if ended := end(); *err == nil {
		*err = ended
	}
}
