package scheduling

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// machine drives a planner through a history and has an auditor look at it. Its choices come from draw, which returns a number
// from 0 to n-1.
type machine struct {
	state   *State
	audit   *auditor
	naive   *naive // the reference, if there is one
	draw    func(n int) int
	honest  bool // the planner gets the settings and policies that the auditor knows
	steady  bool // neither the algorithm nor the owner changes
	now     int64
	next    uint64
	flights []Item
	commits int
}

func newMachine(draw func(n int) int, settings Settings, customers int, honest bool) *machine {
	names := make([]string, customers)
	for i := range names {
		names[i] = fmt.Sprint("c", i)
	}
	m := &machine{draw: draw, honest: honest, now: 1000 * second, audit: newAuditor(settings, names...)}
	m.state = New(m.settings(settings))
	m.advance(m.now)
	return m
}

// settings are those for the planner: one without control serves first in, first out, and knows neither weights nor limits.
func (m *machine) settings(s Settings) Settings {
	if !m.honest {
		return Settings{Algorithm: FirstInFirstOut}
	}
	return s
}

func (m *machine) policy(p Policy) Policy {
	if !m.honest {
		return Policy{Weight: 1}
	}
	return p
}

func (m *machine) customer() *audited {
	return m.audit.customers[m.audit.names[m.draw(len(m.audit.names))]]
}

func (m *machine) item(ready int64) Item {
	m.next++
	it := Item{Ready: ready, Priority: int8(m.draw(3))}
	binary.BigEndian.PutUint64(it.ID[:], m.next*0x9E3779B97F4A7C15) // ids are in no order
	return it
}

func (m *machine) advance(now int64) {
	m.now = now
	m.state.advance(now)
	if m.naive != nil {
		m.naive.advance(now)
	}
	m.tell(func() { m.audit.advance(now) })
}

// tell tells the auditor, and whom it may expect to be served soon.
func (m *machine) tell(event func()) {
	before := make([]bool, len(m.audit.names))
	for i, name := range m.audit.names {
		before[i] = m.audit.customers[name].active
	}
	event()
	if !m.audit.settings.Algorithm.fair() {
		return
	}
	for i, name := range m.audit.names {
		c := m.audit.customers[name]
		twin := m.state.customers[name]
		if !c.active || before[i] || twin == nil || twin.tag > m.state.virtual {
			continue
		}
		allowed := m.audit.actives() - 1
		for _, other := range m.state.customers {
			if other.tag < m.state.virtual { // it is owed a refund
				allowed++
			}
		}
		m.audit.newcomer(c, allowed)
	}
}

func (m *machine) add(c *audited, it Item) {
	m.state.Add(m.now, c.name, m.policy(c.policy), it)
	if m.naive != nil {
		m.naive.add(c.name, c.policy, it)
	}
	m.tell(func() { m.audit.submit(c.name, it) })
}

// step does one thing.
func (m *machine) step() {
	switch c := m.customer(); m.draw(23) {
	case 0, 1, 2, 3:
		m.add(c, m.item(m.now-int64(m.draw(5))*second))
	case 4: // not before its time
		m.add(c, m.item(m.now+int64(m.draw(20))*second))
	case 5, 6:
		m.cancel(c)
	case 7, 8, 9:
		m.end(false)
	case 10:
		m.end(true)
	case 11:
		m.setPolicy(c, m.randomPolicy())
	case 12:
		if m.draw(4) == 0 {
			s := m.audit.settings
			if !m.steady {
				s.Algorithm, s.Cost = Algorithm(m.draw(4)), Cost(m.draw(2))
			}
			s.Aging = time.Duration(m.draw(4)) * time.Second
			s.QueueSize, s.Cap = m.draw(12), m.draw(20)
			s.Paused = m.pause()
			m.configure(s)
		}
	case 13:
		if !m.steady && m.draw(4) == 0 {
			m.restore()
		}
	case 14:
		m.refund()
	case 15, 16, 17:
		m.advance(m.now + int64(m.draw(3000))*int64(time.Millisecond))
	case 18: // to the moment that the planner waits for
		if at, ok := m.state.NextWake(); ok {
			m.advance(at)
		}
	case 19:
		for range m.draw(10) {
			m.add(c, m.item(m.now))
		}
	default:
		m.pass(1 + m.draw(12))
	}
}

func (m *machine) randomPolicy() Policy {
	p := Policy{Weight: []float64{0.1, 0.5, 1, 1, 2, 3.3, 10}[m.draw(7)], Paused: m.pause()}
	if m.draw(3) == 0 {
		p.Cap = 1 + m.draw(5)
	}
	if m.draw(4) == 0 {
		p.Rate = Rate{Count: 1 + m.draw(5), Per: time.Duration(1+m.draw(7)) * time.Second, Burst: m.draw(4)}
	}
	if m.draw(4) == 0 {
		p.Quota = Quota{Limit: m.draw(10), Per: time.Duration(5+m.draw(2)) * time.Second}
	}
	return p
}

// pause returns until when something is paused.
func (m *machine) pause() int64 {
	switch m.draw(16) {
	case 0:
		return Forever
	case 1, 2:
		return m.now + int64(m.draw(5))*second
	default:
		return 0
	}
}

func (m *machine) setPolicy(c *audited, p Policy) {
	m.state.SetPolicy(m.now, c.name, m.policy(p))
	if m.naive != nil {
		m.naive.setPolicy(c.name, p)
	}
	m.tell(func() { m.audit.setPolicy(c.name, p) })
}

func (m *machine) configure(s Settings) {
	m.state.Configure(m.now, m.settings(s))
	if m.naive != nil {
		m.naive.configure(s)
	}
	m.tell(func() { m.audit.configure(s) })
}

func (m *machine) cancel(c *audited) {
	if len(c.waiting) == 0 {
		return
	}
	it := c.waiting[m.draw(len(c.waiting))]
	if !m.state.Remove(m.now, c.name, it) {
		m.audit.violate("%s has lost an agenda", c.name)
	}
	if m.naive != nil {
		m.naive.remove(c.name, it)
	}
	m.tell(func() { m.audit.cancel(c.name, it) })
}

// end lets an agenda be claimed or end, or fail and wait again.
func (m *machine) end(retry bool) {
	if len(m.flights) == 0 {
		return
	}
	at := m.draw(len(m.flights))
	it := m.flights[at]
	c := m.audit.inFlight[it.ID]
	if m.audit.queued[it.ID] && m.draw(3) > 0 {
		m.state.SetInFlight(m.now, c.name, m.policy(c.policy), it, m.now)
		m.audit.claim(it.ID)
		if m.naive != nil {
			m.naive.claim(it.ID)
		}
		return
	}
	m.flights = slices.Delete(m.flights, at, at+1)
	again := it
	again.Ready = m.now + int64(m.draw(3))*second
	switch {
	case retry && m.draw(2) == 0: // told of it only now that it waits again
		m.state.Add(m.now, c.name, m.policy(c.policy), again)
		if m.naive != nil {
			m.naive.land(it.ID)
			m.naive.add(c.name, c.policy, again)
		}
		m.tell(func() { m.audit.finish(it.ID) })
		m.tell(func() { m.audit.submit(c.name, again) })
	case retry:
		m.finish(c, it)
		m.add(c, again)
	default:
		m.finish(c, it)
	}
}

// finish ends an agenda, and tells the auditor by how much the charge for it was corrected.
func (m *machine) finish(c *audited, it Item) {
	twin := m.state.customers[c.name]
	before := twin.tag
	if !m.state.Finish(m.now, it.ID) {
		m.audit.violate("%s has lost an agenda in flight", c.name)
	}
	if m.naive != nil {
		m.naive.finish(it.ID)
	}
	ahead := before >= m.state.virtual && twin.tag < m.state.virtual
	m.tell(func() { m.audit.corrected(it.ID, float64(twin.tag-before)/tagOne*m.audit.weight(c), ahead) })
}

func (m *machine) refund() {
	at := slices.IndexFunc(m.flights, func(it Item) bool { return m.audit.queued[it.ID] })
	if at < 0 {
		return
	}
	it := m.flights[at]
	m.flights = slices.Delete(m.flights, at, at+1)
	m.state.Refund(m.now, it.ID)
	if m.naive != nil {
		m.naive.refund(it.ID)
	}
	m.tell(func() { m.audit.refund(it.ID) })
}

// restore lets another owner take over: with nothing but what is waiting and in flight, and the accounts.
func (m *machine) restore() {
	old := m.state
	m.state = New(old.settings)
	m.state.advance(m.now)
	for _, name := range m.audit.names {
		c := m.audit.customers[name]
		if account, ok := old.Account(name); ok {
			m.state.SetAccount(m.now, name, m.policy(c.policy), account)
		}
		m.state.AddAll(m.now, name, m.policy(c.policy), slices.Clone(c.waiting))
	}
	for _, it := range m.flights {
		c := m.audit.inFlight[it.ID]
		m.state.SetInFlight(m.now, c.name, m.policy(c.policy), it, m.audit.claimed[it.ID])
	}
	for _, c := range m.audit.customers { // who was served when is lost within one agenda each
		m.audit.restart(c)
		c.allowed = -1
	}
	clear(m.audit.charged) // what the last owner has charged is not known
	if m.naive != nil {
		m.naive = nil // its order of activation is another
	}
}

func (m *machine) pass(n int) {
	virtual := m.state.virtual
	picks := m.state.Plan(m.now, n)
	room := m.audit.room()
	if m.naive != nil {
		m.naive.check(m.audit, picks)
	}
	if served := m.state.Serve(m.now, n); !slices.Equal(picks, served) {
		m.audit.violate("%v are served, planned were %v", served, picks)
	}
	for _, p := range picks {
		m.tell(func() { m.audit.serve(p, m.state.flights[p.Item.ID].charged) })
		m.flights = append(m.flights, p.Item)
	}
	m.audit.passed(n, len(picks), room)
	if m.commits++; m.state.virtual < virtual {
		m.audit.violate("the virtual time fell from %d to %d", virtual, m.state.virtual)
	}
}

// check looks at the planner from within.
func (m *machine) check() error {
	waiting := 0
	for _, name := range m.audit.names {
		c, twin := m.audit.customers[name], m.state.customers[name]
		if twin == nil {
			if len(c.waiting) > 0 {
				return fmt.Errorf("%s is forgotten with %d agendas", name, len(c.waiting))
			}
			continue
		}
		if twin.waiting() != len(c.waiting) || twin.inFlight != c.inFlight {
			return fmt.Errorf("%s has %d waiting and %d in flight, want %d and %d", name, twin.waiting(), twin.inFlight, len(c.waiting), c.inFlight)
		}
		waiting += twin.waiting()
		if m.honest && (twin.position >= 0) != c.active {
			return fmt.Errorf("%s is active: %t, want %t", name, twin.position >= 0, c.active)
		}
		if twin.position >= 0 && m.state.active.slots[twin.position].value != twin {
			return fmt.Errorf("%s is not where it thinks", name)
		}
		timed := twin.later.n > 0 || twin.held == RateLimit || twin.held == QuotaUsed ||
			twin.held == CustomerPaused && m.honest && c.policy.Paused != Forever
		if timed != (twin.alarm >= 0) || timed && m.state.waking.slots[twin.alarm].key.rank <= m.now {
			return fmt.Errorf("%s wakes by time: %t, want %t, or too late", name, twin.alarm >= 0, timed)
		}
	}
	if m.state.Waiting() != waiting || len(m.state.flights) != len(m.flights) {
		return fmt.Errorf("%d wait and %d are in flight, want %d and %d", m.state.Waiting(), len(m.state.flights), waiting, len(m.flights))
	}
	return nil
}

func settingsOf(draw func(n int) int) Settings {
	return Settings{Algorithm: Algorithm(draw(4)), Cost: Cost(draw(2)), Aging: time.Duration(draw(3)) * time.Second, QueueSize: draw(20), Cap: draw(30)}
}

// What must hold of each history: agendas are served once, in order, by those who may run and no others; nobody who may run is
// left aside; customers are served apart no further than the bound; newcomers wait for one agenda of each; a plan is what serving
// one by one with a full scan gives; and the planner's books are right.
func TestAnyHistoryIsFair(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
		m := newMachine(draw, settingsOf(draw), 1+draw(6), true)
		m.naive = newNaive(m.audit.settings, m.now)
		for range 1 + draw(120) {
			m.step()
			if err := m.check(); err != nil {
				t.Fatal(err)
			}
			if len(m.audit.violations) > 0 {
				t.Fatal(m.audit.violations[0])
			}
			picks := m.state.Preview(m.now, 8, Change{})
			if diff := cmp.Diff(picks[:min(len(picks), max(0, m.state.room()))], m.state.Plan(m.now, 8)); len(picks) > 0 && m.state.room() > 0 && diff != "" {
				t.Fatalf("a preview is not what would be done: %s", diff)
			}
		}
		cert := m.state.Certificate(m.now, 10)
		if !cert.Holds {
			t.Fatalf("the certificate says that its bound does not hold: %+v", cert)
		}
	})
}

// A planner without control must be found out by the same checks.
func TestAPlannerWithoutControlIsFoundOut(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	found := map[string]bool{}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, random.Uint64()))
		m := newMachine(random.IntN, Settings{Algorithm: Algorithm(seed % 2), QueueSize: 10}, 4, false)
		for range 300 {
			m.step()
		}
		for _, v := range m.audit.violations {
			for _, kind := range []string{"served beyond", "though it may not", "at most", "were served", "waits for", "before one that"} {
				if strings.Contains(v, kind) {
					found[kind] = true
				}
			}
		}
	}
	for _, kind := range []string{"served beyond", "though it may not", "were served", "waits for"} {
		if !found[kind] {
			t.Errorf("no check found that a customer %q", kind)
		}
	}
}
