package scheduling

import (
	"bytes"
	"cmp"
	"container/heap"
	"slices"
)

// Algorithm says what a customer's rank is.
type Algorithm uint8

const (
	// WeightedFair is start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): the rank is a tag that rises by cost/weight
	// with each agenda served. Over any time in which two customers always have agendas waiting, what they were served, divided
	// by their weights, differs by at most 1/w1 + 1/w2 agendas.
	WeightedFair Algorithm = iota
	// RoundRobin ranks by the order of last service.
	RoundRobin
	// FirstInFirstOut ranks by the score of the customer's first agenda.
	FirstInFirstOut
)

// ID is an agenda's id.
type ID [16]byte

// Item is an agenda that waits. Within a customer, items are taken in order of score, then id.
type Item struct {
	Score int64
	ID    ID
}

func compareItems(a, b Item) int {
	if c := cmp.Compare(a.Score, b.Score); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

// Pick is a planned choice.
type Pick struct {
	Customer string
	Item     Item
}

// tagOne is the fixed-point unit of a tag: the rise of a customer of weight 1 for an agenda of cost 1.
const tagOne = 1 << 20

// Weights are kept within these bounds, so that a tag neither stands still nor overflows.
const (
	minWeight = 1e-3
	maxWeight = 1e5
)

// drainedSlack is how many customers without agendas are remembered for their tags before those that owe nothing are dropped.
const drainedSlack = 1024

// State holds the waiting agendas of one insight. It is not safe for concurrent use.
type State struct {
	algorithm Algorithm
	customers map[string]*customer
	active    ranking // customers with items, a heap
	virtual   int64   // WeightedFair: the largest tag served
	sequence  int64   // counts activations and services
	waiting   int
}

type customer struct {
	name     string
	step     int64 // tag rise per agenda
	tag      int64 // WeightedFair: survives being drained, so that leaving and returning forgives no debt
	sequence int64 // when it was activated or last served, whichever is later; the tie-break
	rank     int64
	items    fifo
	position int // in the heap; -1 when drained
}

// New returns an empty state.
func New(a Algorithm) *State {
	return &State{algorithm: a, customers: map[string]*customer{}}
}

// Waiting returns the number of waiting agendas.
func (s *State) Waiting() int { return s.waiting }

// Active returns the number of customers with waiting agendas.
func (s *State) Active() int { return len(s.active) }

// SetAlgorithm changes the algorithm and ranks the active customers anew.
func (s *State) SetAlgorithm(a Algorithm) {
	if a == s.algorithm {
		return
	}
	s.algorithm = a
	for _, c := range s.active {
		c.tag = max(c.tag, s.virtual)
		c.rank = s.rankOf(c, c.items.at(0))
	}
	heap.Init(&s.active)
}

// SetWeight sets a customer's weight, which counts from its next agenda on.
func (s *State) SetWeight(name string, weight float64) {
	if c := s.customers[name]; c != nil {
		c.step = stepOf(weight)
	}
}

func stepOf(weight float64) int64 {
	return max(1, int64(tagOne/min(max(weight, minWeight), maxWeight)))
}

// Add puts an agenda of a customer in line and reports whether it was not there before. The weight is that of the customer.
func (s *State) Add(name string, weight float64, item Item) bool {
	c := s.customers[name]
	if c == nil {
		c = &customer{name: name, position: -1}
		s.customers[name] = c
	}
	c.step = stepOf(weight)
	if !c.items.insert(item) {
		return false
	}
	s.waiting++
	switch {
	case c.position < 0:
		s.sequence++
		c.sequence = s.sequence
		c.tag = max(c.tag, s.virtual) // idle time gives no credit
		c.rank = s.rankOf(c, item)
		heap.Push(&s.active, c)
	case c.items.at(0) == item: // the new agenda is the first
		c.rank = s.rankOf(c, item)
		heap.Fix(&s.active, c.position)
	}
	return true
}

// AddAll is [State.Add] for many agendas of a customer in any order. It takes the slice over.
func (s *State) AddAll(name string, weight float64, items []Item) {
	if len(items) == 0 {
		return
	}
	s.Add(name, weight, items[0])
	c := s.customers[name]
	s.waiting -= c.items.len()
	c.items.merge(items)
	s.waiting += c.items.len()
	s.settle(c)
}

// Remove takes an agenda out of line without serving it and reports whether it was there.
func (s *State) Remove(name string, item Item) bool {
	c := s.customers[name]
	if c == nil || !c.items.remove(item) {
		return false
	}
	s.waiting--
	s.settle(c)
	return true
}

// Plan returns the next agendas to serve, at most n, in order. It changes nothing.
//
// It looks at no more than n+1 customers per pick it returns: since a rank never falls by being served, whoever is served next is
// the root of the heap, a child of one who was looked at, or one who was served.
func (s *State) Plan(n int) []Pick {
	n = min(n, s.waiting)
	if n <= 0 {
		return nil
	}
	picks := make([]Pick, 0, n)
	next := frontier{{customer: s.active[0], rank: s.active[0].rank, sequence: s.active[0].sequence}}
	sequence := s.sequence
	for len(picks) < n {
		c := heap.Pop(&next).(candidate)
		picks = append(picks, Pick{c.customer.name, c.customer.items.at(c.served)})
		if c.served == 0 {
			for _, child := range []int{2*c.customer.position + 1, 2*c.customer.position + 2} {
				if child < len(s.active) {
					heap.Push(&next, candidate{customer: s.active[child], rank: s.active[child].rank, sequence: s.active[child].sequence})
				}
			}
		}
		sequence++
		if c.served++; c.served < c.customer.items.len() {
			c.rank, c.sequence = s.rankAfter(c.customer, c.rank, sequence, c.customer.items.at(c.served)), sequence
			heap.Push(&next, c)
		}
	}
	return picks
}

// Commit serves what [State.Plan] returned, or a prefix of it, with nothing in between.
func (s *State) Commit(picks []Pick) {
	for _, p := range picks {
		c := s.customers[p.Customer]
		c.items.pop()
		s.waiting--
		s.sequence++
		c.sequence = s.sequence
		if s.algorithm == WeightedFair {
			s.virtual = max(s.virtual, c.tag)
		}
		c.tag += c.step
		s.settle(c)
	}
}

// Refund gives back what a customer was charged for an agenda that was not served after all.
func (s *State) Refund(name string) {
	c := s.customers[name]
	if c == nil {
		return
	}
	c.tag -= c.step
	if c.position >= 0 {
		c.rank = s.rankOf(c, c.items.at(0))
		heap.Fix(&s.active, c.position)
	}
}

// settle restores the heap after c's items or tag changed.
func (s *State) settle(c *customer) {
	switch {
	case c.items.len() > 0:
		c.rank = s.rankOf(c, c.items.at(0))
		heap.Fix(&s.active, c.position)
	case c.position >= 0:
		heap.Remove(&s.active, c.position)
		s.forgetDrained()
	}
}

// forgetDrained drops customers without agendas that owe nothing, once there are many.
func (s *State) forgetDrained() {
	if len(s.customers) <= 2*len(s.active)+drainedSlack {
		return
	}
	for name, c := range s.customers {
		if c.position < 0 && c.tag <= s.virtual {
			delete(s.customers, name)
		}
	}
}

func (s *State) rankOf(c *customer, first Item) int64 {
	switch s.algorithm {
	case RoundRobin:
		return c.sequence
	case FirstInFirstOut:
		return first.Score
	default:
		return c.tag
	}
}

// rankAfter returns the rank of a customer of the given rank once it has been served and first is its first agenda.
func (s *State) rankAfter(c *customer, rank, sequence int64, first Item) int64 {
	switch s.algorithm {
	case RoundRobin:
		return sequence
	case FirstInFirstOut:
		return first.Score
	default:
		return rank + c.step
	}
}

// candidate is a customer in a plan, with what it has been served so far in that plan.
type candidate struct {
	customer       *customer
	rank, sequence int64
	served         int
}

type frontier []candidate

func (f frontier) Len() int { return len(f) }
func (f frontier) Less(i, j int) bool {
	return before(f[i].rank, f[i].sequence, f[j].rank, f[j].sequence)
}
func (f frontier) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *frontier) Push(x any)   { *f = append(*f, x.(candidate)) }
func (f *frontier) Pop() any {
	last := len(*f) - 1
	x := (*f)[last]
	*f = (*f)[:last]
	return x
}

type ranking []*customer

func (r ranking) Len() int { return len(r) }
func (r ranking) Less(i, j int) bool {
	return before(r[i].rank, r[i].sequence, r[j].rank, r[j].sequence)
}
func (r ranking) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].position, r[j].position = i, j
}

func (r *ranking) Push(x any) {
	c := x.(*customer)
	c.position = len(*r)
	*r = append(*r, c)
}

func (r *ranking) Pop() any {
	last := len(*r) - 1
	c := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	c.position = -1
	return c
}

func before(rank1, sequence1, rank2, sequence2 int64) bool {
	if rank1 != rank2 {
		return rank1 < rank2
	}
	return sequence1 < sequence2
}

// fifo holds a customer's items in order. Items mostly come and go at its ends.
type fifo struct {
	items []Item
	head  int
}

func (f *fifo) len() int      { return len(f.items) - f.head }
func (f *fifo) at(i int) Item { return f.items[f.head+i] }

func (f *fifo) insert(item Item) bool {
	if n := len(f.items); n == f.head || compareItems(f.items[n-1], item) < 0 {
		f.items = append(f.items, item)
		return true
	}
	at, found := slices.BinarySearchFunc(f.items[f.head:], item, compareItems)
	if !found {
		f.items = slices.Insert(f.items, f.head+at, item)
	}
	return !found
}

func (f *fifo) merge(items []Item) {
	items = append(items, f.items[f.head:]...)
	slices.SortFunc(items, compareItems)
	*f = fifo{items: slices.Compact(items)}
}

func (f *fifo) remove(item Item) bool {
	at, found := slices.BinarySearchFunc(f.items[f.head:], item, compareItems)
	if found {
		f.items = slices.Delete(f.items, f.head+at, f.head+at+1)
	}
	return found
}

// pop drops the first item, and the space before it once that is most of the slice.
func (f *fifo) pop() {
	f.head++
	switch {
	case f.len() == 0 && cap(f.items) <= 64:
		*f = fifo{items: f.items[:0]}
	case f.len() == 0:
		*f = fifo{}
	case f.head > 64 && f.head > len(f.items)/2:
		*f = fifo{items: slices.Clone(f.items[f.head:])}
	}
}
