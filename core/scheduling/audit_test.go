package scheduling

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// auditor watches a planner from outside: it is told what customers may do and what happens, and finds what must not. It shares
// no code with the planner, and looks at everything each time.
type auditor struct {
	settings   Settings
	now        int64
	names      []string
	customers  map[string]*audited
	inFlight   map[ID]*audited
	queued     map[ID]bool
	charged    map[ID]float64
	claimed    map[ID]int64
	pairs      [][]apart // by index of the customers
	worst      float64   // the largest lag, as part of its bound
	lag        float64   // the largest lag
	services   int
	violations []string
}

type audited struct {
	index    int
	name     string
	policy   Policy
	waiting  []Item
	inFlight int
	arrival  int64 // of the rate
	window   int64 // of the quota
	used     int
	active   bool
	ahead    int // services of others since it became active
	allowed  int // how many that may be; -1 if it is not a newcomer
	refunded bool
	// Of costs that are run times: the largest of one agenda, the largest correction, and the most in flight at one.
	cost, correction float64
	flying           int
}

// apart is how two customers have been served apart since both are active.
type apart struct{ distance, least, most float64 }

func newAuditor(settings Settings, names ...string) *auditor {
	a := &auditor{settings: settings, names: names, customers: map[string]*audited{}, inFlight: map[ID]*audited{}, queued: map[ID]bool{}, charged: map[ID]float64{}, claimed: map[ID]int64{}}
	for i, name := range names {
		a.customers[name] = &audited{index: i, name: name, policy: Policy{Weight: 1}, allowed: -1, cost: 1}
		a.pairs = append(a.pairs, make([]apart, len(names)))
	}
	return a
}

func (a *auditor) violate(format string, args ...any) {
	if len(a.violations) < 20 {
		a.violations = append(a.violations, fmt.Sprintf("service %d: ", a.services)+fmt.Sprintf(format, args...))
	}
}

func (a *auditor) weight(c *audited) float64 {
	if a.settings.Algorithm == RoundRobin {
		return 1
	}
	return c.policy.Weight
}

// room is what the insight allows.
func (a *auditor) room() int {
	n := math.MaxInt
	if a.settings.Paused > a.now {
		return 0
	}
	if a.settings.QueueSize > 0 {
		n = a.settings.QueueSize - len(a.queued)
	}
	if a.settings.Cap > 0 {
		n = min(n, a.settings.Cap-len(a.inFlight))
	}
	return n
}

// mayRun reports whether a customer may be served now.
func (a *auditor) mayRun(c *audited) bool {
	p := c.policy
	if p.Paused > a.now || p.Cap > 0 && c.inFlight >= p.Cap {
		return false
	}
	if p.Quota.Per > 0 {
		used := c.used
		if c.window != a.now/int64(p.Quota.Per)*int64(p.Quota.Per) {
			used = 0
		}
		if used >= p.Quota.Limit {
			return false
		}
	}
	if p.Rate.Count > 0 {
		interval := math.Ceil(float64(p.Rate.Per) / float64(p.Rate.Count))
		if float64(c.arrival-a.now) > interval*float64(max(p.Rate.Burst, 1)-1) {
			return false
		}
	}
	return true
}

func (a *auditor) ready(c *audited) bool {
	return slices.ContainsFunc(c.waiting, func(it Item) bool { return it.Ready <= a.now })
}

// look finds out who is active.
func (a *auditor) look() {
	for _, name := range a.names {
		c := a.customers[name]
		active := a.ready(c) && a.mayRun(c)
		if active && !c.active {
			c.ahead, c.allowed, c.refunded = 0, -1, false
			a.restart(c)
		}
		c.active = active
	}
}

// newcomer says that a customer that has just become active owes nothing, and so must not wait for more than the given number.
func (a *auditor) newcomer(c *audited, allowed int) { c.ahead, c.allowed = 0, allowed }

func (a *auditor) actives() (n int) {
	for _, c := range a.customers {
		if c.active {
			n++
		}
	}
	return n
}

func (a *auditor) restart(c *audited) {
	for i := range a.names {
		a.pairs[c.index][i], a.pairs[i][c.index] = apart{}, apart{}
	}
}

func (a *auditor) advance(now int64) {
	a.now = max(a.now, now)
	a.look()
}

func (a *auditor) submit(name string, item Item) {
	c := a.customers[name]
	c.waiting = append(c.waiting, item)
	a.look()
}

func (a *auditor) cancel(name string, item Item) {
	c := a.customers[name]
	c.waiting = slices.DeleteFunc(c.waiting, func(it Item) bool { return it == item })
	a.look()
}

func (a *auditor) setPolicy(name string, p Policy) {
	c := a.customers[name]
	if p.Weight != c.policy.Weight {
		a.restart(c)
	}
	if p.Rate.Count > 0 && p != c.policy {
		interval := int64(math.Ceil(float64(p.Rate.Per) / float64(p.Rate.Count)))
		c.arrival = min(c.arrival, a.now+int64(max(p.Rate.Burst, 1))*interval)
	}
	c.policy = p
	a.look()
}

func (a *auditor) configure(s Settings) {
	if s.Algorithm != a.settings.Algorithm || s.Cost != a.settings.Cost {
		for _, c := range a.customers {
			a.restart(c)
			c.allowed = -1
			c.correction, c.flying, c.refunded = 0, 0, false
		}
	}
	a.settings = s
	a.look()
}

// serve checks a service, and what is charged for it.
func (a *auditor) serve(p Pick, charged float64) {
	a.services++
	c := a.customers[p.Customer]
	if a.room() <= 0 {
		a.violate("%s is served beyond what the insight allows", c.name)
	}
	at := slices.Index(c.waiting, p.Item)
	if at < 0 {
		a.violate("%s is served an agenda that does not wait", c.name)
		return
	}
	if p.Item.Ready > a.now {
		a.violate("%s is served an agenda before its time", c.name)
	}
	if !a.mayRun(c) {
		a.violate("%s is served though it may not be: %+v, %d in flight, %d used", c.name, c.policy, c.inFlight, c.used)
	}
	for _, other := range c.waiting {
		if other.Ready <= a.now && a.goesBefore(other, p.Item) {
			a.violate("%s is served an agenda before one that comes first", c.name)
			break
		}
	}
	c.waiting = slices.Delete(c.waiting, at, at+1)
	c.inFlight++
	a.inFlight[p.Item.ID] = c
	a.queued[p.Item.ID] = true
	a.charged[p.Item.ID] = charged
	c.cost = max(c.cost, charged)
	if charged != 1 && !a.byRunTime() {
		a.violate("%s is charged %v for an agenda", c.name, charged)
	}
	if q := c.policy.Quota; q.Per > 0 {
		if window := a.now / int64(q.Per) * int64(q.Per); window != c.window {
			c.window, c.used = window, 0
		}
		c.used++
	}
	if r := c.policy.Rate; r.Count > 0 {
		c.arrival = max(c.arrival, a.now) + int64(math.Ceil(float64(r.Per)/float64(r.Count)))
	}
	if a.settings.Algorithm.fair() {
		a.measure(c, charged)
	} else {
		a.order(c, p.Item)
	}
	c.allowed = -1
	a.look()
}

func (a *auditor) goesBefore(x, y Item) bool {
	aging := int64(a.settings.Aging)
	if a.settings.Algorithm == FirstInFirstOut {
		aging = 0
	}
	return x.Ready-int64(x.Priority)*aging < y.Ready-int64(y.Priority)*aging
}

// measure checks the lag between those who are active, and what newcomers wait for, after a customer was served and charged.
func (a *auditor) measure(c *audited, charged float64) {
	for _, name := range a.names {
		other := a.customers[name]
		if other == c || !other.active {
			continue
		}
		if other.ahead++; other.allowed >= 0 && other.ahead > other.allowed {
			a.violate("%s waits for %d agendas of others, at most %d are allowed", name, other.ahead, other.allowed)
			other.allowed = -1
		}
	}
	a.charge(c, charged)
}

// charge moves a customer away from all others that are active, if it is itself.
func (a *auditor) charge(c *audited, cost float64) {
	for _, name := range a.names {
		other := a.customers[name]
		if other == c || !other.active || !c.active {
			continue
		}
		first, second, sign := c, other, 1.0
		if c.index > other.index {
			first, second, sign = other, c, -1
		}
		p := &a.pairs[first.index][second.index]
		p.distance += sign * cost / a.weight(c)
		p.least, p.most = min(p.least, p.distance), max(p.most, p.distance)
		bound := a.bound(c) + a.bound(other)
		a.lag, a.worst = max(a.lag, p.most-p.least), max(a.worst, (p.most-p.least)/bound)
		if p.most-p.least > bound+1e-4 {
			a.violate("%s and %s were served %.3f apart, at most %.3f is allowed", first.name, second.name, p.most-p.least, bound)
		}
	}
}

// bound is a customer's part of the bound. One that got something back may be ahead by as much.
func (a *auditor) bound(c *audited) float64 {
	cost := 1.0
	if a.byRunTime() {
		cost = c.cost
	}
	bound := cost + float64(c.flying)*c.correction
	if c.refunded {
		bound += cost
	}
	return bound / a.weight(c)
}

func (a *auditor) byRunTime() bool {
	return a.settings.Cost == RunTime && a.settings.Algorithm != RoundRobin
}

// order checks that nobody who may be served has an agenda that comes first.
func (a *auditor) order(c *audited, item Item) {
	for _, name := range a.names {
		other := a.customers[name]
		if other == c || !other.active {
			continue
		}
		for _, it := range other.waiting {
			if it.Ready <= a.now && a.goesBefore(it, item) {
				a.violate("%s is served before %s, whose agenda comes first", c.name, name)
				return
			}
		}
	}
}

// passed checks a pass that wanted n agendas and got some.
func (a *auditor) passed(n, got int, roomBefore int) {
	if got >= min(n, roomBefore) {
		return
	}
	for _, name := range a.names {
		if a.customers[name].active {
			a.violate("a pass stopped at %d of %d though %s may be served", got, min(n, roomBefore), name)
		}
	}
}

func (a *auditor) claim(id ID) {
	delete(a.queued, id)
	a.claimed[id] = a.now
}

// corrected says that an agenda has ended, what its customer was charged on top of what it was when it was served, and whether that has
// moved it ahead of newcomers. Nobody pays less than its agendas ran, and who is ahead of newcomers is so by one agenda.
func (a *auditor) corrected(id ID, correction float64, ahead bool) {
	c := a.inFlight[id]
	if claimed, ran := a.claimed[id]; ran && a.byRunTime() {
		took := float64(a.now-claimed) / 1e9
		c.cost = max(c.cost, took)
		if missing := took - a.charged[id]; missing > 0 {
			c.correction, c.flying = max(c.correction, missing), max(c.flying, c.inFlight)
		}
		if paid := a.charged[id] + correction; c.active && paid < took-1e-6 {
			a.violate("%s has paid %v for an agenda that ran %v", c.name, paid, took)
		}
	}
	c.refunded = c.refunded || correction < 0
	if ahead {
		a.expectMore()
	}
	if correction > 0 {
		c.allowed = -1 // it is no newcomer that owes nothing
	}
	if a.settings.Algorithm.fair() {
		a.charge(c, correction)
	}
	a.finish(id)
}

// expectMore lets newcomers wait for one more agenda.
func (a *auditor) expectMore() {
	for _, other := range a.customers {
		if other.allowed >= 0 {
			other.allowed++
		}
	}
}

func (a *auditor) finish(id ID) {
	if c := a.inFlight[id]; c != nil {
		c.inFlight--
		delete(a.inFlight, id)
		delete(a.queued, id)
		delete(a.charged, id)
		delete(a.claimed, id)
		a.look()
	}
}

// refund says that an agenda was not served after all. What was measured of its customer begins anew.
func (a *auditor) refund(id ID) {
	c := a.inFlight[id]
	if r := c.policy.Rate; r.Count > 0 {
		c.arrival -= int64(math.Ceil(float64(r.Per) / float64(r.Count)))
	}
	if q := c.policy.Quota; q.Per > 0 && c.window == a.now/int64(q.Per)*int64(q.Per) {
		c.used = max(0, c.used-1)
	}
	c.refunded = true
	a.expectMore()
	a.finish(id)
	a.restart(c)
}

const second = int64(time.Second)
