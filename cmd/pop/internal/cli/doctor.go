package cli

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/doctor"
	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/config"
)

func (a *app) doctorCommand() *cobra.Command {
	var data, handlers, file string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look for what may keep POP from working, and say how to mend it",
		Long: `Look for what may keep POP from working, and say how to mend it: the server, and with --config, --data and --handlers this machine.

The exit status is 1 if something fails; warnings do not count.`,
		Example: `  pop doctor --data .pop
  pop doctor --config pop.yaml
  pop doctor --server https://pop.example.com --handlers handlers.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if handlers == "" && data != "" {
				file := node.HandlersFile(data)
				if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
					handlers = file
				}
			}
			var loaded *config.Loaded
			if file != "" {
				loaded = config.Load(config.Input{File: file, Getenv: a.Getenv, Linked: node.Linked()})
			}
			findings, err := doctor.Examine(cmd.Context(), doctor.Options{
				Config: loaded,
				Server: a.server, Token: a.auth.token, Tokens: a.auth.source(), Data: data, Handlers: handlers, Version: a.Version, Now: time.Now,
			})
			if err != nil {
				return usageError{err}
			}
			rows := output.Rows{Header: []string{"", "CHECK", "FINDING AND REMEDY"}}
			failed := false
			for _, f := range findings {
				rows.Add(string(f.Level), f.Check, f.Detail)
				if f.Remedy != "" { // below, as either may be long
					rows.Add("", "", "-> "+f.Remedy)
				}
				failed = failed || f.Level == doctor.Fail
			}
			if err := a.printer().Print(findings, rows); err != nil {
				return err
			}
			if failed {
				return status(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "file of settings of a server on this machine")
	cmd.Flags().StringVar(&data, "data", "", "data folder of a server on this machine")
	cmd.Flags().StringVar(&handlers, "handlers", "", "file of handlers (default handlers.yaml in the data folder)")
	return cmd
}
