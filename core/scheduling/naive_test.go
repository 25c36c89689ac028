package scheduling

import (
	"bytes"
	"math"
	"slices"
)

// naive is the reference: a planner that looks at all agendas of all customers for each service.
type naive struct {
	settings          Settings
	now               int64
	virtual, sequence int64
	customers         map[string]*simple
	flights           map[ID]string
}

type simple struct {
	policy          Policy
	waiting         []Item
	inFlight        int
	arrival, window int64
	used            int
	tag, sequence   int64
	active          bool
	number          int
}

func newNaive(settings Settings, now int64) *naive {
	return &naive{settings: settings, now: now, customers: map[string]*simple{}, flights: map[ID]string{}}
}

func (v *naive) customer(name string) *simple {
	c := v.customers[name]
	if c == nil {
		c = &simple{policy: Policy{Weight: 1}, number: len(v.customers)}
		v.customers[name] = c
	}
	return c
}

func (v *naive) step(c *simple) int64 {
	if v.settings.Algorithm == RoundRobin {
		return 1 << 28
	}
	return int64(math.Round((1 << 28) / c.policy.Weight))
}

func (v *naive) mayRun(c *simple, now int64) bool {
	p := c.policy
	interval := int64(0)
	if p.Rate.Count > 0 {
		interval = (int64(p.Rate.Per) + int64(p.Rate.Count) - 1) / int64(p.Rate.Count)
	}
	return p.Paused <= now && (p.Cap == 0 || c.inFlight < p.Cap) &&
		(p.Quota.Per == 0 || c.window != now-now%int64(p.Quota.Per) && p.Quota.Limit > 0 || c.window == now-now%int64(p.Quota.Per) && c.used < p.Quota.Limit) &&
		(p.Rate.Count == 0 || max(c.arrival, now)-int64(max(1, p.Rate.Burst)-1)*interval <= now)
}

func (v *naive) ready(c *simple, now int64) bool {
	return slices.ContainsFunc(c.waiting, func(it Item) bool { return it.Ready <= now })
}

func (v *naive) update(c *simple) {
	active := v.ready(c, v.now) && v.mayRun(c, v.now)
	if active && !c.active {
		v.sequence++
		c.sequence, c.tag = v.sequence, max(c.tag, v.virtual)
	}
	c.active = active
}

// advance activates customers in the order in which time lets them, one at a time.
func (v *naive) advance(now int64) {
	for {
		var next *simple
		at := now + 1
		for _, c := range v.customers {
			if c.active {
				continue
			}
			times := []int64{c.policy.Paused}
			for _, it := range c.waiting {
				times = append(times, it.Ready)
			}
			if r := c.policy.Rate; r.Count > 0 {
				times = append(times, c.arrival-int64(max(1, r.Burst)-1)*((int64(r.Per)+int64(r.Count)-1)/int64(r.Count)))
			}
			if q := c.policy.Quota; q.Per > 0 {
				times = append(times, v.now-v.now%int64(q.Per)+int64(q.Per), now-now%int64(q.Per))
			}
			for _, t := range times {
				if t > v.now && t <= now && v.ready(c, t) && v.mayRun(c, t) && (t < at || t == at && c.number < next.number) {
					next, at = c, t
				}
			}
		}
		if next == nil {
			v.now = max(v.now, now)
			return
		}
		v.now, now = at, max(now, at)
		v.update(next)
		// Others may be due at the same moment.
		for {
			next = nil
			for _, c := range v.customers {
				if !c.active && v.ready(c, at) && v.mayRun(c, at) && (next == nil || c.number < next.number) {
					next = c
				}
			}
			if next == nil {
				break
			}
			v.update(next)
		}
	}
}

func (v *naive) add(name string, p Policy, it Item) {
	c := v.customer(name)
	c.policy = p
	c.waiting = append(c.waiting, it)
	v.update(c)
}

func (v *naive) remove(name string, it Item) {
	c := v.customer(name)
	c.waiting = slices.DeleteFunc(c.waiting, func(other Item) bool { return other == it })
	v.update(c)
}

func (v *naive) setPolicy(name string, p Policy) {
	c := v.customers[name]
	if c == nil {
		return
	}
	if p == c.policy {
		return
	}
	old := v.step(c)
	c.policy = p
	if r := p.Rate; r.Count > 0 {
		c.arrival = min(c.arrival, v.now+int64(max(1, r.Burst))*((int64(r.Per)+int64(r.Count)-1)/int64(r.Count)))
	}
	c.tag = v.virtual + int64(math.Round(float64(c.tag-v.virtual)/float64(old)*float64(v.step(c))))
	v.update(c)
}

func (v *naive) configure(s Settings) {
	if s.Algorithm != v.settings.Algorithm {
		for _, c := range v.customers {
			c.tag = 0
		}
		v.virtual = 0
	}
	v.settings = s
}

func (v *naive) finish(id ID) {
	c := v.customer(v.flights[id])
	delete(v.flights, id)
	c.inFlight--
	v.update(c)
}

func (v *naive) refund(id ID) {
	c := v.customer(v.flights[id])
	if r := c.policy.Rate; r.Count > 0 {
		c.arrival -= (int64(r.Per) + int64(r.Count) - 1) / int64(r.Count)
	}
	if q := c.policy.Quota; q.Per > 0 && c.window == v.now-v.now%int64(q.Per) {
		c.used = max(0, c.used-1)
	}
	if floor := v.virtual - v.step(c); c.tag > floor {
		c.tag = max(c.tag-v.step(c), floor)
	}
	v.update(c)
	v.finish(id)
}

// serve takes the next agenda, if there is one.
func (v *naive) serve() (Pick, bool) {
	var best Pick
	var rank, sequence int64
	aging := int64(v.settings.Aging)
	if v.settings.Algorithm == FirstInFirstOut {
		aging = 0
	}
	score := func(it Item) int64 { return it.Ready - int64(it.Priority)*aging }
	for name, c := range v.customers {
		if !c.active {
			continue
		}
		for _, it := range c.waiting {
			if it.Ready > v.now {
				continue
			}
			r, s := c.tag, c.sequence
			if v.settings.Algorithm == Priority || v.settings.Algorithm == FirstInFirstOut {
				r, s = score(it), 0
			}
			inside := score(it) < score(best.Item) || score(it) == score(best.Item) && bytes.Compare(it.ID[:], best.Item.ID[:]) < 0
			if best.Customer == "" || r < rank || r == rank && s < sequence || r == rank && s == sequence && inside {
				best, rank, sequence = Pick{name, it}, r, s
			}
		}
	}
	if best.Customer == "" {
		return best, false
	}
	c := v.customers[best.Customer]
	c.waiting = slices.DeleteFunc(c.waiting, func(it Item) bool { return it == best.Item })
	v.virtual = max(v.virtual, c.tag)
	c.tag += v.step(c)
	v.sequence++
	c.sequence = v.sequence
	if r := c.policy.Rate; r.Count > 0 {
		c.arrival = max(c.arrival, v.now) + (int64(r.Per)+int64(r.Count)-1)/int64(r.Count)
	}
	if q := c.policy.Quota; q.Per > 0 {
		if window := v.now - v.now%int64(q.Per); window != c.window {
			c.window, c.used = window, 0
		}
		c.used++
	}
	c.inFlight++
	v.flights[best.Item.ID] = best.Customer
	v.update(c)
	return best, true
}

// check serves as many as were picked and compares.
func (v *naive) check(a *auditor, picks []Pick) {
	for i, pick := range picks {
		if want, ok := v.serve(); !ok || want != pick {
			a.violate("pick %d of %d is %v, a full scan takes %v", i, len(picks), pick, want)
			return
		}
	}
}
