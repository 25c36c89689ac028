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
// arrives and none in flight ends. With a change it returns what would be next after it. The state does not change. With a change it may
// rest; then each customer counts as it was when it was looked at.
func (s *State) Preview(now int64, n int, change Change) []Pick {
	s.advance(now)
	if n <= 0 || change.Settings == nil && len(change.Policies) == 0 {
		return s.plan(n)
	}
	what, ok := s.sketch(n, change)
	if !ok {
		return s.Preview(now, n, change)
	}
	return what.plan(n)
}

// sketch returns a state to plan the next n agendas with after a change, and false if it must be asked again. It holds the n customers
// that are first after the change, as a plan serves no others, those whose policy changes, and the first n agendas of each.
func (s *State) sketch(n int, change Change) (*State, bool) {
	settings := s.settings
	if change.Settings != nil {
		settings = *change.Settings
	}
	what := New(settings)
	what.now, what.virtual, what.sequence, what.mean = s.now, s.virtual, s.sequence, s.mean
	anew := settings.Algorithm != s.settings.Algorithm || settings.Cost != s.settings.Cost // as in Configure
	if anew {
		what.virtual = 0
	}
	var first heap[*customer] // the last of them first
	ok := s.eachActive(func(c *customer) {
		if _, changed := change.Policies[c.name]; changed {
			return
		}
		head, tag := c.ready.first(), c.tag
		if !settings.Algorithm.fair() && settings.aging() != c.ready.aging {
			best := c.ready.best(1, settings.aging())
			head = best.first()
		}
		if anew {
			tag = 0
		}
		k := what.keyOf(tag, c.sequence, head).reversed()
		if first.len() == n {
			if !first.slots[0].key.before(k) {
				return
			}
			first.remove(0)
		}
		first.push(k, what.twin(c, tag, n))
	})
	if !ok {
		return nil, false
	}
	include := func(t *customer, active bool) {
		what.customers[t.name] = t
		what.waiting += t.ready.n
		if active {
			what.active.push(what.keyOf(t.tag, t.sequence, t.ready.first()), t)
		}
	}
	for _, slot := range first.slots {
		include(slot.value, true)
	}
	for _, name := range slices.Sorted(maps.Keys(change.Policies)) {
		if c := s.customers[name]; c != nil && c.ready.n > 0 {
			tag := c.tag
			if anew {
				tag = 0
			}
			include(what.twin(c, tag, n), c.position >= 0)
			what.SetPolicy(s.now, name, change.Policies[name])
		}
	}
	return what, true
}

// reversed is the key that is before another's reverse if this one is after it.
func (k key) reversed() key { return key{^k.rank, ^k.hi, ^k.lo} }

// twin returns a customer of another state as one to plan the next n agendas with.
func (s *State) twin(c *customer, tag int64, n int) *customer {
	t := *c
	t.position, t.alarm, t.tag = -1, -1, tag
	t.ready, t.later = c.ready.best(n, s.settings.aging()), line{} // the time of what is later has not come
	return &t
}

// best returns the first n agendas of a line as they are if a step of priority is worth aging.
func (l *line) best(n int, aging int64) line {
	n = min(n, l.n)
	best := make([]Item, 0, n)
	if aging == l.aging {
		for i := 0; len(best) < n; i++ {
			best = append(best, l.chunks[i][:min(len(l.chunks[i]), n-len(best))]...)
		}
	} else {
		var kept heap[Item] // the last of them first
		for _, chunk := range l.chunks {
			for _, it := range chunk {
				k := it.key(aging).reversed()
				if kept.len() == n {
					if !kept.slots[0].key.before(k) {
						continue
					}
					kept.remove(0)
				}
				kept.push(k, it)
			}
		}
		for _, slot := range kept.slots {
			best = append(best, slot.value)
		}
	}
	first := line{aging: aging}
	first.merge(best)
	return first
}
