package scheduling

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// item returns an agenda that became ready at a time, which is also its id.
func item(ready int64) Item {
	it := Item{Ready: ready}
	binary.BigEndian.PutUint64(it.ID[8:], uint64(ready))
	return it
}

// later is a time at which all agendas of tests are ready that need no other.
const later = 1 << 40

// Plan returns what [State.Serve] would serve, by the other way of [State.Preview].
func (s *State) Plan(now int64, n int) []Pick {
	s.advance(now)
	return s.plan(min(n, s.room()))
}

func weight(w float64) Policy { return Policy{Weight: w} }

// serve serves n agendas, one pass of the given size after the other and returns the customers in order. All of them
// end at once.
func serve(s *State, n, pass int) []string {
	var served []string
	for len(served) < n {
		picks := s.Serve(later, min(pass, n-len(served)))
		if len(picks) == 0 {
			break
		}
		for _, p := range picks {
			s.Finish(later, p.Item.ID)
			served = append(served, p.Customer)
		}
	}
	return served
}

// flood gives customers of weight 1 so many agendas each.
func flood(s *State, n int, customers ...string) {
	for i := range n {
		for c, name := range customers {
			s.Add(later, name, weight(1), item(int64(i*len(customers)+c+1)))
		}
	}
}

func count(served []string) map[string]int {
	counts := map[string]int{}
	for _, name := range served {
		counts[name]++
	}
	return counts
}

func TestFirstInFirstOutServesByReadinessWhoeverTheCustomerAndWhateverThePriority(t *testing.T) {
	t.Parallel()
	s := New(Settings{Algorithm: FirstInFirstOut, Aging: 1000})
	for i, customer := range []string{"a", "b", "a", "a", "c", "b"} {
		it := item(int64(i))
		it.Priority = int8(i)
		s.Add(later, customer, weight(1), it)
	}
	if diff := cmp.Diff([]string{"a", "b", "a", "a", "c", "b"}, serve(s, 6, 4)); diff != "" {
		t.Error(diff)
	}
}

func TestRoundRobinTakesOneOfEachCustomerInTurnWhateverTheWeight(t *testing.T) {
	t.Parallel()
	s := New(Settings{Algorithm: RoundRobin})
	for i := range 4 {
		s.Add(later, "flood", weight(100), item(int64(i)))
	}
	s.Add(later, "b", weight(1), item(10))
	s.Add(later, "c", weight(1), item(11))
	if diff := cmp.Diff([]string{"flood", "b", "c", "flood", "flood", "flood"}, serve(s, 6, 6)); diff != "" {
		t.Error(diff)
	}
}

func TestPriorityServesTheMoreUrgentFirstAndEverybodyInTheEnd(t *testing.T) {
	t.Parallel()
	s := New(Settings{Algorithm: Priority, Aging: 100})
	urgent := func(ready int64, priority int8) Item {
		it := item(ready)
		it.Priority = priority
		return it
	}
	s.Add(later, "old", weight(1), urgent(0, 0))
	s.Add(later, "urgent", weight(1), urgent(198, 2))
	s.Add(later, "urgent but too late", weight(1), urgent(201, 2))
	s.Add(later, "less urgent", weight(1), urgent(99, 1))
	want := []string{"urgent", "less urgent", "old", "urgent but too late"}
	if diff := cmp.Diff(want, serve(s, 4, 4)); diff != "" {
		t.Errorf("an agenda is passed by those that become ready within 100 for each step of priority: %s", diff)
	}
}

func TestPriorityOrdersTheAgendasOfACustomerUnderAnAlgorithmThatSharesBetweenCustomers(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{WeightedFair, RoundRobin} {
		s := New(Settings{Algorithm: algorithm, Aging: 100})
		urgent := item(50)
		urgent.Priority = 1
		s.Add(later, "a", weight(1), item(1))
		s.Add(later, "a", weight(1), urgent)
		s.Add(later, "b", weight(1), item(2))
		want := []Pick{{"a", urgent}, {"b", item(2)}, {"a", item(1)}}
		if diff := cmp.Diff(want, s.Plan(later, 3)); diff != "" {
			t.Errorf("algorithm %d: %s", algorithm, diff)
		}
	}
}

func TestANewAgingOrdersWhatWaitsAnew(t *testing.T) {
	t.Parallel()
	s := New(Settings{Algorithm: Priority, Aging: 10})
	urgent := item(50)
	urgent.Priority = 1
	for i := range 2000 {
		s.Add(later, "a", weight(1), item(int64(100+i)))
	}
	s.Add(later, "a", weight(1), item(1))
	s.Add(later, "a", weight(1), urgent)
	if got := s.Plan(later, 1)[0].Item; got != item(1) {
		t.Errorf("with an aging of 10, %v is first", got)
	}
	s.Configure(later, Settings{Algorithm: Priority, Aging: 100})
	if got := s.Plan(later, 1)[0].Item; got != urgent {
		t.Errorf("with an aging of 100, %v is first", got)
	}
}

// The original restarted its rotation with each pass, so that customers drifted apart without bound when a pass was no multiple of
// their number.
func TestCustomersDoNotDriftApartWhenPassesAreNoMultipleOfTheirNumber(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{WeightedFair, RoundRobin} {
		s := New(Settings{Algorithm: algorithm})
		const rounds = 2000
		flood(s, 5*rounds, "a", "b", "c")
		counts := count(serve(s, 5*rounds, 5))
		if worst := max(counts["a"], counts["b"], counts["c"]) - min(counts["a"], counts["b"], counts["c"]); worst > 1 {
			t.Errorf("algorithm %d: customers are %d agendas apart: %v", algorithm, worst, counts)
		}
	}
}

func TestANewWeightCountsFromTheNextAgendaOn(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 1000, "a", "b")
	serve(s, 100, 10)
	s.SetPolicy(later, "a", weight(4))
	if counts := count(serve(s, 500, 10)); counts["a"] < 399 || counts["a"] > 401 {
		t.Errorf("a, of weight 4 against 1, got %d of 500, want 400", counts["a"])
	}
}

// An agenda served at a tiny weight raises the tag far. What is owed is one agenda, and stays one at any other weight.
func TestADebtIsACostAndDoesNotGrowWithTheWeight(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 1000, "a", "b")
	s.SetPolicy(later, "a", weight(0.001))
	for !slices.Contains(serve(s, 1, 1), "a") {
	}
	s.SetPolicy(later, "a", weight(1))
	if counts := count(serve(s, 100, 10)); counts["a"] < 49 {
		t.Errorf("a got %d of 100 after its weight was made that of b", counts["a"])
	}
}

func TestLeavingAndReturningForgivesNoDebtAndGivesNoCredit(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 101, "steady", "other")
	serve(s, 100, 7)
	for i := range 100 { // away all the time until now
		s.Add(later, "newcomer", weight(1), item(int64(1000+i)))
	}
	got := serve(s, 9, 3)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"newcomer", "newcomer", "newcomer", "other", "other", "other", "steady", "steady", "steady"}, got); diff != "" {
		t.Errorf("a newcomer must be served like the others: %s", diff)
	}

	s.SetPolicy(later, "newcomer", weight(0.1))
	for !slices.Contains(serve(s, 1, 1), "newcomer") {
	}
	for _, p := range s.Preview(later, 1000, Change{}) {
		if p.Customer == "newcomer" {
			s.Remove(later, "newcomer", p.Item)
		}
	}
	s.Add(later, "newcomer", weight(0.1), item(5000))
	for i, customer := range serve(s, 18, 1) {
		if customer == "newcomer" {
			t.Errorf("a customer of a tenth of the others' weight left and was served again after %d agendas", i)
		}
	}
}

func TestRemoveAndAddAreIdempotent(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	if !s.Add(later, "a", weight(1), item(1)) || s.Add(later, "a", weight(1), item(1)) {
		t.Error("Add must report an agenda as new exactly once")
	}
	if !s.Remove(later, "a", item(1)) || s.Remove(later, "a", item(1)) || s.Remove(later, "b", item(1)) {
		t.Error("Remove must report an agenda as there exactly once")
	}
	if s.Waiting() != 0 || s.Active() != 0 {
		t.Errorf("%d agendas of %d customers wait, want none", s.Waiting(), s.Active())
	}
}

func TestAnAgendaIsWaitingOrInFlightAndNeverBoth(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	s.Add(later, "a", weight(1), item(1))
	s.SetInFlight(later, "a", weight(1), item(1), 0) // served by the owner before
	if all, queued := s.InFlight(); s.Waiting() != 0 || all != 1 || queued != 1 {
		t.Errorf("%d wait, %d are in flight, %d of them queued; want 0, 1, 1", s.Waiting(), all, queued)
	}
	s.SetInFlight(later, "a", weight(1), item(1), 5)
	s.SetInFlight(later, "a", weight(1), item(1), 0) // late news
	if all, queued := s.InFlight(); all != 1 || queued != 0 {
		t.Errorf("%d are in flight, %d of them queued; want 1, 0", all, queued)
	}
	s.Add(later, "a", weight(1), item(2))
	again := item(1)
	again.Ready = 7 // the attempt failed
	s.Add(later, "a", weight(1), again)
	if all, queued := s.InFlight(); s.Waiting() != 2 || all != 0 || queued != 0 {
		t.Errorf("%d wait, %d are in flight, %d of them queued; want 2, 0, 0", s.Waiting(), all, queued)
	}
	if s.Finish(later, item(1).ID) || s.Refund(later, item(1).ID) {
		t.Error("an agenda that waits cannot end")
	}
}

func TestAnAgendaThatIsInLineTwiceIsServedOnce(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	twin := item(1)
	twin.Ready = 9
	for _, it := range []Item{item(1), twin, item(10)} {
		s.Add(later, "a", Policy{Weight: 1, Cap: 2}, it)
	}
	served := s.Serve(later, 9)
	if diff := cmp.Diff([]Pick{{"a", item(1)}, {"a", item(10)}}, served); diff != "" {
		t.Error(diff)
	}
	s.Finish(later, item(1).ID)
	s.Add(later, "a", Policy{Weight: 1, Cap: 2}, item(11))
	if n := len(s.Serve(later, 9)); n != 1 {
		t.Errorf("%d served, want 1: the twin has used up nothing of the cap", n)
	}
	if v, _ := s.Service(later, "a"); v.InFlight != 2 || s.Waiting() != 0 {
		t.Errorf("%d are in flight, want 2, and %d wait, want 0", v.InFlight, s.Waiting())
	}
}

func TestCustomersWithoutAgendasAreForgottenUnlessSomethingIsLeftToRemember(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 10, "steady")
	for i := range 20 * drainedSlack {
		name := fmt.Sprint("passer-by ", i)
		s.Add(later, name, weight(1), item(int64(100+i)))
		s.Remove(later, name, item(int64(100+i)))
	}
	if n := len(s.customers); n > 2*drainedSlack {
		t.Errorf("%d customers are remembered", n)
	}
	limited := Policy{Weight: 1, Rate: Rate{Count: 1, Per: 3600 * 1e9}}
	s.Add(later, "limited", limited, item(50))
	serve(s, 2, 2)
	s.forget()
	s.Add(later, "limited", limited, item(51))
	if e, ok := s.Explain(later, "limited", item(51)); !ok || len(e.Causes) == 0 || e.Causes[0].Reason != RateLimit {
		t.Errorf("a customer's use of its rate was forgotten: %+v", e)
	}
}

func TestTagsNeverOverflow(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	const customers = 3
	names := []string{"a", "b", "c"}
	flood(s, 1000, names...)
	s.virtual = maxVirtual - 5*tagOne
	for _, c := range s.customers {
		c.tag = s.virtual
	}
	s.rank()
	served := serve(s, 300, 7)
	if s.virtual > maxVirtual/2 {
		t.Error("tags were not moved down")
	}
	for i := range len(served) - customers {
		if len(count(served[i:i+customers])) != customers {
			t.Fatalf("a customer was passed over around service %d: %v", i, served[i:i+customers])
		}
	}
}
