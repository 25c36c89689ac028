package tree

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/model"
)

// Line tells one thing that has changed, and when it did.
type Line struct {
	Time time.Time
	Text string
}

// Changes returns a line for each thing that has changed between two states of a run. Before is nil for the first state: what has
// ended by then comes first, with the time of its end. If there are several agendas, each line says which one it is about.
func Changes(before, after *model.AgendaProgress, several bool) []Line {
	known := map[string]*model.OperationProgress{}
	if before != nil {
		for i := range before.Operations {
			known[before.Operations[i].Operation] = &before.Operations[i]
		}
	}
	var ended, others []Line
	for i := range after.Operations {
		op := &after.Operations[i]
		old := known[op.Operation]
		if old == nil && op.State == model.Waiting || old != nil && old.State == op.State && old.Outcome == op.Outcome &&
			old.AttemptCount == op.AttemptCount && old.Message == op.Message && old.PercentComplete == op.PercentComplete {
			continue
		}
		line := Line{Time: after.UpdatedTime, Text: operationText(op)}
		if several {
			line.Text = name(after) + ": " + line.Text
		}
		switch {
		case op.State == model.Complete:
			line.Time = cmp.Or(op.CompletedTime, line.Time) // one that is skipped never ran
			ended = append(ended, line)
			continue
		case op.PercentComplete == 0 && op.Message == "": // it has just begun
			line.Time = cmp.Or(op.AttemptTime, line.Time)
		}
		others = append(others, line)
	}
	slices.SortStableFunc(ended, func(a, b Line) int { return a.Time.Compare(b.Time) })
	if before != nil && before.State == after.State && before.Outcome == after.Outcome &&
		before.AttemptsCompleted == after.AttemptsCompleted && before.Fence == after.Fence && before.Message == after.Message {
		return append(ended, others...)
	}
	agenda := Line{Time: after.UpdatedTime, Text: agendaText(after)}
	switch {
	case after.State == model.Complete:
		agenda.Time = after.CompletedTime
		return append(append(ended, others...), agenda)
	case before != nil && after.State == model.Waiting: // because of what the operations did
		return append(append(ended, others...), agenda)
	case before != nil:
		return append(append([]Line{agenda}, ended...), others...)
	}
	return append(append(ended, agenda), others...)
}

func operationText(op *model.OperationProgress) string {
	name := output.Clean(op.Operation)
	message := output.Clean(op.Message)
	switch {
	case op.State == model.Executing:
		percent := ""
		if op.PercentComplete > 0 {
			percent = fmt.Sprintf("%.0f%%", op.PercentComplete)
		}
		again := ""
		if op.AttemptCount > 1 {
			again = fmt.Sprintf("attempt %d", op.AttemptCount)
		}
		return fmt.Sprintf("operation %s: %s", name, words(" ", State(op.Status), again, percent, message))
	case op.Outcome == model.Succeeded:
		return fmt.Sprintf("operation %s: succeeded in %s", name, Took(op, op.CompletedTime))
	case op.Outcome == model.Failed:
		return words(": ", "operation "+name, fmt.Sprintf("failed in attempt %d", op.AttemptCount), message)
	}
	return words(": ", "operation "+name, State(op.Status), message)
}

func agendaText(p *model.AgendaProgress) string {
	state := State(p.Status)
	if p.State == model.Complete {
		state = words(" in ", state, busy(p, p.CompletedTime))
	}
	return words(": ", name(p), words(", ", state, "insight "+output.Clean(p.AgendaInsight.InsightID), attempt(p)), news(p))
}

// name returns an agenda's id and what people know it by.
func name(p *model.AgendaProgress) string {
	known := output.Clean(cmp.Or(p.Title, p.CustomerID))
	if known == "" {
		return "agenda " + p.AgendaID
	}
	return fmt.Sprintf("agenda %s (%s)", p.AgendaID, known)
}
