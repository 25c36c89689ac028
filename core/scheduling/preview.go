package scheduling

import (
	"maps"
	"slices"
)

// Change is a what-if: settings and policies that are otherwise.
type Change struct {
	Settings *Settings
	Policies map[string]Policy
}

// Preview returns the next n agendas that are served at the time if the insight is not paused and has room for them, nothing
// arrives and none in flight ends. With a change it returns what would be next after it. The state does not change.
func (s *State) Preview(now int64, n int, change Change) []Pick {
	s.advance(now)
	if change.Settings == nil && len(change.Policies) == 0 {
		return s.plan(n)
	}
	what := s.twin()
	if change.Settings != nil {
		what.Configure(s.now, *change.Settings)
	}
	for _, name := range slices.Sorted(maps.Keys(change.Policies)) {
		what.SetPolicy(s.now, name, change.Policies[name])
	}
	return what.plan(n)
}

// twin returns a copy to plan with. It shares the chunks of the lines of ready agendas, which neither planning nor a change of
// settings or policies writes to.
func (s *State) twin() *State {
	t := New(s.settings)
	t.now, t.virtual, t.sequence, t.waiting, t.mean = s.now, s.virtual, s.sequence, s.waiting, s.mean
	t.active.slots = slices.Clone(s.active.slots)
	for name, c := range s.customers {
		if c.ready.n == 0 {
			continue
		}
		twin := *c
		twin.alarm = -1
		twin.later = line{} // its time has not come
		t.customers[name] = &twin
		if twin.position >= 0 {
			t.active.slots[twin.position].value = &twin
		}
	}
	return t
}
