package tree

import (
	"fmt"
	"slices"
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

// Took returns how long an operation's last attempt took, or has taken by now; nothing if there was none.
func Took(op *model.OperationProgress, now time.Time) string {
	if op.AttemptTime.IsZero() {
		return ""
	}
	to := op.CompletedTime
	if to.IsZero() {
		to = now
	}
	return Duration(to.Sub(op.AttemptTime))
}

// busy returns for how long operations have run, each counted from its last attempt and those that ran at a time counted once: what
// an agenda has waited for, be it for a slot or for somebody to run it again, does not count. It is nothing if none has begun.
func busy(p *model.AgendaProgress, now time.Time) string {
	type span struct{ from, to time.Time }
	var spans []span
	for i := range p.Operations {
		op := &p.Operations[i]
		switch {
		case op.AttemptTime.IsZero() || op.State == model.Waiting:
		case op.State == model.Executing:
			spans = append(spans, span{op.AttemptTime, now})
		default:
			spans = append(spans, span{op.AttemptTime, op.CompletedTime})
		}
	}
	if len(spans) == 0 {
		return ""
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	var sum time.Duration
	var until time.Time
	for _, s := range spans {
		if s.from.Before(until) {
			s.from = until
		}
		if s.to.After(s.from) {
			sum += s.to.Sub(s.from)
			until = s.to
		}
	}
	return Duration(sum)
}

// NotRetried reports whether a run has failed though it had attempts left, because another would only have repeated the failure.
func NotRetried(p *model.AgendaProgress) bool {
	return p.Outcome == model.Failed && p.AttemptsCompleted < p.MaximumAttempts
}

// attempt returns which attempt a run is in; nothing is worth saying about a first one that may be the last.
func attempt(p *model.AgendaProgress) string {
	n := p.AttemptsCompleted
	if p.State != model.Complete {
		n++
	}
	if n <= 1 && p.State == model.Complete && !NotRetried(p) {
		return ""
	}
	text := fmt.Sprintf("attempt %d of %d", min(n, p.MaximumAttempts), p.MaximumAttempts)
	if NotRetried(p) {
		text += ", not retried"
	}
	return text
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
