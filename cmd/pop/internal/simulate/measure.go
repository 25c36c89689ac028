package simulate

import (
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
)

// tenant is a customer in a simulation.
type tenant struct {
	name    string
	group   *group
	limits  model.Limits
	pause   *model.Pause
	policy  scheduling.Policy
	inside  int // agendas that have not ended
	waiting int // of these, in line

	backlogged bool    // some are in line, and it may be served
	weight     float64 // with which it is
	since      float64 // what one of weight 1 was entitled to when it last became so
	touched    bool
}

// group is what is told of a customer, or of its copies together.
type group struct {
	id        string
	copies    int
	submitted int
	started   int
	ended     int
	running   int
	waiting   int
	slotTime  float64 // seconds
	got       float64 // cost of what was served
	entitled  float64 // its part by weight of all that was served whenever it might have been served
	waits     []time.Duration
	series    series
}

// measure follows who gets what.
type measure struct {
	groups   []*group
	tenants  []*tenant
	touched  []*tenant // since the last refresh
	held     []*tenant
	count    int     // of the backlogged
	weights  float64 // of these
	each     float64 // what a customer of weight 1 is entitled to that was always backlogged
	equal    bool    // weights do not count
	clock    float64 // seconds
	busy     float64 // slot seconds
	capacity float64 // slot seconds that there were
	width    float64 // of a column of the series, in seconds
}

func newMeasure(algorithm model.SchedulingAlgorithm) *measure {
	return &measure{equal: algorithm == model.RoundRobin, width: 1}
}

func (m *measure) group(id string, copies int) *group {
	g := &group{id: id, copies: copies}
	m.groups = append(m.groups, g)
	return g
}

// pass lets time pass with so many of the slots busy.
func (m *measure) pass(from, to int64, busy, slots int) {
	t := float64(to-from) / 1e9
	if t <= 0 {
		return
	}
	start := m.clock
	m.clock += t
	m.busy += t * float64(busy)
	m.capacity += t * float64(max(slots, busy))
	for m.clock > m.width*columns {
		m.width *= 2
		for _, g := range m.groups {
			g.series.halve()
		}
	}
	for _, g := range m.groups {
		g.slotTime += t * float64(g.running)
		g.series.add(start, m.clock, m.width, float64(g.running), float64(g.waiting))
	}
}

func (m *measure) touch(t *tenant) {
	if !t.touched {
		t.touched = true
		m.touched = append(m.touched, t)
	}
}

// wait notes that so many more agendas of a customer are in line.
func (m *measure) wait(t *tenant, n int) {
	t.waiting += n
	t.group.waiting += n
	m.touch(t)
}

// serve notes that an agenda of a cost has left the line.
func (m *measure) serve(t *tenant, cost float64) {
	if m.weights > 0 {
		m.each += cost / m.weights
	}
	t.group.got += cost
	m.wait(t, -1)
}

// start notes that an agenda runs, and how long it has waited.
func (m *measure) start(t *tenant, waited time.Duration) {
	t.group.started++
	t.group.running++
	t.group.waits = append(t.group.waits, waited)
}

func (m *measure) stop(t *tenant) {
	t.group.ended++
	t.group.running--
	m.touch(t) // it may be below its cap now
}

// reweigh has all customers looked at, as weights may have changed.
func (m *measure) reweigh(algorithm model.SchedulingAlgorithm) {
	m.equal = algorithm == model.RoundRobin
	for _, t := range m.tenants {
		m.touch(t)
	}
}

// refresh finds out who is backlogged, among those who may have changed.
func (m *measure) refresh(s *scheduling.State) {
	for _, t := range m.held { // time may have freed them
		m.touch(t)
	}
	m.held = m.held[:0]
	for _, t := range m.touched {
		t.touched = false
		weight := t.policy.Weight
		if m.equal {
			weight = 1
		}
		held := s.Held(t.name) != 0
		if held {
			m.held = append(m.held, t)
		}
		backlogged := t.waiting > 0 && !held
		if backlogged == t.backlogged && weight == t.weight {
			continue
		}
		if t.backlogged {
			m.entitle(t)
			m.count--
			m.weights -= t.weight
		}
		if t.backlogged, t.weight, t.since = backlogged, weight, m.each; backlogged {
			m.count++
			m.weights += weight
		}
	}
	m.touched = m.touched[:0]
	if m.count == 0 {
		m.weights = 0 // what is left is rounding
	}
}

// entitle adds what a customer was entitled to since it became backlogged.
func (m *measure) entitle(t *tenant) {
	t.group.entitled += t.weight * (m.each - t.since)
	t.since = m.each
}

// columns is the most columns of a series. When time goes beyond, each two become one.
const columns = 240

// series is how many agendas of a group ran and waited over time: sums, by column.
type series struct{ running, waiting []float64 }

func (s *series) add(from, to, width, running, waiting float64) {
	for from < to {
		column := int(from / width)
		end := min(to, float64(column+1)*width)
		if end <= from { // rounding
			column++
			end = min(to, float64(column+1)*width)
		}
		for len(s.running) <= column {
			s.running, s.waiting = append(s.running, 0), append(s.waiting, 0)
		}
		s.running[column] += running * (end - from)
		s.waiting[column] += waiting * (end - from)
		from = end
	}
}

// halve makes one column of each two.
func (s *series) halve() { s.running, s.waiting = pairs(s.running), pairs(s.waiting) }

func pairs(x []float64) []float64 {
	for i, v := range x {
		if i%2 == 0 {
			x[i/2] = v
		} else {
			x[i/2] += v
		}
	}
	return x[:(len(x)+1)/2]
}

// include adds a series to another.
func (s *series) include(other series) {
	for len(s.running) < len(other.running) {
		s.running, s.waiting = append(s.running, 0), append(s.waiting, 0)
	}
	for i := range other.running {
		s.running[i] += other.running[i]
		s.waiting[i] += other.waiting[i]
	}
}
