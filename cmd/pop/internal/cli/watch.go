package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/cmd/pop/internal/tree"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use: "watch ID...", Short: "Follow agendas until they have ended",
		Long: `Follow agendas until they have ended: on a terminal as trees of their operations that are drawn anew as they go on, in a
pipe as a line for each change, with the time of it, and with -o json or yaml as their progress after each change.

The exit status is 0 if all have succeeded, 1 if one has failed, and otherwise 3, as one was cancelled.`,
		Example: `  pop agenda watch "$ID"
  pop agenda list --state executing -o json | jq -r '.[].id' | xargs pop agenda watch`,
		Args: takes(1, math.MaxInt),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.watch(cmd.Context(), c, args...)
		},
	}
}

// maxWatched is how many agendas are watched at a time: each takes a connection.
const maxWatched = 100

// watch follows agendas until they have ended.
func (a *app) watch(ctx context.Context, c *client.Client, ids ...string) error {
	seen := map[string]bool{}
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
	if len(ids) > maxWatched {
		return usagef("%d agendas are too many to watch at a time; the most is %d", len(ids), maxWatched)
	}
	agendas := make([]model.Agenda, len(ids))
	for i, id := range ids {
		var err error
		if agendas[i], err = c.Agenda(ctx, id); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := followAll(ctx, c, ids)
	var ended []*model.AgendaProgress
	var err error
	if screen, ok := terminal(a.Stdout); ok && a.format == output.Table {
		ended, err = a.watchOnTerminal(changes, agendas, screen)
	} else {
		ended, err = a.watchInPipe(changes, len(ids))
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	return verdict(ended)
}

// verdict returns the status to exit with after agendas were watched.
func verdict(ended []*model.AgendaProgress) error {
	cancelled := false
	for _, p := range ended {
		switch {
		case p != nil && p.Outcome == model.Cancelled:
			cancelled = true
		case p == nil || p.Outcome != model.Succeeded:
			return status(exitFailed)
		}
	}
	if cancelled {
		return status(exitCancelled)
	}
	return nil
}

// terminal returns the terminal that is written to, if it is one.
func terminal(w io.Writer) (*os.File, bool) {
	file, ok := w.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

const (
	// away is how long the server may be away while an agenda is watched.
	away = time.Minute
	// askAgain is how long to wait before it is asked again.
	askAgain = 500 * time.Millisecond
)

// follow iterates over the progress of an agenda until it has ended. The server may be restarted in the meantime.
func follow(ctx context.Context, c *client.Client, id string) iter.Seq2[model.AgendaProgress, error] {
	return func(yield func(model.AgendaProgress, error) bool) {
		var lost time.Time // when the server went away; zero if it is there
		for {
			for progress, err := range c.Watch(ctx, id) {
				if errors.Is(err, client.ErrUnreachable) && (lost.IsZero() || time.Since(lost) < away) {
					if lost.IsZero() {
						lost = time.Now()
					}
					break
				}
				lost = time.Time{}
				if !yield(progress, err) {
					return
				}
			}
			if lost.IsZero() {
				return
			}
			select {
			case <-time.After(askAgain):
			case <-ctx.Done():
				yield(model.AgendaProgress{}, ctx.Err())
				return
			}
		}
	}
}

// change is the state of one of several agendas after a change of it.
type change struct {
	agenda   int
	progress model.AgendaProgress
	err      error
}

// followAll follows agendas at the same time. The channel is closed when all have ended.
func followAll(ctx context.Context, c *client.Client, ids []string) <-chan change {
	changes := make(chan change)
	var following sync.WaitGroup
	for i, id := range ids {
		following.Go(func() {
			for progress, err := range follow(ctx, c, id) {
				select {
				case changes <- change{i, progress, err}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	go func() {
		following.Wait()
		close(changes)
	}()
	return changes
}

func (a *app) watchInPipe(changes <-chan change, n int) ([]*model.AgendaProgress, error) {
	last := make([]*model.AgendaProgress, n)
	for change := range changes {
		err := change.err
		switch {
		case err != nil:
		case a.format != output.Table:
			err = a.printer().Event(change.progress)
		default:
			err = printLines(a.Stdout, time.Now(), tree.Changes(last[change.agenda], &change.progress, n > 1))
		}
		if err != nil {
			return nil, err
		}
		last[change.agenda] = &change.progress
	}
	return last, nil
}

func printLines(w io.Writer, now time.Time, lines []tree.Line) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, clock(line.Time, now), line.Text); err != nil {
			return err
		}
	}
	return nil
}

// clock returns a time of today without its date.
func clock(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}

// redraw is how often durations are drawn anew though nothing has happened.
const redraw = 200 * time.Millisecond

func (a *app) watchOnTerminal(changes <-chan change, agendas []model.Agenda, screen *os.File) ([]*model.AgendaProgress, error) {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	drawing := drawing{w: screen}
	last := make([]*model.AgendaProgress, len(agendas))
	for {
		select {
		case change, ok := <-changes:
			if !ok {
				return last, nil
			}
			if change.err != nil {
				return nil, change.err
			}
			last[change.agenda] = &change.progress
		case <-ticker.C:
		}
		width, height, err := term.GetSize(int(screen.Fd()))
		if err != nil || width == 0 {
			width, height = 80, 24
		}
		height-- // the cursor has a line of its own
		var views []tree.View
		live := len(agendas)
		for i, p := range last {
			if p == nil {
				continue
			}
			views = append(views, tree.View{Agenda: &agendas[i], Progress: p, Now: time.Now(), Width: width, Color: a.Getenv("NO_COLOR") == ""})
			if p.State == model.Complete {
				live--
			}
		}
		if live == 0 {
			height = 0 // this one stays, so it may scroll
		}
		if len(views) == 0 {
			continue
		}
		if err := drawing.draw(tree.Frames(views, height)); err != nil {
			return nil, err
		}
	}
}

// drawing replaces what it has drawn before.
type drawing struct {
	w     io.Writer
	lines int
}

// draw writes a frame in one go, so that it does not flicker. Lines do not wrap, as that would upset the count of lines.
func (d *drawing) draw(frame []string) error {
	var b strings.Builder
	b.WriteString("\x1b[?7l")
	if d.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.lines)
	}
	for _, line := range frame {
		b.WriteString("\r\x1b[2K" + line + "\n")
	}
	b.WriteString("\x1b[J\x1b[?7h")
	d.lines = len(frame)
	_, err := io.WriteString(d.w, b.String())
	return err
}
