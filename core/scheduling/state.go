package scheduling

import "math"

// State holds the waiting agendas of one insight and what is in flight. It is not safe for concurrent use.
//
// An agenda is in one place at most: waiting, or in flight. Telling the state twice, or late, does no harm.
type State struct {
	// Rest, if it is set, is called again and again while [State.Explain], [State.Certificate] and [State.Preview] look at all
	// customers, so that who holds a lock on the state can let others have it for a moment. They may do with the state what they like.
	Rest func()

	settings  Settings
	now       int64
	customers map[string]*customer
	active    heap[*customer] // customers with an agenda that may be served now
	waking    heap[*customer] // customers that time alone will change
	flights   map[ID]flight
	virtual   int64  // the largest tag served: where newcomers begin
	sequence  int64  // counts activations and services
	known     uint64 // counts customers
	waiting   int    // agendas, ready or not
	queued    int    // agendas in flight that are not claimed
	mean      float64
	forgetAt  int // look for customers to forget once there are so many
	moves     int // in the heap of the active, and of customers that previews look at: what both cost
	ranked    int // counts how often all were ranked anew
	fairness  fairness
	pace      pace
}

// customer is what a state knows of a customer that has agendas, or of one it owes or is owed by.
type customer struct {
	name     string
	number   uint64 // in the order of becoming known
	policy   Policy
	account  Account // but for the debt, which is in the tag
	tag      int64   // survives being drained, so that leaving and returning forgives no debt
	sequence int64   // when it was activated or last served, whichever is later; the tie-break
	position int     // in the heap of the active; -1 if not
	alarm    int     // in the heap of the waking; -1 if not
	held     Reason  // why it is parked, 0 if it is not
	heldAt   int64   // since when
	inFlight int
	ready    line
	later    line // agendas that become ready in the future
	record   record
}

// keyOf ranks a customer of the given tag and sequence whose next agenda is first. No two customers have the same key, so that a
// plan has one outcome.
func (s *State) keyOf(tag, sequence int64, first Item) key {
	if s.settings.Algorithm.fair() {
		return key{rank: tag, hi: uint64(sequence)}
	}
	return first.key(s.settings.aging())
}

// tagOne is the fixed-point unit of a tag: the rise of a customer of weight 1 for a cost of 1.
const tagOne = 1 << 28

// No charge raises a tag by more than maxStep, and tags are moved down beyond maxVirtual, so that none overflows.
const (
	maxStep    = 1 << 44
	maxVirtual = 1 << 60
	maxTag     = 1 << 62
)

// drainedSlack is how many customers without agendas are remembered at least.
const drainedSlack = 1024

// New returns an empty state.
func New(settings Settings) *State {
	s := &State{settings: settings, customers: map[string]*customer{}, flights: map[ID]flight{}, forgetAt: drainedSlack}
	s.active.moved = func(c *customer, to int) { c.position = to; s.moves++ }
	s.waking.moved = func(c *customer, to int) { c.alarm = to }
	return s
}

// Waiting returns the number of waiting agendas, those included that become ready in the future.
func (s *State) Waiting() int { return s.waiting }

// Active returns the number of customers with an agenda that may be served now.
func (s *State) Active() int { return s.active.len() }

// InFlight returns the number of agendas that were served and have not ended, and how many of them are not claimed.
func (s *State) InFlight() (all, queued int) { return len(s.flights), s.queued }

// NextWake returns when time alone will let an agenda be served, if there is such a time.
func (s *State) NextWake() (int64, bool) {
	at := int64(Forever)
	if s.waking.len() > 0 {
		at = s.waking.slots[0].key.rank
	}
	if paused := s.settings.Paused; paused > s.now && s.active.len() > 0 {
		at = min(at, paused)
	}
	return at, at != Forever
}

// Configure sets the insight's settings. A change of algorithm ranks the active customers anew and starts a new measurement of
// fairness. Agendas in flight beyond a new limit go on.
func (s *State) Configure(now int64, settings Settings) {
	s.advance(now)
	if settings == s.settings {
		return
	}
	old := s.settings
	s.settings = settings
	if settings.aging() != old.aging() {
		for _, c := range s.customers {
			c.ready.age(settings.aging())
		}
	}
	if settings.Algorithm != old.Algorithm || settings.Cost != old.Cost {
		for _, c := range s.customers {
			c.tag, c.record.lag = 0, lag{}
			c.record.lag.charged(s.step(c))
		}
		s.virtual = 0
		s.fairness.restart(s.now)
	}
	s.rank()
}

// rank ranks all active customers anew.
func (s *State) rank() {
	s.ranked++
	for i, slot := range s.active.slots {
		c := slot.value
		s.active.slots[i].key = s.keyOf(c.tag, c.sequence, c.ready.first())
	}
	s.active.order()
}

// SetPolicy sets what a customer may do, from its next agenda on. Of a customer without agendas the state need not know.
func (s *State) SetPolicy(now int64, name string, policy Policy) {
	s.advance(now)
	if c := s.customers[name]; c != nil {
		s.setPolicy(c, policy)
	}
}

// Policy returns what a customer may do, and false if the state does not know it.
func (s *State) Policy(name string) (Policy, bool) {
	if c := s.customers[name]; c != nil {
		return c.policy, true
	}
	return Policy{}, false
}

func (s *State) setPolicy(c *customer, policy Policy) {
	if policy == c.policy {
		return
	}
	was := s.stepFor(c, 1)
	c.policy = policy
	c.account.adapt(&policy, s.now)
	// What it owes or is owed is a cost, whatever its weight.
	is := s.stepFor(c, 1)
	debt := float64(c.tag-s.virtual) / float64(was) * float64(is)
	c.tag = s.virtual + max(int64(math.Round(min(debt, maxStep))), -s.step(c)) // it is owed no more than its next agenda, as in charge
	c.record.lag.weighed(float64(is) / float64(was))
	c.record.lag.charged(s.step(c))
	s.settle(c)
}

// Add puts an agenda of a customer in line and reports whether it was not there before. If it was in flight, it is no more.
func (s *State) Add(now int64, name string, policy Policy, item Item) bool {
	s.advance(now)
	s.land(item.ID)
	c := s.customer(name, policy)
	added := c.lineOf(item, s.now).insert(item)
	if added {
		s.waiting++
		s.settle(c)
	}
	return added
}

// AddAll is [State.Add] for many agendas of a customer in any order, none of which is in flight.
func (s *State) AddAll(now int64, name string, policy Policy, items []Item) {
	s.advance(now)
	c := s.customer(name, policy)
	var ready, later []Item
	for _, item := range items {
		s.land(item.ID)
		if item.Ready > s.now {
			later = append(later, item)
		} else {
			ready = append(ready, item)
		}
	}
	s.waiting -= c.waiting()
	c.ready.merge(ready)
	c.later.merge(later)
	s.waiting += c.waiting()
	s.settle(c)
}

// Remove takes an agenda out of line without serving it and reports whether it was there.
func (s *State) Remove(now int64, name string, item Item) bool {
	s.advance(now)
	c := s.customers[name]
	if c == nil || !c.ready.remove(item) && !c.later.remove(item) {
		return false
	}
	s.waiting--
	s.settle(c)
	return true
}

// customer returns the customer of a name with the policy.
func (s *State) customer(name string, policy Policy) *customer {
	c := s.customers[name]
	if c == nil {
		if len(s.customers) >= s.forgetAt {
			s.forget()
		}
		s.known++
		c = &customer{name: name, number: s.known, policy: policy, position: -1, alarm: -1, tag: s.virtual, ready: line{aging: s.settings.aging()}}
		c.record.lag.charged(s.step(c))
		s.customers[name] = c
	}
	s.setPolicy(c, policy)
	return c
}

func (c *customer) waiting() int { return c.ready.n + c.later.n }

func (c *customer) lineOf(item Item, now int64) *line {
	if item.Ready > now {
		return &c.later
	}
	return &c.ready
}

// advance lets time pass. Time never goes back.
func (s *State) advance(now int64) {
	if now <= s.now {
		return
	}
	s.pace.pass(now-s.now, s.active.len() > 0)
	for s.waking.len() > 0 && s.waking.slots[0].key.rank <= now {
		s.now = max(s.now, s.waking.slots[0].key.rank) // each wakes at its time, however rarely time passes here
		s.settle(s.waking.slots[0].value)
	}
	s.now = now
}

// settle puts a customer where it belongs after anything about it has changed: among the active, or parked with what wakes it.
// It is the only place that does, so that nobody is left behind.
func (s *State) settle(c *customer) {
	for c.later.n > 0 && c.later.first().Ready <= s.now {
		c.ready.insert(c.later.pop())
	}
	wakeAt, held := int64(0), Reason(0)
	if c.ready.n > 0 {
		_, held, wakeAt = s.allowance(c)
	}
	s.park(c, held)
	if c.later.n > 0 && (wakeAt == 0 || c.later.first().Ready < wakeAt) {
		wakeAt = c.later.first().Ready
	}
	s.wake(c, wakeAt)

	switch active := c.ready.n > 0 && held == 0; {
	case !active && c.position >= 0:
		s.fairness.leave(s, c)
		s.active.remove(c.position)
	case active && c.position < 0:
		s.sequence++
		c.sequence, c.record.activated = s.sequence, s.sequence
		c.tag = max(c.tag, s.virtual) // time away gives no credit
		s.active.push(s.keyOf(c.tag, c.sequence, c.ready.first()), c)
	case active:
		s.active.rekey(c.position, s.keyOf(c.tag, c.sequence, c.ready.first()))
		c.record.lag.measure(c.tag - s.virtual)
	}
}

// park notes why the customer is parked, and for how long it was before.
func (s *State) park(c *customer, held Reason) {
	if held == c.held {
		return
	}
	if c.held != 0 {
		c.record.parked[c.held] += s.now - c.heldAt
	}
	c.held, c.heldAt = held, s.now
}

// wake sets the time at which the customer is looked at again; 0 means none.
func (s *State) wake(c *customer, at int64) {
	switch {
	case at == 0 && c.alarm >= 0:
		s.waking.remove(c.alarm)
	case at != 0 && c.alarm < 0:
		s.waking.push(key{rank: at, hi: c.number}, c)
	case at != 0:
		s.waking.rekey(c.alarm, key{rank: at, hi: c.number})
	}
}

// allowance returns how many agendas of a customer may be served now; if none, the first reason, and the time at which that may
// have changed if time alone changes it.
func (s *State) allowance(c *customer) (n int, held Reason, wakeAt int64) {
	switch until := c.policy.Paused; {
	case until == Forever:
		return 0, CustomerPaused, 0
	case until > s.now:
		return 0, CustomerPaused, until
	}
	n = unlimited
	if c.policy.Cap > 0 {
		if n = c.policy.Cap - c.inFlight; n <= 0 {
			return 0, CustomerCap, 0
		}
	}
	quota, resets := c.account.byQuota(c.policy.Quota, s.now)
	if quota == 0 {
		held, wakeAt = QuotaUsed, resets
	}
	rate, at := c.account.byRate(c.policy.Rate, s.now)
	if rate == 0 && wakeAt == 0 {
		held = RateLimit
	}
	return min(n, quota, rate), held, max(wakeAt, at)
}

// Account returns what must be kept of a customer, and false if there is nothing to keep.
func (s *State) Account(name string) (Account, bool) {
	c := s.customers[name]
	if c == nil {
		return Account{}, false
	}
	a := c.account
	if ahead := c.tag - s.virtual; ahead > 0 && s.settings.Algorithm.fair() {
		a.Debt = float64(ahead) / float64(s.stepFor(c, 1))
	}
	return a, a != Account{}
}

// Accounts returns the accounts of the customers served that have a rate or a quota: what must be kept of them before anybody
// learns that they were served, so that a crash never gives them more than is theirs.
func (s *State) Accounts(served []Pick) map[string]Account {
	var accounts map[string]Account
	for _, p := range served {
		if c := s.customers[p.Customer]; c != nil && (c.policy.Rate.Count > 0 || c.policy.Quota.Per > 0) {
			if accounts == nil {
				accounts = map[string]Account{}
			}
			accounts[c.name], _ = s.Account(c.name)
		}
	}
	return accounts
}

// SetAccount gives a customer the account that was kept of it.
func (s *State) SetAccount(now int64, name string, policy Policy, a Account) {
	s.advance(now)
	c := s.customer(name, policy)
	if a.Debt > 0 && s.settings.Algorithm.fair() {
		debt := s.stepFor(c, a.Debt)
		c.tag = max(c.tag, s.virtual+debt)
		c.record.lag.charged(debt)
	}
	a.Debt = 0
	c.account = a
	c.account.adapt(&policy, s.now)
	s.settle(c)
}

// forget drops customers without agendas of which nothing is left to remember.
func (s *State) forget() {
	for name, c := range s.customers {
		if c.waiting() == 0 && c.inFlight == 0 && (c.tag <= s.virtual || !s.settings.Algorithm.fair()) && c.account.settled(&c.policy, s.now) {
			s.fairness.forget(c)
			delete(s.customers, name)
		}
	}
	s.forgetAt = 2*len(s.customers) + drainedSlack
}
