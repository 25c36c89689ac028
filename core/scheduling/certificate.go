package scheduling

import (
	"math"
	"slices"
	"time"
)

// Certificate says how fair an insight is, as measured on what it really served.
type Certificate struct {
	Settings Settings
	// Since is when the measurement of lags and of Jain's index began: with the state, or with the last change of algorithm.
	Since int64
	// Lag is the largest that two customers that were active can have been served apart over any time, each over its weight, and
	// Bound what the algorithm allows those two: (c1 + m1×e1)/w1 + (c2 + m2×e2)/w2, where c is the largest charge for an agenda, twice
	// that of a customer that was given something back, e the largest later correction of a charge and m the most agendas in flight.
	// The bound is 0 if the algorithm promises none.
	Lag, Bound float64
	// Holds reports whether every customer is within its bound.
	Holds bool
	// Newcomer is how many agendas at most are served before the first of a customer that comes now and owes nothing, and Queue
	// how many at most lie on the queue before it. It is -1 if the algorithm promises nothing.
	Newcomer, Queue int
	// Jain is Jain's index of the services over weights of those customers that were active all through the last window.
	Jain float64
	// JainServices and JainCustomers tell how much the window holds. No customers means that there was no contention.
	JainServices  int64
	JainCustomers int
	// VirtualTime is where newcomers begin, as cost over weight.
	VirtualTime float64
	// Customers is how many have agendas that wait, Active how many of them may be served now, Parked how many may not.
	Customers, Active, Parked int
	Waiting, Queued, InFlight int
	Served                    int64
	Cost                      float64
	// Top are the customers that have most waiting and in flight, and Other what is left together.
	Top   []Service
	Other Service
}

// Service is how a customer is served.
type Service struct {
	Name   string
	Policy Policy
	Served int64
	// Cost is what it was charged when it was served.
	Cost float64
	// Ready wait for their turn, Later for their time.
	Ready, Later, InFlight int
	// Held is why the customer is parked, 0 if it is not, and Until when that ends by itself.
	Held  Reason
	Until int64
	// Parked is how long it was, by reason.
	Parked map[Reason]time.Duration
	// P50 and P99 are of the times that its last few thousand agendas waited though they were ready.
	P50, P99 time.Duration
	// Oldest is when the agenda became ready that is next.
	Oldest int64
	// Lag and Bound are the customer's parts of those of a [Certificate].
	Lag, Bound float64
}

// Certificate measures the state. It lists the busiest customers up to a number. What happens while it rests is counted in part.
func (s *State) Certificate(now int64, top int) Certificate {
	s.advance(now)
	ranked, i := s.ranked, 0
	f := &s.fairness
	cert := Certificate{
		Settings: s.settings, Since: f.since, Newcomer: -1, Queue: s.settings.QueueSize, Jain: 1, VirtualTime: units(s.virtual),
		Active: s.active.len(), Waiting: s.waiting, Queued: s.queued, InFlight: len(s.flights), Served: f.served, Cost: f.cost,
		Holds: true, Other: Service{Served: f.others},
	}
	if s.settings.Algorithm.fair() {
		cert.Newcomer = cert.Active
	}
	w := f.complete
	if w.customers == 0 {
		w = f.current
	}
	if w.customers >= 2 {
		cert.Jain, cert.JainCustomers, cert.JainServices = w.index(), w.customers, min(w.ends, s.sequence)-w.start
	}
	worst := f.worst
	var busiest heap[*customer] // the least busy of them first
	for _, c := range s.customers {
		if s.walk(i, ranked) {
			return s.Certificate(now, top)
		}
		i++
		if c.position >= 0 {
			c.record.lag.measure(c.tag - s.virtual)
		}
		if c.waiting() > 0 {
			cert.Customers++
		}
		if c.held != 0 {
			cert.Parked++
		}
		seen := extreme{c.record.lag.seen(), c.record.lag.bound()}
		cert.Holds = cert.Holds && seen.within()
		keepWorst(&worst, seen)
		busiest.push(key{int64(c.waiting() + c.inFlight), uint64(c.record.served), c.number}, c)
		if busiest.len() > top {
			cert.Other.include(busiest.slots[0].value)
			busiest.remove(0)
		}
	}
	cert.Holds = cert.Holds && f.worst[0].within() && f.worst[1].within()
	if worst[1].bound > 0 { // there are two
		cert.Lag, cert.Bound = units(worst[0].seen+worst[1].seen), units(worst[0].bound+worst[1].bound)
	}
	if !s.settings.Algorithm.fair() {
		cert.Bound, cert.Holds = 0, true
	}
	for busiest.len() > 0 {
		cert.Top = append(cert.Top, s.service(busiest.slots[0].value))
		busiest.remove(0)
	}
	slices.Reverse(cert.Top)
	return cert
}

// Service returns how a customer is served, and false if nothing is known of it.
func (s *State) Service(now int64, name string) (Service, bool) {
	s.advance(now)
	c := s.customers[name]
	if c == nil {
		return Service{}, false
	}
	return s.service(c), true
}

// Held returns why a customer is parked; 0 if it is not.
func (s *State) Held(name string) Reason {
	if c := s.customers[name]; c != nil {
		return c.held
	}
	return 0
}

func (s *State) service(c *customer) Service {
	v := Service{Name: c.name, Policy: c.policy, P50: c.record.dwell.quantile(0.5), P99: c.record.dwell.quantile(0.99)}
	v.include(c)
	v.Held = c.held
	if c.held != 0 {
		_, _, v.Until = s.allowance(c)
	}
	if c.ready.n > 0 {
		v.Oldest = c.ready.first().Ready
	}
	v.Parked = map[Reason]time.Duration{}
	for reason, t := range c.record.parked {
		if Reason(reason) == c.held && c.held != 0 {
			t += s.now - c.heldAt
		}
		if t > 0 {
			v.Parked[Reason(reason)] = time.Duration(t)
		}
	}
	v.Lag, v.Bound = units(c.record.lag.seen()), units(c.record.lag.bound())
	return v
}

// include adds what can be added of a customer.
func (v *Service) include(c *customer) {
	v.Served += c.record.served
	v.Cost += c.record.cost
	v.Ready += c.ready.n
	v.Later += c.later.n
	v.InFlight += c.inFlight
}

// units is a distance of tags as cost over weight, to a millionth.
func units(tags int64) float64 { return math.Round(float64(tags)/tagOne*1e6) / 1e6 }
