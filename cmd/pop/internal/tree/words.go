package tree

import (
	"fmt"
	"strings"
	"time"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/model"
)

// State returns a state in one word.
func State(s model.Status) string {
	if s.State == model.Complete && s.Outcome != "" {
		return string(s.Outcome)
	}
	return strings.ToLower(string(s.State))
}

// Duration returns a duration as people want to read it.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0.0s"
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// took returns how long something took, or has taken by now; nothing if it has not begun.
func took(from, to, now time.Time) string {
	if from.IsZero() {
		return ""
	}
	if to.IsZero() {
		to = now
	}
	return Duration(to.Sub(from))
}

// Took returns how long an operation's last attempt took, or has taken by now.
func Took(op *model.OperationProgress, now time.Time) string {
	return took(op.AttemptTime, op.CompletedTime, now)
}

// attempt returns which attempt a run is in; nothing is worth saying about a first one that may be the last.
func attempt(p *model.AgendaProgress) string {
	n := p.AttemptsCompleted
	if p.State != model.Complete {
		n++
	}
	if n <= 1 && p.State == model.Complete {
		return ""
	}
	return fmt.Sprintf("attempt %d of %d", min(n, p.MaximumAttempts), p.MaximumAttempts)
}

// news returns the message of a run if it says more than its state.
func news(p *model.AgendaProgress) string {
	if p.Message == "pending" || p.Message == string(p.Outcome) || p.State == model.Queued { // that one has been told before
		return ""
	}
	return output.Clean(p.Message)
}

// words joins what is not empty.
func words(separator string, parts ...string) string {
	var there []string
	for _, part := range parts {
		if part != "" {
			there = append(there, part)
		}
	}
	return strings.Join(there, separator)
}
