package scheduling

// flight is an agenda that was served and has not ended.
type flight struct {
	customer *customer
	charged  float64 // its cost when it was served
	since    int64   // when it was claimed; 0 if it was not
}

// SetInFlight says that an agenda of a customer is in flight, wherever it was: claimed at a time, or on the queue if that is 0. It
// tells of claims, and after a takeover of what had been served before.
func (s *State) SetInFlight(now int64, name string, policy Policy, item Item, claimed int64) {
	s.Remove(now, name, item)
	f, ok := s.flights[item.ID]
	if !ok {
		f.customer = s.customer(name, policy)
		f.customer.inFlight++
		s.queued++
		s.settle(f.customer)
	}
	if f.since == 0 && claimed != 0 {
		f.since = claimed
		s.queued--
	}
	s.flights[item.ID] = f
}

// Finish says that an agenda is in flight no more, whatever became of it, and reports whether it was. If costs are run times, the
// customer is charged the difference to what it was charged before.
func (s *State) Finish(now int64, id ID) bool {
	s.advance(now)
	f, ok := s.flights[id]
	if !ok {
		return false
	}
	if s.byRunTime() && f.since != 0 {
		took := max(0, float64(s.now-f.since)/1e9)
		s.mean = average(s.mean, took)
		f.customer.account.Estimate = average(f.customer.account.Estimate, took)
		s.charge(f.customer, took-f.charged)
	}
	s.land(id)
	return true
}

// Refund says that an agenda that was committed was not served after all: it is in flight no more, and what it was charged is
// given back.
func (s *State) Refund(now int64, id ID) bool {
	s.advance(now)
	f, ok := s.flights[id]
	if !ok {
		return false
	}
	c := f.customer
	c.account.giveBack(&c.policy, s.now)
	if s.byRunTime() && c.account.Estimate == 0 {
		c.account.Estimate = f.charged // it gets back one agenda, whatever others' will have taken by the next
	}
	s.charge(c, -f.charged)
	s.land(id)
	return true
}

// land takes an agenda out of flight.
func (s *State) land(id ID) {
	f, ok := s.flights[id]
	if !ok {
		return
	}
	delete(s.flights, id)
	if f.since == 0 {
		s.queued--
	}
	f.customer.inFlight--
	s.settle(f.customer)
}

// charge corrects what a customer was charged. What is given back gets it before newcomers with one agenda at most, so that they
// need not wait for more; also if its agendas are expected to take less from now on.
func (s *State) charge(c *customer, cost float64) {
	step, most, before := int64(0), s.step(c), c.tag
	switch {
	case cost > 0:
		step = s.stepFor(c, cost)
	case cost < 0:
		step = -s.stepFor(c, -cost)
	}
	c.tag += step
	if c.position >= 0 { // else it begins no earlier than a newcomer anyway
		c.tag = max(c.tag, s.virtual-most)
	}
	s.fairness.correct(c, c.tag-before, most)
	s.settle(c)
}

// byRunTime reports whether customers are charged for how long their agendas ran.
func (s *State) byRunTime() bool {
	return s.settings.Cost == RunTime && s.settings.Algorithm != RoundRobin
}

// average is an exponentially weighted moving average in which the last five weigh about two thirds.
func average(mean, x float64) float64 {
	if mean == 0 {
		return x
	}
	return mean + (x-mean)/5
}
