package simulate

import (
	"math"
	"slices"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
)

// Result is what came of a simulation.
type Result struct {
	Title     string                    `json:"title,omitempty"`
	Algorithm model.SchedulingAlgorithm `json:"schedulingAlgorithm"`
	Seed      uint64                    `json:"seed"`
	// Seconds is how long it took, Busy the part of the slots' time in which they ran something.
	Seconds float64 `json:"seconds"`
	Busy    float64 `json:"busy"`
	Started int     `json:"started"`
	Waiting int     `json:"waiting"`
	// Lag, Bound and Holds are those of the planner's certificate.
	Lag   float64 `json:"lag"`
	Bound float64 `json:"bound,omitempty"`
	Holds bool    `json:"holds"`
	// Newcomer is the most agendas of others that were scheduled before the first of a customer that had none; -1 if there was no
	// such customer.
	Newcomer int `json:"newcomer"`
	// Jain is that of the planner's certificate: Jain's index over its last window, of so many services, 0 if there was no contention.
	Jain      float64  `json:"jainIndex"`
	JainOver  int64    `json:"jainServices"`
	Customers []Shares `json:"customers"`

	width float64 // of a column of the series, in seconds
}

// Shares is what a customer got, or its copies together.
type Shares struct {
	Customer  string  `json:"customerId"`
	Copies    int     `json:"copies,omitempty"`
	Weight    float64 `json:"weight"`
	Submitted int     `json:"submitted"`
	Started   int     `json:"started"`
	Ended     int     `json:"ended"`
	// Share is its part of the slots' time.
	Share float64 `json:"share"`
	// Fair is what it was served over what it was entitled to: its share by weight of all that was served whenever it had agendas in
	// line and might have been served. Exactly its share is 1.
	Fair float64 `json:"fair"`
	// Waits are from submission to start, in seconds.
	P50 float64 `json:"waitP50Seconds"`
	P99 float64 `json:"waitP99Seconds"`
	Max float64 `json:"waitMaxSeconds"`
	// Lag and Bound are its part of the planner's certificate; of copies, those of the one with the largest.
	Lag           float64            `json:"lag"`
	Bound         float64            `json:"bound,omitempty"`
	ParkedSeconds map[string]float64 `json:"parkedSeconds,omitempty"`

	series series
}

func (r *runner) result() *Result {
	cert := r.state.Certificate(r.now, len(r.measure.tenants))
	algorithm := r.insight.WithDefaults().SchedulingAlgorithm
	out := &Result{
		Title: r.scenario.Title, Algorithm: algorithm, Seed: r.scenario.Seed, Seconds: r.measure.clock, Waiting: cert.Waiting,
		Lag: cert.Lag, Bound: cert.Bound, Holds: cert.Holds, Newcomer: r.newcomer, Jain: cert.Jain, JainOver: cert.JainServices, width: r.measure.width,
	}
	if capacity := r.measure.capacity; capacity > 0 {
		out.Busy = r.measure.busy / capacity
	}
	services := map[string]scheduling.Service{}
	for _, s := range cert.Top {
		services[s.Name] = s
	}
	rows := map[*group]*Shares{}
	for _, t := range r.measure.tenants {
		if t.backlogged {
			r.measure.entitle(t)
		}
		row := rows[t.group]
		if row == nil {
			row = &Shares{Customer: t.group.id, Weight: t.policy.Weight}
			rows[t.group] = row
		}
		row.include(services[t.name], cert.Newcomer >= 0)
	}
	for _, g := range r.measure.groups {
		row := rows[g]
		row.measured(g, r.measure.busy)
		out.Started += g.started
		out.Customers = append(out.Customers, *row)
	}
	return out
}

// include adds what the planner knows of one of the copies.
func (s *Shares) include(v scheduling.Service, bounded bool) {
	if v.Lag >= s.Lag {
		s.Lag, s.Bound = v.Lag, v.Bound
	}
	if !bounded {
		s.Bound = 0
	}
	for reason, t := range v.Parked {
		if s.ParkedSeconds == nil {
			s.ParkedSeconds = map[string]float64{}
		}
		s.ParkedSeconds[reason.String()] += t.Seconds()
	}
}

// measured adds what was measured of a group, of which the slots were busy for so long in all.
func (s *Shares) measured(g *group, busy float64) {
	if g.copies > 1 {
		s.Copies = g.copies
	}
	s.Submitted, s.Started, s.Ended, s.series = g.submitted, g.started, g.ended, g.series
	if busy > 0 {
		s.Share = g.slotTime / busy
	}
	if g.entitled > 0 {
		s.Fair = g.got / g.entitled
	}
	slices.Sort(g.waits)
	s.P50, s.P99, s.Max = quantile(g.waits, 0.5), quantile(g.waits, 0.99), quantile(g.waits, 1)
}

// quantile returns a quantile of sorted times, in seconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)].Seconds()
}
