package scheduling

import (
	"math"
	"time"
)

// record is what a customer's service is measured by.
type record struct {
	served    int64
	cost      float64
	parked    [holds]int64 // nanoseconds, by reason
	dwell     dwell
	lag       lag
	activated int64   // the sequence at which it last became active
	share     float64 // served in the current window, over its weight
}

// lag is how far a customer was from the fair course while it was active, in tags.
//
// Let V be the state's virtual time. Between two customers that are active all the time from one moment to another, what one was
// served more than the other over that time, each over its weight, is the change of the difference of their tags. Each of these
// tags was within [V-behind, V+ahead] of its customer, so that the lag is at most the sum of both customers' ahead and behind.
type lag struct {
	ahead, behind int64
	step          int64 // the largest charge for one agenda
	correction    int64 // the largest charge for one agenda after it was served
	inFlight      int64 // the most in flight when there was a correction
	refunded      bool
}

// charged notes that an agenda may be charged by step.
func (l *lag) charged(step int64) { l.step = max(l.step, step) }

// weighed notes that what the customer owes counts for so many times as much from now on, as its weight has changed.
func (l *lag) weighed(ratio float64) {
	if ratio > 1 {
		l.step = int64(min(math.Ceil(float64(l.step)*ratio), maxStep))
		l.correction = int64(min(math.Ceil(float64(l.correction)*ratio), maxStep))
	}
}

// measure notes that an active customer's tag is so far from the virtual time.
func (l *lag) measure(distance int64) {
	l.ahead, l.behind = max(l.ahead, distance), max(l.behind, -distance)
}

// seen is the customer's part of the largest lag that it can have had.
func (l *lag) seen() int64 { return l.ahead + l.behind }

// bound is the customer's part of the largest lag that it may have.
func (l *lag) bound() int64 {
	bound := l.step + min(l.correction, maxStep)*min(l.inFlight, maxVirtual/maxStep)
	if l.refunded {
		bound += l.step
	}
	return bound
}

// window measures Jain's index over services, among the customers that are active from its start on.
type window struct {
	start        int64 // sequence
	ends         int64 // sequence
	customers    int
	sum, squares float64
}

func (w *window) has(c *customer) bool { return c.record.activated <= w.start }

func (w *window) add(c *customer, x float64) {
	w.sum += x
	w.squares += x * (2*c.record.share + x)
	c.record.share += x
}

// index is Jain's: 1 if all got the same for their weight, 1/n if one of n got all.
func (w *window) index() float64 {
	if w.customers < 2 || w.squares <= 0 {
		return 1
	}
	return min(1, w.sum*w.sum/(float64(w.customers)*w.squares))
}

// fairness measures how fair a state is.
type fairness struct {
	since    int64
	served   int64
	cost     float64
	current  window
	complete window
	worst    [2]extreme // of the customers that are forgotten, those with the largest lags
	others   int64      // agendas served of customers that are forgotten
}

// extreme is the part of a customer in a lag, and in the bound.
type extreme struct{ seen, bound int64 }

// within reports whether the bound is kept, but for rounding when weights change.
func (e extreme) within() bool { return e.seen <= e.bound+e.bound>>10 }

// restart begins to measure anew.
func (f *fairness) restart(now int64) {
	*f = fairness{since: now, served: f.served, cost: f.cost, others: f.others}
}

// windowRounds is how many agendas a window gives each customer on average.
const windowRounds = 100

// serve notes that a customer was served. Its tag and the virtual time are those after it.
func (f *fairness) serve(s *State, c *customer, item Item, cost float64, step int64) {
	f.served++
	f.cost += cost
	r := &c.record
	r.served++
	r.cost += cost
	r.dwell.add(time.Duration(s.now - item.Ready))
	r.lag.charged(step)
	w := &f.current
	if s.sequence >= w.ends || w.customers < 2 {
		f.turn(s)
	}
	if w.has(c) && c.position >= 0 {
		w.add(c, float64(step)/tagOne)
	}
}

// turn begins a new window.
func (f *fairness) turn(s *State) {
	if f.current.customers >= 2 {
		f.complete = f.current
	}
	n := s.active.len()
	if n < 2 {
		f.current = window{}
		return
	}
	f.current = window{start: s.sequence, ends: s.sequence + windowRounds*int64(max(n, 10)), customers: n}
	for _, slot := range s.active.slots {
		slot.value.record.share = 0
	}
}

// leave notes that a customer is active no more.
func (f *fairness) leave(s *State, c *customer) {
	c.record.lag.measure(c.tag - s.virtual)
	if w := &f.current; w.customers > 0 && w.has(c) {
		w.customers--
		w.sum -= c.record.share
		w.squares -= c.record.share * c.record.share
	}
}

// correct notes that a customer's tag was changed by a step after the service, and that it can be behind by most.
func (f *fairness) correct(c *customer, step, most int64) {
	l := &c.record.lag
	if step < 0 {
		l.refunded = true
		l.charged(most)
	} else if step > 0 {
		l.correction = max(l.correction, step)
		l.inFlight = max(l.inFlight, int64(c.inFlight))
	}
	if c.position >= 0 && f.current.has(c) {
		f.current.add(c, float64(step)/tagOne)
	}
}

// forget keeps what a customer leaves behind.
func (f *fairness) forget(c *customer) {
	f.others += c.record.served
	keepWorst(&f.worst, extreme{c.record.lag.seen(), c.record.lag.bound()})
}

// keepWorst keeps the two customers with the largest lags, those with the larger bounds first where lags are equal.
func keepWorst(worst *[2]extreme, one extreme) {
	for i, w := range worst {
		if one.seen > w.seen || one.seen == w.seen && one.bound > w.bound {
			worst[i], one = one, w
		}
	}
}

// dwell is a histogram of the times that agendas waited though they were ready, of a customer's last few thousand. Its buckets
// grow by half octaves from a tenth of a millisecond to five days.
type dwell struct {
	buckets [64]uint16
	total   uint16
}

const (
	dwellUnit = 100 * time.Microsecond
	dwellMost = 8192
)

func (d *dwell) add(waited time.Duration) {
	at := 0
	if waited > dwellUnit {
		at = min(1+int(2*math.Log2(float64(waited)/float64(dwellUnit))), len(d.buckets)-1)
	}
	d.buckets[at]++
	if d.total++; d.total == dwellMost {
		d.total = 0
		for i := range d.buckets {
			d.buckets[i] /= 2
			d.total += d.buckets[i]
		}
	}
}

// quantile returns the time within which the given part of the agendas was served, to within a bucket: two fifths at most.
func (d *dwell) quantile(q float64) time.Duration {
	rank := q * float64(d.total)
	for i, n := range d.buckets {
		if rank <= float64(n) && n > 0 {
			low := 0.0
			if i > 0 {
				low = edge(i - 1)
			}
			return time.Duration(low + (edge(i)-low)*rank/float64(n))
		}
		rank -= float64(n)
	}
	return 0
}

// edge is the upper end of a bucket.
func edge(i int) float64 { return float64(dwellUnit) * math.Exp2(float64(i)/2) }

// pace measures how fast agendas are served while some could be, over two spans.
type pace [2]struct {
	served float64
	time   float64 // seconds
}

// paceSpans are in seconds.
var paceSpans = [2]float64{60, 900}

func (p *pace) pass(ns int64, busy bool) {
	if !busy {
		return
	}
	for i := range p {
		t := float64(ns) / 1e9
		decay := math.Exp(-t / paceSpans[i])
		p[i].served *= decay
		p[i].time = p[i].time*decay + t
	}
}

func (p *pace) serve(n int) {
	for i := range p {
		p[i].served += float64(n)
	}
}

// estimate returns how long serving n agendas takes, from the faster and the slower of the two spans; 0 if too few were served to
// tell.
func (p *pace) estimate(n int) (low, high time.Duration) {
	const enough = 8
	for i := range p {
		if p[i].served < enough || p[i].time <= 0 {
			return 0, 0
		}
	}
	a, b := float64(n)*p[0].time/p[0].served, float64(n)*p[1].time/p[1].served
	limit := float64(math.MaxInt64) / 2 / 1e9
	return time.Duration(min(a, b, limit) * 1e9), time.Duration(min(max(a, b), limit) * 1e9)
}
