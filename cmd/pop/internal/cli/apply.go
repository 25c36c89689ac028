package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/apply"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/client"
)

func (a *app) applyCommand() *cobra.Command {
	var path string
	var dryRun bool
	cmd := &cobra.Command{
		Use: "apply -f DIR|FILE|-", Short: "Make the server hold the objects that files describe",
		Long: `Make the server hold the objects that files describe. Applying them again changes nothing.

Files are YAML, with any number of documents, or JSON. Each document has a kind (Customer, ResourcePool, Insight or
AgendaTemplate), an id, and the fields of that kind. A folder stands for all .yaml, .yml and .json files in it and below.
If anything is wrong with any file, all of it is reported and nothing is applied.`,
		Example: `  pop apply -f objects --dry-run
  pop apply -f objects`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return usagef("name a file or folder with -f")
			}
			manifests, problems, err := apply.Load(path, a.Stdin)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			steps, more, err := apply.Plan(cmd.Context(), c, manifests)
			if err != nil && len(problems) == 0 {
				return err
			}
			if problems = append(problems, more...); len(problems) > 0 {
				a.tell(problems)
				return fmt.Errorf("nothing was applied; problems: %d", len(problems))
			}
			return a.apply(cmd.Context(), c, steps, dryRun)
		},
	}
	cmd.Flags().StringVarP(&path, "file", "f", "", "file or folder with objects; - for standard input")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be done")
	return cmd
}

// applied is what apply did with an object.
type applied struct {
	Kind   string       `json:"kind"`
	ID     string       `json:"id"`
	Change apply.Change `json:"change"`
	DryRun bool         `json:"dryRun,omitempty"`
}

func (a *app) apply(ctx context.Context, c *client.Client, steps []apply.Step, dryRun bool) error {
	done, rows := []applied{}, output.Rows{}
	failed := 0
	var err error
	for i := range steps {
		step := &steps[i]
		would := "would be "
		if !dryRun {
			would = ""
			var problems []apply.Problem
			if problems, err = step.Do(ctx, c); err != nil {
				break
			}
			if len(problems) > 0 {
				a.tell(problems)
				failed++
				continue
			}
		}
		if step.Change == apply.Unchanged {
			would = ""
		}
		done = append(done, applied{step.Kind.Name(), step.ID, step.Change, dryRun})
		rows.Add(step.Kind.Name(), step.ID, would+string(step.Change))
	}
	if printed := a.printer().Print(done, rows); err == nil {
		err = printed
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("not applied: %d of %d objects", failed, len(steps))
	}
	return err
}

func (a *app) tell(problems []apply.Problem) {
	for _, p := range problems {
		a.note("%s", output.Clean(p.String()))
	}
}
