package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
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
		Use: "watch ID", Short: "Follow an agenda until it has ended",
		Long: `Follow an agenda until it has ended: on a terminal as a tree of its operations that is drawn anew as they go on, in a
pipe as a line for each change, and with -o json or yaml as its progress after each change.

The exit status is 0 if it has succeeded, 1 if it has failed, and 3 if it was cancelled.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.watch(cmd.Context(), c, args[0])
		},
	}
}

// watch follows an agenda until it has ended.
func (a *app) watch(ctx context.Context, c *client.Client, id string) error {
	agenda, err := c.Agenda(ctx, id)
	if err != nil {
		return err
	}
	var outcome model.Outcome
	if screen, ok := a.Stdout.(*os.File); ok && a.format == output.Table && term.IsTerminal(int(screen.Fd())) {
		outcome, err = a.watchOnTerminal(ctx, c, &agenda, screen)
	} else {
		outcome, err = a.watchInPipe(ctx, c, id)
	}
	switch {
	case err != nil:
		return err
	case outcome == model.Succeeded:
		return nil
	case outcome == model.Cancelled:
		return status(exitCancelled)
	}
	return status(exitFailed)
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

func (a *app) watchInPipe(ctx context.Context, c *client.Client, id string) (model.Outcome, error) {
	var before *model.AgendaProgress
	for progress, err := range follow(ctx, c, id) {
		if err != nil {
			return "", err
		}
		if a.format != output.Table {
			err = a.printer().Event(progress)
		} else {
			err = printLines(a.Stdout, time.Now(), tree.Changes(before, &progress))
		}
		if err != nil {
			return "", err
		}
		before = &progress
	}
	if before == nil {
		return "", ctx.Err()
	}
	return before.Outcome, nil
}

func printLines(w io.Writer, now time.Time, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, now.Format(time.TimeOnly), line); err != nil {
			return err
		}
	}
	return nil
}

// redraw is how often durations are drawn anew though nothing has happened.
const redraw = 200 * time.Millisecond

func (a *app) watchOnTerminal(ctx context.Context, c *client.Client, agenda *model.Agenda, screen *os.File) (model.Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := make(chan model.AgendaProgress)
	failed := make(chan error, 1)
	go func() {
		defer close(changes)
		for progress, err := range follow(ctx, c, agenda.ID) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case changes <- progress:
			case <-ctx.Done():
				return
			}
		}
	}()

	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	drawing := drawing{w: screen}
	view := tree.View{Agenda: agenda, Color: a.Getenv("NO_COLOR") == ""}
	for {
		select {
		case progress, ok := <-changes:
			if !ok {
				select {
				case err := <-failed:
					return "", err
				default:
					return view.Progress.Outcome, ctx.Err()
				}
			}
			view.Progress = &progress
		case <-ticker.C:
		}
		if view.Progress == nil {
			continue
		}
		view.Now = time.Now()
		width, height, err := term.GetSize(int(screen.Fd()))
		if err != nil || width == 0 {
			width, height = 80, 24
		}
		view.Width, view.Height = width, height-1 // the cursor has a line of its own
		if view.Progress.State == model.Complete {
			view.Height = 0 // the last one stays, so it may scroll
		}
		if err := drawing.draw(view.Frame()); err != nil {
			return "", err
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
