package scheduling

import (
	"fmt"
	"time"
)

// Reason says what an agenda waits for.
type Reason uint8

// The reasons. The first are those for which a customer is parked.
const (
	_ Reason = iota
	CustomerPaused
	CustomerCap
	QuotaUsed
	RateLimit
	InsightPaused
	InsightCap
	QueueFull
	NotBefore
	BehindOwn
	BehindOthers

	holds = RateLimit + 1
)

var reasons = [...]string{
	CustomerPaused: "CUSTOMER_PAUSED", CustomerCap: "CUSTOMER_CAP", QuotaUsed: "QUOTA", RateLimit: "RATE_LIMIT",
	InsightPaused: "INSIGHT_PAUSED", InsightCap: "INSIGHT_CAP", QueueFull: "QUEUE_FULL", NotBefore: "SCHEDULED_FOR",
	BehindOwn: "BEHIND_OWN", BehindOthers: "BEHIND_OTHERS",
}

// String returns the reason's code.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return ""
}

// Cause is a reason that holds.
type Cause struct {
	Reason    Reason
	Count     int   // how many are in flight, used, queued or ahead
	Limit     int   // of how many, where there is a limit
	Customers int   // BehindOthers: of how many customers
	Until     int64 // when it ends by itself, 0 if it does not or nobody can tell
	Remedy    string
}

// Explanation says why an agenda waits.
type Explanation struct {
	// Causes are all that hold, those first that nothing but a change or an event ends.
	Causes []Cause
	// Ahead is how many agendas go before it if none arrives. Its place is exact if nothing holds its customer up to its turn:
	// then it is the index in [State.Preview]. Of what is served while the explanation rests some may still be counted.
	Ahead int
	Exact bool
	// Low and High estimate how long it waits, from how fast agendas were served of late; 0 if that cannot be told.
	Low, High time.Duration
}

// Explain says why an agenda of a customer waits, and false if it does not wait.
func (s *State) Explain(now int64, name string, item Item) (Explanation, bool) {
	s.advance(now)
	c := s.customers[name]
	if c == nil {
		return Explanation{}, false
	}
	if _, _, found := c.later.find(item); found {
		return s.explainLater(c, item), true
	}
	if _, _, found := c.ready.find(item); !found {
		return Explanation{}, false
	}
	var e Explanation
	e.Causes = append(s.insightCauses(), s.customerCauses(c)...)
	own := c.ready.ahead(item)
	allowed, _, _ := s.allowance(c)
	others, customers, ok := s.othersAhead(c, item, own)
	if !ok {
		return s.Explain(now, name, item)
	}
	e.Ahead, e.Exact = own+others, own < allowed
	if own > 0 {
		e.Causes = append(e.Causes, Cause{
			Reason: BehindOwn, Count: own,
			Remedy: "its customer's own agendas go first; give it a higher priority, or cancel some of them",
		})
	}
	if others > 0 {
		e.Causes = append(e.Causes, Cause{Reason: BehindOthers, Count: others, Customers: customers, Remedy: s.passRemedy()})
	}
	e.Low, e.High = s.pace.estimate(e.Ahead + 1)
	e.Low, e.High = s.delay(e, e.Low), s.delay(e, e.High)
	return e, true
}

// delay lengthens an estimate to the time before which the agenda cannot be served, and gives up if nobody can tell.
func (s *State) delay(e Explanation, estimate time.Duration) time.Duration {
	if estimate == 0 {
		return 0
	}
	for _, c := range e.Causes {
		switch {
		case c.Until > 0:
			estimate = max(estimate, time.Duration(c.Until-s.now))
		case c.Reason == CustomerPaused || c.Reason == InsightPaused:
			return 0
		}
	}
	return estimate
}

// end is when a pause ends, 0 if no time ends it.
func end(paused int64) int64 {
	if paused == Forever {
		return 0
	}
	return paused
}

// passRemedy says how an agenda gets past those of other customers.
func (s *State) passRemedy() string {
	switch s.settings.Algorithm {
	case WeightedFair:
		return "each customer is served in proportion to its weight; raise the customer's weight, or add pullers"
	case RoundRobin:
		return "each customer is served in turn; add pullers, or give the customer a weight under WeightedFair"
	case Priority:
		return "agendas that were ready earlier or have a higher priority go first; give it a higher priority, or add pullers"
	default:
		return "agendas that were ready earlier go first; add pullers, or share between customers with WeightedFair"
	}
}

func (s *State) explainLater(c *customer, item Item) Explanation {
	causes := append(s.insightCauses(), s.customerCauses(c)...)
	causes = append(causes, Cause{Reason: NotBefore, Until: item.Ready, Remedy: "it becomes ready at its time; submit it without a time to have it run at once"})
	wait := time.Duration(item.Ready - s.now)
	e := Explanation{Causes: causes, Low: wait, High: wait}
	e.Low, e.High = s.delay(e, e.Low), s.delay(e, e.High)
	return e
}

func (s *State) insightCauses() []Cause {
	var causes []Cause
	if s.settings.Paused > s.now {
		causes = append(causes, Cause{Reason: InsightPaused, Until: end(s.settings.Paused), Remedy: "end the pause of the insight"})
	}
	if q := s.settings.QueueSize; q > 0 && s.queued >= q {
		causes = append(causes, Cause{Reason: QueueFull, Count: s.queued, Limit: q, Remedy: "pullers must claim what is on the queue; add pullers, or look why they do not claim"})
	}
	if most := s.settings.Cap; most > 0 && len(s.flights) >= most {
		causes = append(causes, Cause{Reason: InsightCap, Count: len(s.flights), Limit: most, Remedy: "an agenda of the insight must end; raise the insight's cap"})
	}
	return causes
}

func (s *State) customerCauses(c *customer) []Cause {
	var causes []Cause
	p := &c.policy
	if p.Paused > s.now {
		causes = append(causes, Cause{Reason: CustomerPaused, Until: end(p.Paused), Remedy: "end the pause of the customer"})
	}
	if p.Cap > 0 && c.inFlight >= p.Cap {
		causes = append(causes, Cause{Reason: CustomerCap, Count: c.inFlight, Limit: p.Cap, Remedy: "an agenda of the customer must end; raise the customer's cap"})
	}
	if left, resets := c.account.byQuota(p.Quota, s.now); left == 0 {
		used := 0
		if c.account.Window == c.account.window(p.Quota, s.now) {
			used = c.account.Used
		}
		causes = append(causes, Cause{
			Reason: QuotaUsed, Count: used, Limit: p.Quota.Limit, Until: resets,
			Remedy: fmt.Sprintf("the quota is full again at the end of its window of %v; raise the customer's quota", p.Quota.Per),
		})
	}
	if left, at := c.account.byRate(p.Rate, s.now); left == 0 {
		causes = append(causes, Cause{
			Reason: RateLimit, Limit: p.Rate.Count, Until: at,
			Remedy: fmt.Sprintf("the customer is limited to %d in %v; raise its rate, or its burst", p.Rate.Count, p.Rate.Per),
		})
	}
	return causes
}

// othersAhead returns how many agendas of how many other customers are served before the customer's agenda, which is behind own of
// its own, if nothing arrives and the customer itself is not held. It looks at each active customer once; if it returns false, it must
// be asked again.
func (s *State) othersAhead(c *customer, item Item, own int) (agendas, customers int, ok bool) {
	tag, sequence, step := c.tag, c.sequence, s.step(c)
	if c.position < 0 { // it will join behind those that are there
		tag, sequence = max(tag, s.virtual), s.sequence+1
	}
	ok = s.eachActive(func(other *customer) {
		if other == c {
			return
		}
		var n int
		if s.settings.Algorithm.fair() {
			n = servedBefore(other.tag, s.step(other), other.sequence, tag, step, sequence, own)
		} else {
			n = other.ready.ahead(item)
		}
		allowed, _, _ := s.allowance(other)
		if n = min(n, other.ready.n, allowed); n > 0 {
			agendas += n
			customers++
		}
	})
	return agendas, customers, ok
}

// servedBefore returns how often a customer of tag a is served before a customer of tag b is served for the time after n.
func servedBefore(a, stepA, sequenceA, b, stepB, sequenceB int64, n int) int {
	target := int64(maxTag)
	if int64(n) < (maxTag-b)/stepB {
		target = b + int64(n)*stepB
	}
	if a > target {
		return 0
	}
	times, rest := (target-a)/stepA, (target-a)%stepA
	if rest != 0 {
		return int(times) + 1
	}
	// After so many times both have the same tag, and who was served or activated earlier is next.
	var first bool
	switch before := int64(n); {
	case times == 0 && before == 0:
		first = sequenceA < sequenceB
	case times == 0 || before == 0:
		first = times == 0 // it is not served yet, and the other is
	case stepA != stepB:
		first = stepA > stepB // it was last served at a smaller tag
	case times != before:
		first = times < before
	default:
		first = sequenceA < sequenceB
	}
	if first {
		return int(times) + 1
	}
	return int(times)
}
