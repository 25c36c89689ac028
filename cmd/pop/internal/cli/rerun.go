package cli

import (
	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) rerunCommand() *cobra.Command {
	var rerun wire.Rerun
	var all, watch bool
	cmd := &cobra.Command{
		Use: "rerun ID", Short: "Run an agenda that has ended once more",
		Long: `Run an agenda that has ended once more.

By default it goes on at the point of failure: operations that have succeeded keep their results and are not run again.`,
		Example: `  pop agenda rerun "$ID" --watch
  pop agenda rerun "$ID" --operation transcode`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := 0
			for _, c := range []bool{rerun.Continue, len(rerun.Operations) > 0, all} {
				if c {
					chosen++
				}
			}
			if chosen > 1 {
				return usagef("--continue, --operation and --all exclude each other")
			}
			if rerun.SkipExecution && watch {
				return usagef("with --skip-execution there is nothing to --watch")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if chosen == 0 {
				rerun.Continue = true
				before, _, err := c.Progress(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if before.Outcome == model.Succeeded {
					return usagef("agenda %s has succeeded, so there is nothing to go on with; say --all, or which --operation", args[0])
				}
			}
			progress, err := c.Rerun(cmd.Context(), args[0], rerun)
			if err != nil {
				return err
			}
			if watch {
				return a.watch(cmd.Context(), c, args[0])
			}
			what := "runs again"
			if rerun.SkipExecution {
				what = "is reset"
			}
			return a.printer().Print(progress, output.Rows{Cells: [][]string{{"agenda " + args[0] + " " + what}}})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&rerun.Continue, "continue", false, "run only what has not succeeded (the default)")
	flags.StringSliceVar(&rerun.Operations, "operation", nil, "run these operations again, and all that depends on them")
	flags.BoolVar(&all, "all", false, "run everything again")
	flags.BoolVar(&rerun.SkipExecution, "skip-execution", false, "only forget the progress; do not run")
	flags.BoolVar(&watch, "watch", false, "follow it until it has ended")
	return cmd
}
