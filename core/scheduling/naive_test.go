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
	mean              float64
	customers         map[string]*simple
	flights           map[ID]*aloft
}

type aloft struct {
	customer string
	charged  float64
	claimed  int64
}

type simple struct {
	policy          Policy
	waiting         []Item
	inFlight        int
	arrival, window int64
	used            int
	tag, sequence   int64
	estimate        float64
	active          bool
	number          int
}

func newNaive(settings Settings, now int64) *naive {
	return &naive{settings: settings, now: now, customers: map[string]*simple{}, flights: map[ID]*aloft{}}
}

func (v *naive) customer(name string) *simple {
	c := v.customers[name]
	if c == nil {
		c = &simple{policy: Policy{Weight: 1}, number: len(v.customers)}
		v.customers[name] = c
	}
	return c
}

func (v *naive) byRunTime() bool {
	return v.settings.Cost == RunTime && v.settings.Algorithm != RoundRobin
}

// cost is what the customer's next agenda is charged.
func (v *naive) cost(c *simple) float64 {
	switch {
	case !v.byRunTime() || c.estimate == 0 && v.mean == 0:
		return 1
	case c.estimate == 0:
		return v.mean
	default:
		return c.estimate
	}
}

func (v *naive) rise(c *simple, cost float64) int64 {
	weight := c.policy.Weight
	if v.settings.Algorithm == RoundRobin {
		weight = 1
	}
	return int64(math.Round(max(1, cost*(1<<28)/weight)))
}

func (v *naive) step(c *simple) int64 { return v.rise(c, v.cost(c)) }

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
	old := v.rise(c, 1)
	c.policy = p
	if r := p.Rate; r.Count > 0 {
		c.arrival = min(c.arrival, v.now+int64(max(1, r.Burst))*((int64(r.Per)+int64(r.Count)-1)/int64(r.Count)))
	}
	c.tag = v.virtual + max(int64(math.Round(float64(c.tag-v.virtual)/float64(old)*float64(v.rise(c, 1)))), -v.step(c))
	v.update(c)
}

func (v *naive) configure(s Settings) {
	if s.Algorithm != v.settings.Algorithm || s.Cost != v.settings.Cost {
		for _, c := range v.customers {
			c.tag = 0
		}
		v.virtual = 0
	}
	v.settings = s
}

func (v *naive) claim(id ID) { v.flights[id].claimed = v.now }

// land takes an agenda out of flight.
func (v *naive) land(id ID) {
	c := v.customer(v.flights[id].customer)
	delete(v.flights, id)
	c.inFlight--
	v.update(c)
}

// finish charges for how long an agenda ran.
func (v *naive) finish(id ID) {
	f := v.flights[id]
	c := v.customer(f.customer)
	if took := float64(v.now-f.claimed) / 1e9; v.byRunTime() && f.claimed != 0 {
		v.mean, c.estimate = weigh(v.mean, took), weigh(c.estimate, took)
		v.correct(c, took-f.charged)
	}
	v.land(id)
}

// weigh moves a mean by a fifth towards what was seen last.
func weigh(mean, took float64) float64 {
	if mean == 0 {
		return took
	}
	return mean + (took-mean)/5
}

// correct charges more or less than before, but never so much less that it is ahead of newcomers by more than its next agenda.
func (v *naive) correct(c *simple, cost float64) {
	if cost > 0 {
		c.tag += v.rise(c, cost)
	} else if cost < 0 {
		c.tag -= v.rise(c, -cost)
	}
	if c.active {
		c.tag = max(c.tag, v.virtual-v.step(c))
	}
	v.update(c)
}

func (v *naive) refund(id ID) {
	f := v.flights[id]
	c := v.customer(f.customer)
	if r := c.policy.Rate; r.Count > 0 {
		c.arrival -= (int64(r.Per) + int64(r.Count) - 1) / int64(r.Count)
	}
	if q := c.policy.Quota; q.Per > 0 && c.window == v.now-v.now%int64(q.Per) {
		c.used = max(0, c.used-1)
	}
	if v.byRunTime() && c.estimate == 0 {
		c.estimate = f.charged
	}
	v.correct(c, -f.charged)
	v.land(id)
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
	v.flights[best.Item.ID] = &aloft{customer: best.Customer, charged: v.cost(c)}
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
