package tree

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/workflow"
)

// View is what to draw and on what.
type View struct {
	Agenda   *model.Agenda
	Progress *model.AgendaProgress
	Now      time.Time
	Width    int // columns; 0 if there is no limit
	Height   int // lines; 0 if there is no limit
	Color    bool
}

// Frame returns the lines of the tree: the agenda, and a branch for each operation. If there are more than fit, operations that
// run or have failed are kept, and the last line counts the others.
func (v View) Frame() []string {
	p := v.Progress
	lines := []string{v.head()}
	states := make([]model.Status, len(p.Operations))
	for i := range states {
		states[i] = p.Operations[i].Status
	}
	shown := all(len(states))
	if v.Height > 0 {
		shown = choose(states, v.Height-1)
	}
	hidden := len(states) - len(shown)
	nameWidth := 0
	for _, i := range shown {
		nameWidth = max(nameWidth, utf8.RuneCountInString(output.Clean(p.Operations[i].Operation)))
	}
	nameWidth = min(nameWidth, maxName)
	for n, i := range shown {
		branch := "├─ "
		if n == len(shown)-1 && hidden == 0 {
			branch = "└─ "
		}
		lines = append(lines, v.line(branch, p.Operations[i].Status, v.operation(i, nameWidth)))
	}
	if hidden > 0 {
		lines = append(lines, "└─ "+rest(states, shown))
	}
	return lines
}

// Frames returns the lines of several trees, which have the same width. If they do not fit into the height, they are agendas without
// their operations, and if there are still too many, those that run or have failed are kept. 0 is no limit.
func Frames(views []View, height int) []string {
	if len(views) == 1 {
		views[0].Height = height
		return views[0].Frame()
	}
	var lines []string
	states := make([]model.Status, len(views))
	for i, v := range views {
		v.Height = 0
		lines = append(lines, v.Frame()...)
		states[i] = v.Progress.Status
	}
	if height == 0 || len(lines) <= height {
		return lines
	}
	shown := choose(states, height)
	lines = lines[:0]
	for _, i := range shown {
		lines = append(lines, views[i].head())
	}
	if len(shown) < len(views) {
		lines = append(lines, rest(states, shown))
	}
	return lines
}

// head returns the line of the agenda.
func (v View) head() string {
	p := v.Progress
	title, id := output.Clean(p.Title), "agenda "+p.AgendaID
	if title == "" {
		title, id = id, ""
	}
	return v.line("", p.Status, words("  ", title, words(", ", State(p.Status), "insight "+output.Clean(p.AgendaInsight.InsightID), attempt(p)),
		fmt.Sprintf("%.0f%%", p.PercentComplete), busy(p, v.Now), news(p), id))
}

const (
	maxName  = 40
	barWidth = 12
)

// choose returns the indexes of those that are shown where there is room for so many lines, in their order. If that isn't all, one
// line is left free for what counts the others.
func choose(states []model.Status, room int) []int {
	chosen := all(len(states))
	if room >= len(states) {
		return chosen
	}
	interest := func(i int) int {
		switch s := &states[i]; {
		case s.Outcome == model.Failed:
			return 0
		case s.State == model.Executing:
			return 1
		case s.State != model.Complete:
			return 2
		}
		return 3
	}
	slices.SortStableFunc(chosen, func(a, b int) int { return interest(a) - interest(b) })
	chosen = chosen[:max(room-1, 0)]
	slices.Sort(chosen)
	return chosen
}

func all(n int) []int {
	indexes := make([]int, n)
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

// operation returns what there is to say of an operation, without its mark.
func (v View) operation(i, nameWidth int) string {
	op := &v.Progress.Operations[i]
	name := []rune(output.Clean(op.Operation))
	text := string(name[:min(len(name), nameWidth)]) + strings.Repeat(" ", max(nameWidth-len(name), 0))
	parts := []string{text}
	switch op.State {
	case model.Waiting:
		parts = append(parts, v.waitsFor(i))
	case model.Executing:
		parts = append(parts, bar(op.PercentComplete), Took(op, v.Now))
	default:
		parts = append(parts, Took(op, v.Now))
	}
	if op.AttemptCount > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", op.AttemptCount))
	}
	parts = append(parts, output.Clean(op.Message))
	return strings.TrimRight(words("  ", parts...), " ")
}

// waitsFor names the operations that an operation waits for.
func (v View) waitsFor(i int) string {
	if v.Agenda == nil {
		return ""
	}
	agenda := v.Agenda.WithGenerated(v.Progress.Operations)
	if i >= len(agenda.Operations) {
		return ""
	}
	if when := agenda.Operations[i].When; when == workflow.OnFailure {
		return "at the end, if it fails"
	} else if when == workflow.Always {
		return "at the end"
	}
	graph, _ := agenda.Graph()
	if graph == nil {
		return ""
	}
	var names []string
	for _, name := range graph.DependsOn(agenda.Operations[i].Name) {
		if !slices.ContainsFunc(v.Progress.Operations, func(op model.OperationProgress) bool {
			return op.Operation == name && op.Outcome == model.Succeeded
		}) {
			names = append(names, output.Clean(name))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "after " + strings.Join(names, ", ")
}

// rest counts those that are not shown.
func rest(states []model.Status, shown []int) string {
	counts := map[string]int{}
	for i, s := range states {
		if _, found := slices.BinarySearch(shown, i); !found {
			counts[State(s)]++
		}
	}
	var parts []string
	for _, state := range []string{"failed", "executing", "queued", "waiting", "cancelled", "skipped", "succeeded"} {
		if counts[state] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
		}
	}
	return "and " + strings.Join(parts, ", ")
}

func bar(percent float64) string {
	full := min(max(int(percent/100*barWidth), 0), barWidth)
	return fmt.Sprintf("%s%s %3.0f%%", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), percent)
}

// line returns a line with the mark of a state, cut to the width.
func (v View) line(branch string, s model.Status, text string) string {
	mark, color := markOf(s)
	if room := v.Width - utf8.RuneCountInString(branch) - 3; v.Width > 0 && utf8.RuneCountInString(text) > room {
		text = string([]rune(text)[:max(room-1, 0)]) + "…"
	}
	if v.Color {
		mark = "\x1b[" + color + "m" + mark + "\x1b[0m"
	}
	return branch + mark + " " + text
}

func markOf(s model.Status) (mark, color string) {
	switch {
	case s.Outcome == model.Succeeded:
		return "✔", "32"
	case s.Outcome == model.Failed:
		return "✖", "31"
	case s.Outcome == model.Cancelled:
		return "⊘", "33"
	case s.Outcome == model.Skipped:
		return "–", "2"
	case s.State == model.Executing:
		return "●", "36"
	}
	return "○", "2"
}
