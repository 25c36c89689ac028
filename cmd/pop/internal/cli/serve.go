package cli

import (
	"context"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
)

type serveOptions struct {
	daemon
	data, addr, tokens string
	keepLogs           time.Duration
}

func (a *app) serveCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server, with authentication; pullers run elsewhere",
		Long: `Run the server: the API and the scheduler, over the embedded store. Agendas are run by "pop pull", here or elsewhere.

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
		Example: `  pop serve --data /var/lib/pop --tokens tokens.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.tokens == "" {
				return usagef("name the file of tokens with --tokens; to try things out without authentication, there is `pop dev`")
			}
			return a.run(cmd, &o.daemon, func(ctx context.Context, log *slog.Logger) error { return a.serve(ctx, log, o) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.data, "data", ".pop", "folder for all that is kept")
	flags.StringVar(&o.addr, "addr", "127.0.0.1:8080", "address to listen on")
	flags.StringVar(&o.tokens, "tokens", "", "file of tokens")
	keepLogsFlag(flags, &o.keepLogs)
	o.addFlags(flags)
	fromEnv(flags)
	return cmd
}

func (a *app) serve(ctx context.Context, log *slog.Logger, o serveOptions) (err error) {
	server, err := node.Open(ctx, node.Config{Data: o.data, Tokens: o.tokens, Version: a.Version, Log: log, KeepLogs: o.keepLogs})
	if err != nil {
		return err
	}
	defer closing(&err, server.Close)
	listener, err := node.Listen(ctx, o.addr)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // serving closes it as well
	if err := server.Engine.Start(ctx); err != nil {
		return err
	}
	log.Info("serving", "address", listener.Addr().String(), "data", o.data)
	return server.Serve(ctx, listener)
}
