package scheduling

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// world is a planner with slots that run what it serves, under a clock of its own.
type world struct {
	state   *State
	slots   int
	runTime func(customer string) int64
	now     int64
	next    int64
	running []run // in order of their ends
	order   []string
	waits   map[string][]int // services before the customer's own since it submitted, per agenda
	busy    map[string]int64 // slot time
	at      map[ID]int       // services at submission

	submitted, served map[ID]string // customers
}

type run struct {
	ends, began int64
	customer    string
	id          ID
}

func newWorld(settings Settings, slots int) *world {
	return &world{
		state: New(settings), slots: slots, runTime: func(string) int64 { return second },
		waits: map[string][]int{}, busy: map[string]int64{}, at: map[ID]int{},
		submitted: map[ID]string{}, served: map[ID]string{},
	}
}

func (w *world) submit(n int, customer string, p Policy) {
	for range n {
		w.next++
		it := item(w.next)
		it.Ready = w.now
		w.at[it.ID] = len(w.order)
		w.submitted[it.ID] = customer
		w.state.Add(w.now, customer, p, it)
	}
}

// turn fills the free slots, and lets the next agenda end.
func (w *world) turn() bool {
	picks := w.state.Serve(w.now, w.slots-len(w.running))
	for _, p := range picks {
		w.state.SetInFlight(w.now, p.Customer, w.state.customers[p.Customer].policy, p.Item, max(w.now, 1))
		w.waits[p.Customer] = append(w.waits[p.Customer], len(w.order)-w.at[p.Item.ID])
		w.order = append(w.order, p.Customer)
		w.served[p.Item.ID] = p.Customer
		r := run{w.now + w.runTime(p.Customer), w.now, p.Customer, p.Item.ID}
		at, _ := slices.BinarySearchFunc(w.running, r, func(a, b run) int { return int(min(1, max(-1, a.ends-b.ends))) })
		w.running = slices.Insert(w.running, at, r)
	}
	if len(w.running) == 0 {
		return false
	}
	r := w.running[0]
	w.running = w.running[1:]
	w.now = r.ends
	w.busy[r.customer] += r.ends - r.began
	w.state.Finish(w.now, r.id)
	return true
}

func (w *world) drain() {
	for w.turn() {
	}
}

// conserved checks that of what was submitted, each agenda was served once or still waits, and nobody was served anything else.
func (w *world) conserved(t *testing.T) {
	t.Helper()
	if in, out := len(w.submitted), len(w.order); in != out+w.state.Waiting() {
		t.Errorf("%d agendas were submitted, %d served, and %d wait", in, out, w.state.Waiting())
	}
	for id, customer := range w.served {
		if w.submitted[id] != customer {
			t.Errorf("an agenda of %q was served as one of %q", w.submitted[id], customer)
		}
	}
	if len(w.served) != len(w.order) {
		t.Errorf("%d agendas were served %d times", len(w.served), len(w.order))
	}
}

func jain(xs ...float64) float64 {
	var sum, squares float64
	for _, x := range xs {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(xs)) * squares)
}

func median(xs []int) int {
	xs = slices.Sorted(slices.Values(xs))
	return xs[len(xs)/2]
}

// Each customer's average share of the slots is within a tenth of what its weight says; without control it is not.
func TestUniformFlowsGetTheirSharesOfTheSlots(t *testing.T) {
	t.Parallel()
	weights := map[string]float64{"a": 1, "b": 1, "c": 2, "d": 4}
	share := func(algorithm Algorithm) (worst float64) {
		w := newWorld(Settings{Algorithm: algorithm}, 16)
		random := rand.New(rand.NewPCG(1, 1))
		w.runTime = func(string) int64 { return int64(random.ExpFloat64() * float64(second)) }
		for name, weight := range weights {
			w.submit(map[string]int{"a": 20_000}[name]+10_000, name, Policy{Weight: weight})
		}
		for range 15_000 {
			w.turn()
		}
		w.conserved(t)
		total := 0.0
		for _, busy := range w.busy {
			total += float64(busy)
		}
		for name, weight := range weights {
			ideal := weight / 8
			worst = max(worst, math.Abs(float64(w.busy[name])/total-ideal)/ideal)
		}
		return worst
	}
	if worst := share(WeightedFair); worst > 0.1 {
		t.Errorf("a customer is %.0f %% from its share", 100*worst)
	}
	if worst := share(FirstInFirstOut); worst < 0.1 {
		t.Errorf("the check does not notice that there is no control: %.0f %%", 100*worst)
	}
}

// One customer floods, others have little.
func TestSkewDoesNotDelayTheLightCustomers(t *testing.T) {
	t.Parallel()
	position := func(algorithm Algorithm) (worst float64) {
		w := newWorld(Settings{Algorithm: algorithm, QueueSize: 10}, 32)
		w.submit(9000, "noisy", weight(1))
		for i := range 99 {
			w.submit(10+i%2, fmt.Sprint("light", i), weight(1))
		}
		w.drain()
		w.conserved(t)
		for i, name := range w.order {
			if name != "noisy" {
				worst = float64(i) / float64(len(w.order))
			}
		}
		return worst
	}
	if worst := position(WeightedFair); worst > 0.11 {
		t.Errorf("the last agenda of a light customer is at %.3f of the order", worst)
	}
	if worst := position(FirstInFirstOut); worst < 0.99 {
		t.Errorf("first in, first out has it at %.3f: the scenario is too easy", worst)
	}
}

// A customer that submits one agenda now and then waits for one agenda of each other at most.
func TestATrickleIsServedAtOnce(t *testing.T) {
	t.Parallel()
	longest := func(algorithm Algorithm) int {
		w := newWorld(Settings{Algorithm: algorithm}, 4)
		for i := range 20 {
			w.submit(500, fmt.Sprint("heavy", i), weight(1))
		}
		for i := range 4000 {
			if i%37 == 0 {
				w.submit(1, "trickle", weight(1))
			}
			w.turn()
		}
		w.drain()
		w.conserved(t)
		return slices.Max(w.waits["trickle"])
	}
	if worst := longest(WeightedFair); worst > 20 {
		t.Errorf("an agenda waited for %d others, among 20 other customers", worst)
	}
	if worst := longest(FirstInFirstOut); worst < 5000 {
		t.Errorf("first in, first out lets one wait for %d: the scenario is too easy", worst)
	}
}

// A customer that calls itself many names inside its agendas is still one customer.
func TestASybilGetsNoMoreThanOneShare(t *testing.T) {
	t.Parallel()
	light := func(algorithm Algorithm) int {
		w := newWorld(Settings{Algorithm: algorithm}, 1)
		for range 20 { // sub-keys of one customer
			w.submit(100, "sybil", weight(1))
		}
		w.submit(100, "light", weight(1))
		w.drain()
		w.conserved(t)
		return count(w.order[:200])["light"]
	}
	if n := light(WeightedFair); n < 99 {
		t.Errorf("the light customer got %d of 200", n)
	}
	if n := light(FirstInFirstOut); n > 0 {
		t.Errorf("first in, first out gives it %d: the scenario is too easy", n)
	}
}

// More customers than a pass takes agendas: all are served before any is served again.
func TestManyMoreCustomersThanAPassHoldsAreAllServed(t *testing.T) {
	t.Parallel()
	const customers = 5000
	least := func(algorithm Algorithm) int {
		w := newWorld(Settings{Algorithm: algorithm, QueueSize: 10}, 10)
		for i := range customers {
			w.submit(3, fmt.Sprint(i), weight(1))
		}
		w.drain()
		w.conserved(t)
		least := customers
		for round := range 3 {
			least = min(least, len(count(w.order[round*customers:(round+1)*customers])))
		}
		return least
	}
	if n := least(WeightedFair); n != customers {
		t.Errorf("a round serves %d of %d customers", n, customers)
	}
	if n := least(FirstInFirstOut); n > customers/2 {
		t.Errorf("first in, first out serves %d: the scenario is too easy", n)
	}
}

// Where all are alike, fair order does no harm: it is the order of arrival.
func TestBalancedLoadIsServedAsFirstInFirstOutWould(t *testing.T) {
	t.Parallel()
	orders := [2][]string{}
	for i, algorithm := range []Algorithm{WeightedFair, FirstInFirstOut} {
		w := newWorld(Settings{Algorithm: algorithm}, 8)
		for range 500 {
			for c := range 8 {
				w.now++
				w.submit(1, fmt.Sprint(c), weight(1))
			}
		}
		w.drain()
		w.conserved(t)
		orders[i] = w.order
	}
	if !slices.Equal(orders[0], orders[1]) {
		t.Error("the orders differ")
	}
}

// Work is never held back for customers that have none: a lone customer drains at the full rate.
func TestALoneCustomerDrainsInExactlyAsManyStepsAsItNeeds(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{WeightedFair, RoundRobin, Priority, FirstInFirstOut} {
		w := newWorld(Settings{Algorithm: algorithm}, 10)
		for i := range 200 {
			w.submit(1, fmt.Sprint("idle", i), weight(100))
		}
		w.drain()
		start := w.now
		w.submit(1000, "heavy", Policy{Weight: 0.01})
		w.drain()
		w.conserved(t)
		if steps := (w.now - start) / second; steps != 100 {
			t.Errorf("algorithm %d: 1000 agendas on 10 slots took %d steps", algorithm, steps)
		}
	}
}

// Counting agendas gives a customer of long ones most of the slots. Charging run times gives each its share of the slots' time.
func TestCustomersShareTheTimeOfTheSlotsIfCostsAreRunTimes(t *testing.T) {
	t.Parallel()
	measure := func(cost Cost) (float64, Certificate) {
		w := newWorld(Settings{Cost: cost}, 10)
		random := rand.New(rand.NewPCG(3, 3))
		mean := map[string]float64{"long": 100, "middle": 10, "short": 1}
		w.runTime = func(c string) int64 { return int64(mean[c] * random.ExpFloat64() * float64(second)) }
		w.submit(3_000, "long", weight(1))
		w.submit(30_000, "middle", weight(1))
		w.submit(300_000, "short", weight(1))
		for w.now < 20_000*second {
			w.turn()
		}
		return jain(float64(w.busy["long"]), float64(w.busy["middle"]), float64(w.busy["short"])), w.state.Certificate(w.now, 3)
	}
	if index, _ := measure(PerAgenda); index > 0.6 {
		t.Errorf("counting agendas gives %.3f: the scenario is too easy", index)
	}
	index, cert := measure(RunTime)
	if index < 0.99 {
		t.Errorf("Jain's index of the slots' time is %.4f", index)
	}
	if !cert.Holds || cert.Lag <= 0 || cert.Lag > cert.Bound {
		t.Errorf("the certificate: lag %v, bound %v", cert.Lag, cert.Bound)
	}
	t.Logf("Jain's index of the slots' time is %.4f; lag %v s, bound %v s", index, cert.Lag, cert.Bound)
}

func TestACustomerPaysForWhatItsAgendasTookMoreThanTheyWereThoughtTo(t *testing.T) {
	t.Parallel()
	w := newWorld(Settings{Cost: RunTime}, 1)
	w.runTime = func(c string) int64 { return map[string]int64{"long": 100, "short": 1}[c] * second }
	w.submit(10, "long", weight(1)) // the first is charged a second, as nothing has been measured
	w.submit(1000, "short", weight(1))
	for range 101 {
		w.turn()
	}
	if got := count(w.order); got["long"] != 1 || got["short"] != 100 {
		t.Errorf("after one agenda of 100 s: %v", got)
	}
}

func TestWaitsUnderContentionAreShortForWhoAsksForLittle(t *testing.T) {
	t.Parallel()
	w := newWorld(Settings{}, 1)
	w.submit(10_000, "heavy", weight(1))
	for range 100 {
		w.submit(1, "light", weight(1))
		for range 5 {
			w.turn()
		}
	}
	if m := median(w.waits["light"]); m > 1 {
		t.Errorf("half of the light customer's agendas wait for more than %d others", m)
	}
}

func TestALiveChangeOfAlgorithmTakesEffectInTheNextPassAndBack(t *testing.T) {
	t.Parallel()
	s := New(Settings{Algorithm: FirstInFirstOut})
	for i := range 100 {
		s.Add(later, "early", weight(1), item(int64(i)))
	}
	for i := range 100 {
		s.Add(later, "late", weight(1), item(int64(1000+i)))
	}
	if n := count(serve(s, 20, 20))["late"]; n != 0 {
		t.Errorf("first in, first out: the late customer got %d of 20", n)
	}
	s.Configure(later, Settings{Algorithm: WeightedFair})
	if n := count(serve(s, 20, 20))["late"]; n != 10 {
		t.Errorf("fair: the late customer got %d of 20, want 10: it has no credit and no debt", n)
	}
	s.Configure(later, Settings{Algorithm: FirstInFirstOut})
	if n := count(serve(s, 20, 20))["late"]; n != 0 {
		t.Errorf("first in, first out again: the late customer got %d of 20", n)
	}
}
