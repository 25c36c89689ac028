package simulate

import (
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
)

// origin is when simulated time begins: midnight, so that quotas by the day begin with it.
const origin = int64(50 * 365 * 24 * time.Hour)

// Run simulates a scenario.
func Run(ctx context.Context, s *Scenario) (*Result, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	r := &runner{
		scenario: s, insight: s.Insight, slots: s.Slots, now: origin, end: math.MaxInt64, jobs: map[scheduling.ID]*job{},
		tenants: map[string]*tenant{}, newcomer: -1,
	}
	if s.Duration > 0 {
		r.end = origin + int64(s.Duration)
	}
	r.insight.ID = "insight"
	r.state = scheduling.New(engine.SettingsOf(&r.insight))
	r.measure = newMeasure(r.insight.SchedulingAlgorithm)
	r.populate()
	for i := range s.Changes {
		change := &s.Changes[i]
		r.at(origin+int64(change.At), func() { r.change(change) })
	}
	for steps := 0; r.next(); steps++ {
		if steps%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r.measure.refresh(r.state)
		r.fill()
	}
	return r.result(), nil
}

// runner is a simulation as it goes.
type runner struct {
	scenario *Scenario
	insight  model.Insight
	state    *scheduling.State
	now, end int64
	slots    int
	busy     int
	queue    []scheduling.Pick // served and not claimed
	jobs     map[scheduling.ID]*job
	tenants  map[string]*tenant
	events   events
	sequence int64
	measure  *measure
	served   int
	newcomer int // the most agendas of others that went before the first of a customer that had none
}

// job is an agenda.
type job struct {
	tenant *tenant
	runs   time.Duration
	served int // services before it was submitted, if its customer had no agenda then; -1 if it had
}

// event is what happens at a time, in the order in which it was planned.
type event struct {
	at, sequence int64
	do           func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].sequence < e[j].sequence
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

func (r *runner) at(at int64, do func()) {
	r.sequence++
	heap.Push(&r.events, event{at, r.sequence, do})
}

// next lets time pass to what happens next, and lets it happen. It reports whether anything did.
func (r *runner) next() bool {
	at := int64(math.MaxInt64)
	if len(r.events) > 0 {
		at = r.events[0].at
	}
	if wake, ok := r.state.NextWake(); ok {
		at = min(at, wake)
	}
	if at == math.MaxInt64 || at > r.end {
		if r.end != math.MaxInt64 {
			r.pass(r.end)
		}
		return false
	}
	r.pass(at)
	for len(r.events) > 0 && r.events[0].at == at {
		heap.Pop(&r.events).(event).do()
	}
	return true
}

// pass lets time pass.
func (r *runner) pass(to int64) {
	r.measure.pass(r.now, to, r.busy, r.slots)
	r.now = to
}

// fill gives the free slots agendas from the queue, and the queue agendas from the line.
func (r *runner) fill() {
	for {
		for r.busy < r.slots && len(r.queue) > 0 {
			r.claim(r.queue[0])
			r.queue = r.queue[1:]
		}
		picks := r.state.Serve(r.now, 1) // one, as it is measured after each
		if len(picks) == 0 {
			return
		}
		r.serve(picks[0])
		r.queue = append(r.queue, picks...)
	}
}

// serve notes that an agenda has left the line.
func (r *runner) serve(p scheduling.Pick) {
	j := r.jobs[p.Item.ID]
	if j.served >= 0 {
		r.newcomer = max(r.newcomer, r.served-j.served)
	}
	r.served++
	cost := 1.0
	if r.insight.Cost == model.CostRunTime {
		cost = j.runs.Seconds()
	}
	r.measure.serve(j.tenant, cost)
	r.measure.refresh(r.state)
}

func (r *runner) claim(p scheduling.Pick) {
	j := r.jobs[p.Item.ID]
	r.state.SetInFlight(r.now, p.Customer, j.tenant.policy, p.Item, r.now)
	r.busy++
	r.measure.start(j.tenant, time.Duration(r.now-p.Item.Ready))
	r.at(r.now+int64(j.runs), func() {
		r.busy--
		r.state.Finish(r.now, p.Item.ID)
		delete(r.jobs, p.Item.ID)
		j.tenant.inside--
		r.measure.stop(j.tenant)
	})
}

// submit has a customer submit agendas now.
func (r *runner) submit(t *tenant, count int, priority int8, runs func() time.Duration) {
	items := make([]scheduling.Item, count)
	for i := range items {
		r.sequence++
		items[i] = scheduling.Item{Ready: r.now, Priority: priority}
		binary.BigEndian.PutUint64(items[i].ID[:], uint64(r.sequence))
		j := &job{tenant: t, runs: runs(), served: -1}
		if t.inside == 0 {
			j.served = r.served
		}
		t.inside++
		r.jobs[items[i].ID] = j
	}
	r.state.AddAll(r.now, t.name, t.policy, items)
	t.group.submitted += count
	r.measure.wait(t, count)
}

// populate plans what customers submit.
func (r *runner) populate() {
	for i := range r.scenario.Customers {
		c := &r.scenario.Customers[i]
		g := r.measure.group(c.ID, max(1, c.Copies))
		for copied := range max(1, c.Copies) {
			name := c.ID
			if c.Copies > 1 {
				name = fmt.Sprintf("%s-%d", c.ID, copied+1)
			}
			t := r.tenant(name, g)
			r.govern(t, c.Limits)
			runTime := r.scenario.RunTime
			if c.RunTime != nil {
				runTime = *c.RunTime
			}
			for j := range c.Arrivals {
				// Each has a source of its own, so that nothing but the order changes with the algorithm.
				random := rand.New(rand.NewPCG(r.scenario.Seed, uint64(i)<<40|uint64(copied)<<16|uint64(j)))
				r.arrive(t, &c.Arrivals[j], random, func() time.Duration { return runTime.draw(random) })
			}
		}
	}
	for i, recorded := range r.scenario.recorded {
		t := r.tenants[recorded.customer]
		if t == nil {
			t = r.tenant(recorded.customer, r.measure.group(recorded.customer, 1))
			r.govern(t, model.Limits{})
		}
		took := r.scenario.recorded[i].took
		r.at(origin+int64(recorded.at), func() { r.submit(t, 1, 0, func() time.Duration { return took }) })
	}
}

func (r *runner) tenant(name string, g *group) *tenant {
	t := &tenant{name: name, group: g}
	r.tenants[name] = t
	r.measure.tenants = append(r.measure.tenants, t)
	return t
}

// arrive plans arrivals, each once the one before has come.
func (r *runner) arrive(t *tenant, a *Arrival, random *rand.Rand, runs func() time.Duration) {
	gap := func() int64 { return int64(a.Every) }
	if a.PerSecond > 0 {
		gap = func() int64 { return int64(random.ExpFloat64() / a.PerSecond * float64(time.Second)) }
	}
	at, until := origin+int64(a.At), r.end
	if a.Until > 0 {
		until = min(until, origin+int64(a.Until))
	}
	if a.PerSecond > 0 {
		at += gap()
	}
	var come func()
	come = func() {
		r.submit(t, max(1, a.Count), a.Priority, runs)
		if a.Every > 0 || a.PerSecond > 0 {
			if at += max(1, gap()); at < until {
				r.at(at, come)
			}
		}
	}
	if at <= until {
		r.at(at, come)
	}
}

// change does what a scenario says of the middle.
func (r *runner) change(c *Change) {
	if c.Slots != nil {
		r.slots = *c.Slots
	}
	if c.Insight != nil {
		pause := r.insight.Pause
		r.insight = *c.Insight
		r.insight.ID, r.insight.Pause = "insight", pause
	}
	var pause *model.Pause
	if c.Paused != nil && *c.Paused {
		pause = &model.Pause{By: "scenario"}
	}
	if c.Customer == "" {
		if c.Paused != nil {
			r.insight.Pause = pause
		}
		r.state.Configure(r.now, engine.SettingsOf(&r.insight))
		r.measure.reweigh(r.insight.SchedulingAlgorithm)
		return
	}
	for _, t := range r.measure.tenants {
		if t.group.id != c.Customer {
			continue
		}
		if c.Paused != nil {
			t.pause = pause
		}
		limits := t.limits
		if c.Limits != nil {
			limits = *c.Limits
		}
		r.govern(t, limits)
		r.state.SetPolicy(r.now, t.name, t.policy)
	}
	r.measure.reweigh(r.insight.SchedulingAlgorithm)
}

// govern sets what a customer may do.
func (r *runner) govern(t *tenant, limits model.Limits) {
	t.limits = limits
	t.policy = engine.PolicyOf(&model.Customer{Limits: limits, Pause: t.pause})
}

// draw returns how long an agenda runs.
func (t RunTime) draw(random *rand.Rand) time.Duration {
	mean := float64(t.Mean)
	switch t.Distribution {
	case "exponential":
		mean *= random.ExpFloat64()
	case "lognormal":
		const sigma = 1.5
		mean *= math.Exp(sigma*random.NormFloat64() - sigma*sigma/2)
	}
	return time.Duration(max(1, min(mean, math.MaxInt64/4)))
}
