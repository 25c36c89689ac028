package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) logsCommand() *cobra.Command {
	var operation string
	var follow bool
	cmd := &cobra.Command{
		Use: "logs ID", Short: "Show what the operations of an agenda printed",
		Long: `Show what the operations of an agenda printed, each line behind the name of its operation, and the attempt if it is not the
first. Of each attempt the last megabyte is kept, for some days. Lines are read as they are printed with -f.`,
		Example: `  pop agenda logs "$ID"
  pop agenda logs "$ID" --operation render -f`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if operation != "" && !follow { // else it may be added yet
				if err := hasOperation(cmd.Context(), c, args[0], operation); err != nil {
					return err
				}
			}
			printer := logPrinter{w: a.Stdout, named: operation == "", seen: map[string]int64{}}
			for chunk, err := range c.Logs(cmd.Context(), args[0], operation, follow) {
				if err == nil && a.format != output.Table {
					err = a.printer().Event(chunk)
				} else if err == nil {
					err = printer.print(&chunk)
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&operation, "operation", "", "only what this operation printed")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the agenda has ended")
	return cmd
}

// hasOperation returns an error if an agenda has no operation with a name.
func hasOperation(ctx context.Context, c *client.Client, id, operation string) error {
	p, _, err := c.Progress(ctx, id)
	if err != nil {
		return err
	}
	names := make([]string, len(p.Operations))
	for i := range p.Operations {
		names[i] = p.Operations[i].Operation
	}
	if !slices.Contains(names, operation) {
		return model.Errorf(model.NotFound, "agenda %q has no operation %q; it has %s", id, operation, strings.Join(names, ", "))
	}
	return nil
}

// logPrinter prints chunks line by line.
type logPrinter struct {
	w     io.Writer
	named bool             // say which operation printed a line
	seen  map[string]int64 // where the chunks of each attempt end
}

func (p *logPrinter) print(c *model.LogChunk) error {
	name := c.Operation
	if c.Attempt > 1 {
		name = fmt.Sprintf("%s (attempt %d)", c.Operation, c.Attempt)
	}
	key := fmt.Sprint(c.Fence, " ", name)
	var text strings.Builder
	line := func(s string) {
		if p.named || c.Attempt > 1 {
			text.WriteString(output.Clean(name) + " | ")
		}
		text.WriteString(output.Clean(s) + "\n")
	}
	if missing := c.Offset - p.seen[key]; missing > 0 {
		line(fmt.Sprintf("[%d bytes are not kept]", missing))
	}
	p.seen[key] = c.Offset + int64(len(c.Text))
	for s := range strings.Lines(c.Text) {
		line(strings.TrimRight(s, "\r\n"))
	}
	_, err := io.WriteString(p.w, text.String())
	return err
}
