package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// line is a [coalescer] in front of a store that takes every key once a call, and refuses what it is told to.
type line struct {
	coalescer
	refuse map[string]error // by the key that makes a call fail
	hold   chan struct{}    // calls of keys that begin with first wait for it

	mu    sync.Mutex
	calls []string // the keys of each
}

func newLine() *line {
	l := &line{hold: make(chan struct{}), refuse: map[string]error{}}
	l.send = func(_ context.Context, groups []driver.Group) ([]driver.WriteResult, error) {
		var keys []string
		var refused error
		results := make([]driver.WriteResult, len(groups))
		for i, g := range groups {
			k := g[0].Record.Key.Sort
			results[i].Versions = []driver.Version{driver.Version(k)}
			refused = errors.Join(refused, l.refuse[k])
			if slices.Contains(keys, k) {
				refused = driver.Errorf(driver.Invalid, "write", "key %q is there twice", k)
			}
			keys = append(keys, k)
		}
		l.mu.Lock()
		l.calls = append(l.calls, fmt.Sprint(keys))
		l.mu.Unlock()
		if strings.HasPrefix(keys[0], "first") {
			<-l.hold
		}
		if refused != nil {
			return nil, refused
		}
		return results, nil
	}
	return l
}

func groupOf(key string, bytes int) driver.Group {
	return driver.Group{{Record: driver.Record{Key: driver.Key{Kind: "run", Sort: key}, Body: make([]byte, bytes)}}}
}

// TestWritesThatComeTogetherAreJoined makes writes while the most that may go on do, and looks at the calls that are made of them,
// and at what each write is answered.
func TestWritesThatComeTogetherAreJoined(t *testing.T) {
	t.Parallel()
	invalid := driver.Errorf(driver.Invalid, "write", "no such kind")
	full := driver.Errorf(driver.Throttled, "write", "too much")
	gone := &driver.Error{Code: driver.Unavailable, Outcome: driver.Unknown, Message: "the process ended"}
	tests := []struct {
		name   string
		writes [][]driver.Group
		refuse map[string]error
		calls  []string // after those that go on
		errs   map[int]error
	}{
		{
			name:   "into one call, in their order",
			writes: [][]driver.Group{{groupOf("a", 1)}, {groupOf("b", 1), groupOf("c", 1)}, {groupOf("d", 1)}},
			calls:  []string{"[a b c d]"},
		},
		{
			name:   "but not two that write the same key: the later one comes later",
			writes: [][]driver.Group{{groupOf("a", 1)}, {groupOf("b", 1)}, {groupOf("a", 1)}, {groupOf("b", 1)}},
			calls:  []string{"[a b]", "[a b]"},
		},
		{
			name:   "and one that names a key twice itself fails alone",
			writes: [][]driver.Group{{groupOf("a", 1), groupOf("a", 1)}, {groupOf("b", 1)}},
			calls:  []string{"[a a b]", "[a a]", "[b]"},
			errs:   map[int]error{0: driver.Errorf(driver.Invalid, "write", `key "a" is there twice`)},
		},
		{
			name:   "up to the size of a message",
			writes: [][]driver.Group{{groupOf("a", wire.PartBytes/2)}, {groupOf("b", wire.PartBytes/3)}, {groupOf("c", wire.PartBytes/2)}},
			calls:  []string{"[a b]", "[c]"},
		},
		{
			name:   "and one that is larger goes by itself",
			writes: [][]driver.Group{{groupOf("a", 2*wire.PartBytes)}, {groupOf("b", 1)}},
			calls:  []string{"[a]", "[b]"},
		},
		{
			name:   "and sent each by itself when the call is refused, so that only the wrong one fails",
			writes: [][]driver.Group{{groupOf("a", 1)}, {groupOf("b", 1)}, {groupOf("c", 1)}},
			refuse: map[string]error{"b": invalid},
			calls:  []string{"[a b c]", "[a]", "[b]", "[c]"},
			errs:   map[int]error{1: invalid},
		},
		{
			name:   "and not sent again when the call may have been applied",
			writes: [][]driver.Group{{groupOf("a", 1)}, {groupOf("b", 1)}},
			refuse: map[string]error{"b": gone},
			calls:  []string{"[a b]"},
			errs:   map[int]error{0: gone, 1: gone},
		},
		{
			name:   "and not sent again to a store that asks for less",
			writes: [][]driver.Group{{groupOf("a", 1)}, {groupOf("b", 1)}},
			refuse: map[string]error{"b": full},
			calls:  []string{"[a b]"},
			errs:   map[int]error{0: full, 1: full},
		},
		{
			name:   "and one that was refused alone is not sent again",
			writes: [][]driver.Group{{groupOf("a", 1)}},
			refuse: map[string]error{"a": invalid},
			calls:  []string{"[a]"},
			errs:   map[int]error{0: invalid},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newLine()
				var first sync.WaitGroup
				for i := range maxSending {
					first.Go(func() {
						if _, err := l.write(t.Context(), []driver.Group{groupOf(fmt.Sprintf("first%d", i), 1)}); err != nil {
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				if len(l.calls) != maxSending {
					t.Fatalf("calls %v, want %d that do not wait", l.calls, maxSending)
				}
				l.calls, l.refuse = nil, tt.refuse
				results, errs := make([][]driver.WriteResult, len(tt.writes)), make([]error, len(tt.writes))
				var rest sync.WaitGroup
				for i, groups := range tt.writes {
					rest.Go(func() { results[i], errs[i] = l.write(t.Context(), groups) })
					synctest.Wait() // it stands in line
				}
				if len(l.calls) != 0 {
					t.Fatalf("calls %v before one that goes on has ended", l.calls)
				}
				l.hold <- struct{}{} // one of the first ends; the others keep their places, so that one call is made at a time
				rest.Wait()
				close(l.hold)
				first.Wait()
				synctest.Wait()
				if diff := cmp.Diff(tt.calls, l.calls); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				for i, groups := range tt.writes {
					if want := tt.errs[i]; want != nil {
						if errs[i] == nil || !errors.Is(errs[i], want) && errs[i].Error() != want.Error() {
							t.Errorf("write %d: %v, want %v", i, errs[i], want)
						}
						continue
					}
					var want, got []string
					for _, g := range groups {
						want = append(want, g[0].Record.Key.Sort)
					}
					for _, r := range results[i] {
						got = append(got, string(r.Versions[0]))
					}
					if errs[i] != nil || !slices.Equal(got, want) {
						t.Errorf("write %d was answered %v, %v; want %v", i, got, errs[i], want)
					}
				}
				if l.sending != 0 || len(l.waiting) != 0 {
					t.Errorf("%d places are taken and %d wait at the end", l.sending, len(l.waiting))
				}
			})
		})
	}
}

func TestWriteWhoseContextEndsInLineIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLine()
		var first sync.WaitGroup
		for i := range maxSending {
			first.Go(func() { _, _ = l.write(t.Context(), []driver.Group{groupOf(fmt.Sprintf("first%d", i), 1)}) })
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		var impatient sync.WaitGroup
		impatient.Go(func() {
			if _, err := l.write(ctx, []driver.Group{groupOf("late", 1)}); !errors.Is(err, context.Canceled) || driver.OutcomeOf(err) != driver.Unknown {
				t.Errorf("%v is %s, want the end of its context, and unknown", err, driver.OutcomeOf(err))
			}
		})
		synctest.Wait()
		cancel()
		impatient.Wait()
		close(l.hold)
		first.Wait()
		synctest.Wait()
		if l.sending != 0 || len(l.waiting) != 0 {
			t.Errorf("%d places are taken and %d wait at the end", l.sending, len(l.waiting))
		}
	})
}
