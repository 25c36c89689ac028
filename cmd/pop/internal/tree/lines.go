package tree

import (
	"fmt"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/model"
)

// Changes returns one line for each thing that has changed between two states of a run. Before is nil for the first state.
func Changes(before, after *model.AgendaProgress) []string {
	known := map[string]*model.OperationProgress{}
	if before != nil {
		for i := range before.Operations {
			known[before.Operations[i].Operation] = &before.Operations[i]
		}
	}
	var lines []string
	for i := range after.Operations {
		op := &after.Operations[i]
		old := known[op.Operation]
		switch {
		case old == nil && op.State == model.Waiting:
		case old == nil || old.State != op.State || old.Outcome != op.Outcome || old.AttemptCount != op.AttemptCount ||
			old.Message != op.Message || old.PercentComplete != op.PercentComplete:
			lines = append(lines, operationLine(op))
		}
	}
	if before != nil && before.State == after.State && before.Outcome == after.Outcome &&
		before.AttemptsCompleted == after.AttemptsCompleted && before.Fence == after.Fence && before.Message == after.Message {
		return lines
	}
	if after.State == model.Complete || before != nil && after.State == model.Waiting { // because of what the operations did
		return append(lines, agendaLine(after))
	}
	return append([]string{agendaLine(after)}, lines...)
}

func operationLine(op *model.OperationProgress) string {
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

func agendaLine(p *model.AgendaProgress) string {
	state := State(p.Status)
	if p.State == model.Complete {
		state = words(" in ", state, took(p.StartedTime, p.CompletedTime, p.CompletedTime))
	}
	return words(": ", "agenda "+p.AgendaID, words(", ", state, "insight "+output.Clean(p.AgendaInsight.InsightID), attempt(p)), news(p))
}
