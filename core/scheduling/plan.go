package scheduling

import "math"

// Pick is a planned choice.
type Pick struct {
	Customer string
	Item     Item
}

// Serve takes the next agendas out of line at the time and returns them in order: at most n, and no more than the queue and the
// limits of the insight and of its customers allow. They are in flight from then on, and charged.
//
// An agenda that is in flight already was in line twice, for a stale view of the store: its twin is dropped.
func (s *State) Serve(now int64, n int) []Pick {
	s.advance(now)
	n = min(n, s.room(), s.waiting)
	if n <= 0 || s.active.len() == 0 {
		return nil
	}
	served := make([]Pick, 0, n)
	for len(served) < n && s.active.len() > 0 {
		if p, ok := s.serveNext(s.active.slots[0].value); ok {
			served = append(served, p)
		}
	}
	s.pace.serve(len(served))
	if s.virtual > maxVirtual {
		s.rebase()
	}
	return served
}

// serveNext serves the first agenda of a customer, unless it is in flight already.
func (s *State) serveNext(c *customer) (Pick, bool) {
	item := c.ready.pop()
	s.waiting--
	_, twin := s.flights[item.ID]
	if !twin {
		step, cost := s.step(c), s.cost(c)
		c.record.lag.measure(c.tag - s.virtual)
		s.virtual = max(s.virtual, c.tag)
		c.tag += step
		s.sequence++
		c.sequence = s.sequence
		c.account.use(&c.policy, s.now)
		c.inFlight++
		s.queued++
		s.flights[item.ID] = flight{customer: c, charged: cost}
		s.fairness.serve(s, c, item, cost, step)
	}
	s.settle(c)
	return Pick{c.name, item}, !twin
}

// room returns how many agendas the insight may serve.
func (s *State) room() int {
	n := unlimited
	if s.settings.Paused > s.now {
		return 0
	}
	if s.settings.QueueSize > 0 {
		n = s.settings.QueueSize - s.queued
	}
	if s.settings.Cap > 0 {
		n = min(n, s.settings.Cap-len(s.flights))
	}
	return n
}

// candidate is a customer in a plan, with what it has been served so far in that plan.
type candidate struct {
	customer *customer
	tag      int64
	served   int
	allowed  int
}

// plan returns the next n agendas to serve if there is room for them, and changes nothing.
//
// It looks at no more than 2n+1 customers, whatever waits: whoever is served next is the root of the heap, a child of one who was
// looked at, or one who was served.
func (s *State) plan(n int) []Pick {
	n = min(n, s.waiting)
	if n <= 0 || s.active.len() == 0 {
		return nil
	}
	picks := make([]Pick, 0, n)
	var next heap[candidate]
	s.consider(&next, 0)
	sequence := s.sequence
	for len(picks) < n && next.len() > 0 {
		c := &next.slots[0].value
		line, position, first := &c.customer.ready, c.customer.position, c.served == 0
		if first { // not before, as most who are looked at are not served
			allowed, _, _ := s.allowance(c.customer)
			c.tag, c.allowed = c.customer.tag, min(allowed, line.n)
		}
		picks = append(picks, Pick{c.customer.name, line.at(c.served)})
		sequence++
		c.served++
		c.tag = min(c.tag+s.step(c.customer), maxTag)
		if c.served < c.allowed {
			next.rekey(0, s.keyOf(c.tag, sequence, line.at(c.served)))
		} else {
			next.remove(0)
		}
		if first {
			s.consider(&next, 2*position+1)
			s.consider(&next, 2*position+2)
		}
	}
	return picks
}

// consider makes the customer at a place of the heap a candidate.
func (s *State) consider(next *heap[candidate], position int) {
	if position < s.active.len() {
		s.moves++
		active := &s.active.slots[position]
		next.push(active.key, candidate{customer: active.value})
	}
}

// rebase moves the tags down.
func (s *State) rebase() {
	for _, c := range s.customers {
		c.tag = max(c.tag-s.virtual, -maxStep)
	}
	s.virtual = 0
	s.rank()
}

// step is what an agenda of the customer raises its tag by.
func (s *State) step(c *customer) int64 { return s.stepFor(c, s.cost(c)) }

// cost is what an agenda of the customer is charged when it is served.
func (s *State) cost(c *customer) float64 {
	switch {
	case !s.byRunTime():
		return 1
	case c.account.Estimate > 0:
		return c.account.Estimate
	case s.mean > 0:
		return s.mean
	default:
		return 1
	}
}

// stepFor is what a cost raises the customer's tag by.
func (s *State) stepFor(c *customer, cost float64) int64 {
	weight := c.policy.Weight
	if s.settings.Algorithm == RoundRobin || weight <= 0 {
		weight = 1
	}
	return int64(math.Round(min(max(cost*tagOne/weight, 1), maxStep)))
}
