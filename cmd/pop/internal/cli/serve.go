package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
)

func (a *app) serveCommand() *cobra.Command {
	var d daemon
	var s settings
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server, with authentication; pullers run elsewhere",
		Long: `Run the server: the API and the scheduler. Agendas are run by "pop pull", here or elsewhere.

Settings come from a file, the environment and flags; "pop config docs" describes them all. Without a file the server keeps
everything in one folder, and needs a file of tokens. At SIGHUP it reads them again and replaces its plugins by what they say.

The file of tokens says who may call it and for whom. It holds hashes only, and is read again when it changes:

  tokens:
  - token: sha256:9f86d0...      # "pop token" makes a token and its entry
    subject: alice
    customers: [acme]
    roles: [read, submit]        # of read, submit, operate and pull
  - token: sha256:60303a...
    subject: admin
    global: true                 # acts for every customer
    roles: [read, submit, operate, pull]`,
		Example: `  pop serve --data /var/lib/pop --tokens tokens.yaml
  pop serve --config pop.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.nodeConfig(&s)
			if err != nil {
				return err
			}
			d.logLevel, _ = cfg.Settings.Server.Level() // the configuration is good
			return a.run(cmd, &d, func(ctx context.Context, log *slog.Logger) error {
				cfg.Log = log
				return a.serve(ctx, cfg, &s)
			})
		},
	}
	d.addHidden(cmd.Flags())
	fromEnv(cmd.Flags(), "pprof")
	s.addFlags(cmd.Flags())
	return cmd
}

func (a *app) serve(ctx context.Context, cfg node.Config, s *settings) (err error) {
	// One that comes during the start, which plugins make long, would end the process; it is seen to afterwards.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	server, err := node.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer closing(&err, server.Close)
	listener, err := node.Listen(ctx, cfg.Settings.Server.Addr, "--addr")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // serving closes it as well
	if err := server.Engine.Start(ctx); err != nil {
		return err
	}
	go a.replaceOn(ctx, hangups, server, cfg.Log, s)
	cfg.Log.Info("serving", "address", listener.Addr().String(), "data", cfg.Settings.Server.Data)
	return server.Serve(ctx, listener)
}

// replaceOn reads the configuration anew at each signal, and replaces the plugins by what it says.
func (a *app) replaceOn(ctx context.Context, signals <-chan os.Signal, server *node.Server, log *slog.Logger, s *settings) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		cfg, err := a.nodeConfig(s)
		if err == nil {
			cfg.Log = log
			err = server.ReplacePlugins(ctx, cfg)
		}
		if err != nil {
			log.Error("not all plugins were replaced", "error", err)
		}
	}
}
