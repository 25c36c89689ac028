package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/cmd/pop/internal/tree"
	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) agendaCommand() *cobra.Command {
	return group("agenda", "Submit agendas and follow them", `  pop agenda submit report.yaml --watch
  pop agenda list --customer acme`,
		a.submitCommand(), a.getAgendaCommand(), a.listAgendasCommand(), a.watchCommand(), a.logsCommand(),
		a.explainCommand(), a.pauseAgendaCommand(), a.resumeAgendaCommand(), a.cancelCommand(), a.rerunCommand(), a.deleteAgendaCommand())
}

func (a *app) getAgendaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show an agenda and the progress of its operations",
		Example: `  pop agenda get "$ID"
  pop agenda get "$ID" -o json`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			agenda, err := c.Agenda(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			progress, _, err := c.Progress(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.format != output.Table {
				return a.printer().Value(wire.Submitted{Agenda: agenda, Progress: progress})
			}
			return a.printAgenda(&agenda, &progress)
		},
	}
}

// printAgenda prints what people want to know of an agenda: what it is, how far it is, and what went wrong. Each thing is said
// once: what went wrong stands at the end, with what the handlers printed.
func (a *app) printAgenda(agenda *model.Agenda, p *model.AgendaProgress) error {
	told := map[string]bool{} // what stands at the end
	for _, e := range p.DiagnosticEvents {
		told[e.Message] = true
	}
	var about output.Rows
	field := func(name, value string) {
		if value != "" {
			about.Add(name, value)
		}
	}
	field("agenda", p.AgendaID)
	field("title", p.Title)
	field("customer", p.CustomerID)
	field("insight", p.AgendaInsight.InsightID)
	field("linkId", p.LinkID)
	field("state", fmt.Sprintf("%s, %.0f%%", tree.State(p.Status), p.PercentComplete))
	if !told[p.Message] && p.Message != string(p.Outcome) {
		field("message", p.Message)
	}
	attempts := fmt.Sprintf("%d of %d completed", p.AttemptsCompleted, p.MaximumAttempts)
	if tree.NotRetried(p) {
		attempts += "; not retried, as that would only repeat the failure"
	}
	field("attempts", attempts)
	field("added", when(p.AddedTime))
	field("started", when(p.StartedTime))
	field("completed", when(p.CompletedTime))
	if err := a.printer().Rows(about); err != nil {
		return err
	}
	operationsOf := agenda.WithGenerated(p.Operations).Operations
	types := make(map[string]string, len(operationsOf))
	for _, op := range operationsOf {
		types[op.Name] = op.Type
	}
	operations := output.Rows{Header: []string{"", "OPERATION", "TYPE", "STATE", "PERCENT", "ATTEMPTS", "TOOK", "RESULT"}}
	for i := range p.Operations {
		op := &p.Operations[i]
		said := op.Message
		switch {
		case op.Outcome == model.Succeeded:
			said = clip(string(op.ResultPayload))
		case told[op.Message] || told[failureOf(op)]:
			said = "see below"
		}
		operations.Add("", op.Operation, types[op.Operation], tree.State(op.Status), fmt.Sprintf("%.0f%%", op.PercentComplete),
			strconv.Itoa(op.AttemptCount), tree.Took(op, time.Now()), said)
	}
	if _, err := fmt.Fprintln(a.Stdout); err != nil {
		return err
	}
	if err := a.printer().Rows(operations); err != nil || len(p.DiagnosticEvents) == 0 {
		return err
	}
	return a.printEvents(p)
}

// failureOf returns how the failure of an operation is told among the events of its agenda.
func failureOf(op *model.OperationProgress) string {
	return fmt.Sprintf("operation %q: %s", op.Operation, op.Message)
}

// printEvents prints what went wrong. Below the failure of an operation's last attempt is the end of what its handler printed.
func (a *app) printEvents(p *model.AgendaProgress) error {
	printed := map[string]string{} // output, by the event of its agenda
	key := func(t time.Time, message string) string { return fmt.Sprint(t.UnixNano(), message) }
	for i := range p.Operations {
		op := &p.Operations[i]
		for _, e := range op.DiagnosticEvents {
			var payload struct {
				Output string `json:"output"`
			}
			if json.Unmarshal(e.Payload, &payload) == nil { // other launchers may leave other payloads
				printed[key(e.Time, failureOf(op))] = payload.Output
			}
		}
	}
	var text strings.Builder
	text.WriteString("\n  TIME                 WHAT WENT WRONG\n")
	for _, e := range p.DiagnosticEvents {
		fmt.Fprintf(&text, "  %-19s  %s\n", when(e.Time), output.Clean(e.Message))
		for _, line := range ending(printed[key(e.Time, e.Message)], e.Message) {
			text.WriteString("    | " + line + "\n")
		}
	}
	_, err := io.WriteString(a.Stdout, text.String())
	return err
}

// ending returns the last lines of a handler's output, fit for a terminal; none if a message says all there is.
func ending(text, message string) []string {
	const most, width = 20, 200
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if len(lines) == 1 && strings.Contains(message, lines[0]) {
		return nil
	}
	var shown []string
	if hidden := len(lines) - most; hidden > 0 {
		shown = append(shown, fmt.Sprintf("(%d lines before; -o json shows more)", hidden))
		lines = lines[hidden:]
	}
	for _, line := range lines {
		shown = append(shown, clipTo(width, output.Clean(line)))
	}
	return shown
}

func (a *app) listAgendasCommand() *cobra.Command {
	var f client.AgendaFilter
	var state, outcome string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List agendas, the newest of each customer first",
		Example: `  pop agenda list --customer acme --outcome failed`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.State, f.Outcome = model.State(strings.ToUpper(state)), model.Outcome(strings.ToLower(outcome))
			if limit < 0 {
				return usagef("--limit %d: it must be at least 1, or 0 for all", limit)
			}
			if err := oneOf("state", strings.ToLower(state), states...); err != nil {
				return err
			}
			if err := oneOf("outcome", string(f.Outcome), outcomes...); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			found, more, err := listAgendas(cmd.Context(), c, f, limit)
			if err != nil {
				return err
			}
			if more {
				a.note("There are more than %d; --limit 0 lists all.", limit)
			}
			return a.printer().Print(found, agendaRows(found))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.CustomerID, "customer", "", "only those of this customer")
	flags.StringVar(&f.LinkID, "link", "", "only those with this linkId")
	flags.StringVar(&f.InsightID, "insight", "", "only those bound to this insight")
	flags.StringVar(&state, "state", "", "only those that are waiting, queued, executing or complete")
	flags.StringVar(&outcome, "outcome", "", "only those that have succeeded, failed or were cancelled")
	flags.IntVar(&limit, "limit", 100, "list at most so many; 0 for all")
	fixed := func(flag string, values ...string) {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	}
	fixed("state", states...)
	fixed("outcome", outcomes...)
	return cmd
}

// states and outcomes are those that an agenda can have, as flags take them.
var (
	states   = []string{"waiting", "queued", "executing", "complete"}
	outcomes = []string{string(model.Succeeded), string(model.Failed), string(model.Cancelled)}
)

// oneOf returns why a flag cannot have a value, unless that is empty.
func oneOf(flag, value string, values ...string) error {
	if value == "" || slices.Contains(values, value) {
		return nil
	}
	return usagef("--%s %s: it must be one of %s", flag, value, strings.Join(values, ", "))
}

// listAgendas returns the first agendas that match, and whether there are more.
func listAgendas(ctx context.Context, c *client.Client, f client.AgendaFilter, limit int) ([]model.AgendaProgress, bool, error) {
	found := []model.AgendaProgress{}
	for p, err := range c.AllProgress(ctx, f) {
		if err != nil {
			return nil, false, err
		}
		if limit > 0 && len(found) == limit {
			return found, true, nil
		}
		found = append(found, p)
	}
	return found, false, nil
}

func agendaRows(list []model.AgendaProgress) output.Rows {
	rows := output.Rows{Header: []string{"AGENDA", "TITLE", "CUSTOMER", "LINKID", "INSIGHT", "STATE", "PERCENT", "ATTEMPTS", "ADDED", "MESSAGE"}}
	for i := range list {
		p := &list[i]
		message := p.Message
		if message == string(p.Outcome) {
			message = ""
		}
		rows.Add(p.AgendaID, p.Title, p.CustomerID, p.LinkID, p.AgendaInsight.InsightID, tree.State(p.Status),
			fmt.Sprintf("%.0f%%", p.PercentComplete), fmt.Sprintf("%d/%d", p.AttemptsCompleted, p.MaximumAttempts), when(p.AddedTime), clip(message))
	}
	return rows
}

func (a *app) cancelCommand() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: "cancel ID", Short: "Cancel an agenda; what runs of it is stopped",
		Example: `  pop agenda cancel "$ID" --reason "wrong input"`,
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			progress, err := c.Cancel(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			said := "agenda " + args[0] + " cancelled"
			if progress.Ending != "" {
				said += "; its operations that run always are still to be run (cancel it once more to leave them out)"
			}
			return a.printer().Print(progress, output.Rows{Cells: [][]string{{said}}})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for those who look at it later")
	return cmd
}

func (a *app) pauseAgendaCommand() *cobra.Command {
	var pause wire.PauseAgenda
	var until string
	cmd := &cobra.Command{
		Use: "pause ID", Short: "Start nothing more of an agenda until it is resumed; what runs is left to end",
		Example: `  pop agenda pause "$ID" --reason "the disk is full"
  pop agenda pause "$ID" --until 2h
  pop agenda pause "$ID" --interrupt`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if pause.Until, err = parseTime(until); err != nil {
				return usagef("--until: %w", err)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			progress, err := c.Pause(cmd.Context(), args[0], pause)
			if err != nil {
				return err
			}
			said := "agenda " + args[0] + " paused"
			if progress.State == model.Executing {
				said += "; what runs of it is left to end"
			}
			return a.printer().Print(progress, output.Rows{Cells: [][]string{{said}}})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&pause.Reason, "reason", "", "why, for those who look at it later")
	flags.StringVar(&until, "until", "", "when it ends by itself: a time such as 2030-01-02T15:04:05Z, or one from now such as 2h")
	flags.BoolVar(&pause.Interrupt, "interrupt", false, "stop what runs, to be run again later")
	return cmd
}

func (a *app) resumeAgendaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "resume ID", Short: "End the pause of an agenda", Example: `  pop agenda resume "$ID"`, Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			progress, err := c.Resume(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printer().Print(progress, output.Rows{Cells: [][]string{{"agenda " + args[0] + " resumed"}}})
		},
	}
}

func (a *app) deleteAgendaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete an agenda that has ended, and its progress",
		Example: `  pop agenda delete "$ID"`,
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.DeleteAgenda(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.note("agenda %s deleted", args[0])
			return nil
		},
	}
}

// when returns a time as it is on this machine's clock.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

// clip bounds what a table shows of a value.
func clip(text string) string { return clipTo(80, text) }

func clipTo(most int, text string) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
