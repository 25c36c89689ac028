package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

// prints returns a launcher whose operations print, wait, and print again.
func prints(d time.Duration, text func(task *Task, i int) string, times int) LauncherFunc {
	return func(ctx context.Context, task *Task) (json.RawMessage, error) {
		for i := range times {
			task.Print([]byte(text(task, i)))
			if err := sleep(ctx, d); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
}

// kept returns the chunks that a reader finds on the server, by their seq.
func (s *server) kept() map[int64]model.LogAppend {
	kept := map[int64]model.LogAppend{}
	for _, c := range s.printed {
		for _, seq := range c.Drop {
			delete(kept, seq)
		}
		kept[c.Seq] = c
	}
	return kept
}

func TestWhatOperationsPrintIsSentTogetherAndInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, prints(20*time.Millisecond, func(task *Task, i int) string { return fmt.Sprintf("%s %d\n", task.Operation.Name, i) }, 100), nil)
		p.add(agenda("a1", op("a", ``), op("b", ``)))
		after(time.Minute)
		text := map[string]string{}
		last := int64(0)
		for _, c := range p.printed {
			if c.Seq != last+1 || int(c.Offset) != len(text[c.Operation]) || c.Lease != (model.Lease{AgendaID: "a1", Fence: 3}) || c.Attempt != 1 || c.SessionID != "test-1" {
				t.Fatalf("chunk after %d: %+v", last, c)
			}
			last = c.Seq
			text[c.Operation] += c.Text
		}
		for _, name := range []string{"a", "b"} {
			if !strings.HasPrefix(text[name], name+" 0\n") || !strings.HasSuffix(text[name], name+" 99\n") || strings.Count(text[name], "\n") != 100 {
				t.Errorf("of %s came %q", name, text[name])
			}
		}
		if p.logCalls > 6 { // 2 s of output
			t.Errorf("%d calls; want one every half a second", p.logCalls)
		}
	})
}

func TestAnOperationThatPrintsNothingCostsNoCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, takes(time.Second), nil)
		p.add(agenda("a1", op("a", ``)))
		after(time.Minute)
		if p.logCalls != 0 {
			t.Errorf("%d calls", p.logCalls)
		}
	})
}

func TestOfAFloodOfOutputTheEndIsKeptWithinBoundsAndTheGapsAreKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		line := strings.Repeat("x", 999) + "\n"
		p := startPool(t, prints(time.Millisecond, func(*Task, int) string { return line }, 20000), nil) // a megabyte a second
		p.add(agenda("a1", op("a", ``)))
		after(time.Minute)
		kept, size, end := p.kept(), 0, int64(0)
		for _, c := range kept {
			size += len(c.Text)
			end = max(end, c.Offset+int64(len(c.Text)))
			if len(c.Text) > model.MaxLogText || c.Offset%1000 != 0 {
				t.Errorf("chunk of %d bytes at %d", len(c.Text), c.Offset)
			}
		}
		if size > maxLogKept || size < maxLogKept/2 || end != 20000*1000 {
			t.Errorf("%d bytes are kept up to %d; want at most %d, up to the end", size, end, maxLogKept)
		}
	})
}

func TestWorkGoesOnWhateverTheServerSaysToOutput(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer error
		want   string // text that is there in the end
	}{
		"it is away":          {errors.New("no route"), "line 0\n"},
		"it is unavailable":   {model.Errorf(model.Unavailable, "starting"), "line 0\n"},
		"it is broken":        {model.Errorf(model.Internal, "oops"), "line 0\n"},
		"it knows no logs":    {model.Errorf(model.NotFound, "no such path"), ""},
		"it refuses the text": {model.Errorf(model.Invalid, "no"), ""},
		"it forbids them":     {model.Errorf(model.Forbidden, "no"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				begin := time.Now()
				p := startPool(t, prints(5*time.Second, func(_ *Task, i int) string { return fmt.Sprintf("line %d\n", i) }, 4), func(c *Config, s *server) {
					c.Log = slog.New(slog.NewTextHandler(&log, nil))
					s.appendLog = func([]model.LogAppend) error {
						if time.Since(begin) < 12*time.Second {
							return tc.answer
						}
						return nil
					}
				})
				p.add(agenda("a1", op("a", ``)))
				after(time.Minute)
				if final := p.final(t, "a1"); final.Outcome != model.Succeeded {
					t.Errorf("the agenda: %+v", final.Status)
				}
				text := ""
				for _, c := range p.printed {
					text += c.Text
				}
				if tc.want != "" && !strings.HasPrefix(text, tc.want) || !strings.HasSuffix(text, "line 3\n") {
					t.Errorf("text %q; want %q first", text, tc.want)
				}
				if n := strings.Count(log.String(), "does not keep what operations print"); n > 1 || (n == 1) != (tc.want == "") {
					t.Errorf("said %d times:\n%s", n, log.String())
				}
			})
		})
	}
}

func TestWhatWaitsToBeSentOfAllIsBoundedWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	l := newLogs(nil, slog.New(slog.DiscardHandler))
	r := newRun(t.Context(), agenda("a1"), "s")
	first := l.attempt(r, "first", 1)
	first([]byte("the oldest\n"))
	line := []byte(strings.Repeat("x", 127<<10) + "\n")
	for i := range 300 {
		printed := l.attempt(r, fmt.Sprint("op", i), 1)
		for range 4 {
			printed(line)
		}
	}
	if l.size > maxLogWaitingAll || l.size < maxLogWaitingAll/2 || len(l.waiting[0].text) != 0 {
		t.Errorf("%d bytes wait; want at most %d, without the oldest", l.size, maxLogWaitingAll)
	}
	if batch, more := l.take(); len(batch) == 0 || !more || batch[0].Offset == 0 {
		t.Errorf("%d chunks, the first at %d", len(batch), batch[0].Offset)
	}
}

func TestATextIsCutBehindALineOrElseBetweenCharacters(t *testing.T) {
	t.Parallel()
	got := map[string]int{}
	for _, text := range []string{"ab\ncd", "abcdef", "abä", "abcä", "a"} {
		got[text] = cut([]byte(text), 4)
	}
	if diff := cmp.Diff(map[string]int{"ab\ncd": 3, "abcdef": 4, "abä": 4, "abcä": 3, "a": 1}, got); diff != "" {
		t.Error(diff)
	}
	if utf8.ValidString("abcä"[:4]) {
		t.Error("the table proves nothing")
	}
}

func TestWhatWasPrintedLastIsSentBeforeThePullerEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, prints(time.Second, func(*Task, int) string { return "bye\n" }, 1), nil)
		p.add(agenda("a1", op("a", ``)))
		after(10 * time.Millisecond)
		p.stop()
		<-p.stopped
		if len(p.printed) != 1 || p.printed[0].Text != "bye\n" {
			t.Errorf("sent: %+v", p.printed)
		}
	})
}
