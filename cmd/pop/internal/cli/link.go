package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/cmd/pop/internal/tree"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) linkCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "link LINKID", Short: "Sum up all agendas that share a linkId", Args: takes(1, 1),
		Long: `Sum up all agendas that share a linkId. With --watch, follow those that there are until they have ended, as
"pop agenda watch" does.`,
		Example: `  pop link order-1
  pop link order-1 --watch`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.Link(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if watch {
				ids := make([]string, len(s.Agendas))
				for i := range s.Agendas {
					ids[i] = s.Agendas[i].AgendaID
				}
				return a.watch(cmd.Context(), c, ids...)
			}
			if a.format != output.Table {
				return a.printer().Value(s)
			}
			state := tree.State(model.Status{State: s.State, Outcome: s.Outcome})
			if _, err := fmt.Fprintf(a.Stdout, "%s: %s, %.0f%%, agendas: %d\n\n", output.Clean(s.LinkID), state, s.PercentComplete, len(s.Agendas)); err != nil {
				return err
			}
			return a.printer().Rows(agendaRows(s.Agendas))
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the agendas until they have ended")
	return cmd
}
