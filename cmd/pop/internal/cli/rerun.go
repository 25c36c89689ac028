package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) rerunCommand() *cobra.Command {
	var rerun model.Rerun
	var many wire.RerunAll
	var all, watch bool
	cmd := &cobra.Command{
		Use: "rerun [ID]", Short: "Run agendas that have ended once more",
		Long: `Run an agenda that has ended once more, or all that match --link, --customer or --insight and have failed.

By default they go on at the point of failure: operations that have succeeded keep their results and are not run again.`,
		Example: `  pop agenda rerun "$ID" --watch
  pop agenda rerun "$ID" --operation transcode
  pop agenda rerun --link order-4711
  pop agenda rerun --customer acme --outcome cancelled`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := 0
			for _, c := range []bool{rerun.Continue, len(rerun.Operations) > 0, all} {
				if c {
					chosen++
				}
			}
			matching := many.CustomerID != "" || many.LinkID != "" || many.InsightID != ""
			switch {
			case chosen > 1:
				return usagef("--continue, --operation and --all exclude each other")
			case rerun.SkipExecution && watch:
				return usagef("with --skip-execution there is nothing to --watch")
			case matching == (len(args) == 1):
				return usagef("name one agenda, or those to run again with --link, --customer or --insight")
			case watch && matching:
				return usagef("--watch follows one agenda; pop link LINKID sums up those with a linkId")
			case many.Outcome != "" && !matching:
				return usagef("--outcome goes with --link, --customer or --insight")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if matching {
				rerun.Continue = chosen == 0 || rerun.Continue
				many.Rerun = rerun
				return a.rerunAll(cmd.Context(), c, many)
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
			return a.printer().Print(progress, output.Rows{Cells: [][]string{{"agenda " + args[0] + " " + done(rerun)}}})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&rerun.Continue, "continue", false, "run only what has not succeeded (the default)")
	flags.StringSliceVar(&rerun.Operations, "operation", nil, "run these operations again, and all that depends on them")
	flags.BoolVar(&all, "all", false, "run everything again")
	flags.BoolVar(&rerun.SkipExecution, "skip-execution", false, "only forget the progress; do not run")
	flags.BoolVar(&watch, "watch", false, "follow it until it has ended")
	flags.StringVar(&many.LinkID, "link", "", "run those with this linkId again")
	flags.StringVar(&many.CustomerID, "customer", "", "run those of this customer again")
	flags.StringVar(&many.InsightID, "insight", "", "run those bound to this insight again")
	flags.StringVar((*string)(&many.Outcome), "outcome", "", "those that ended like this: failed (the default), cancelled or succeeded")
	_ = cmd.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions( // the flag exists
		[]string{string(model.Failed), string(model.Cancelled), string(model.Succeeded)}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// done says what has become of an agenda that was to be run again.
func done(rerun model.Rerun) string {
	if rerun.SkipExecution {
		return "is reset"
	}
	return "runs again"
}

// rerunAll runs all agendas that match again, and says of each what became of it.
func (a *app) rerunAll(ctx context.Context, c *client.Client, many wire.RerunAll) error {
	results := []wire.RerunResult{}
	refused := 0
	for {
		answer, err := c.RerunAll(ctx, many)
		if err != nil {
			return err
		}
		results = append(results, answer.Items...)
		if many.Cursor = answer.Next; many.Cursor == "" {
			break
		}
	}
	rows := output.Rows{Header: []string{"AGENDA", "RESULT"}}
	for _, r := range results {
		said := done(many.Rerun)
		if r.Problem != nil {
			refused++
			said = r.Problem.Detail
		}
		rows.Add(r.AgendaID, said)
	}
	if len(results) == 0 {
		a.note("No agenda matches.")
	}
	if err := a.printer().Print(results, rows); err != nil {
		return err
	}
	if refused > 0 {
		return fmt.Errorf("%d of %d agendas were not run again", refused, len(results))
	}
	return nil
}
