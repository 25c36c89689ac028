package scheduling

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func item(score int64) Item {
	it := Item{Score: score}
	binary.BigEndian.PutUint64(it.ID[8:], uint64(score))
	return it
}

// serve plans and commits n agendas one pass of the given size after the other and returns the customers in order.
func serve(s *State, n, pass int) []string {
	var served []string
	for len(served) < n {
		picks := s.Plan(min(pass, n-len(served)))
		if len(picks) == 0 {
			break
		}
		s.Commit(picks)
		for _, p := range picks {
			served = append(served, p.Customer)
		}
	}
	return served
}

func TestFirstInFirstOutServesByScoreWhoeverTheCustomer(t *testing.T) {
	t.Parallel()
	s := New(FirstInFirstOut)
	for i, customer := range []string{"a", "b", "a", "a", "c", "b"} {
		s.Add(customer, 1, item(int64(i)))
	}
	if diff := cmp.Diff([]string{"a", "b", "a", "a", "c", "b"}, serve(s, 6, 4)); diff != "" {
		t.Error(diff)
	}
}

func TestRoundRobinTakesOneOfEachCustomerInTurn(t *testing.T) {
	t.Parallel()
	s := New(RoundRobin)
	for i := range 4 {
		s.Add("flood", 1, item(int64(i)))
	}
	s.Add("b", 1, item(10))
	s.Add("c", 1, item(11))
	if diff := cmp.Diff([]string{"flood", "b", "c", "flood", "flood", "flood"}, serve(s, 6, 6)); diff != "" {
		t.Error(diff)
	}
}

// The original restarted its rotation with each pass, so that customers drifted apart without bound when a pass was no multiple of
// their number.
func TestRoundRobinDoesNotDriftWhenPassesAreNoMultipleOfTheCustomers(t *testing.T) {
	t.Parallel()
	s := New(RoundRobin)
	const rounds = 2000
	for i := range 5 * rounds {
		for _, customer := range []string{"a", "b", "c"} {
			s.Add(customer, 1, item(int64(i)))
		}
	}
	counts := map[string]int{}
	for _, customer := range serve(s, 5*rounds, 5) {
		counts[customer]++
	}
	if worst := max(counts["a"], counts["b"], counts["c"]) - min(counts["a"], counts["b"], counts["c"]); worst > 1 {
		t.Errorf("customers are %d agendas apart: %v", worst, counts)
	}
}

func TestANewWeightCountsFromTheNextAgendaOn(t *testing.T) {
	t.Parallel()
	s := New(WeightedFair)
	for i := range 1000 {
		s.Add("a", 1, item(int64(i)))
		s.Add("b", 1, item(int64(i)))
	}
	serve(s, 100, 10)
	s.SetWeight("a", 4)
	counts := map[string]int{}
	for _, customer := range serve(s, 500, 10) {
		counts[customer]++
	}
	if counts["a"] < 399 || counts["a"] > 401 {
		t.Errorf("a, of weight 4 against 1, got %d of 500, want 400", counts["a"])
	}
}

func TestLeavingAndReturningForgivesNoDebtAndGivesNoCredit(t *testing.T) {
	t.Parallel()
	s := New(WeightedFair)
	s.Add("steady", 1, item(0))
	for i := range 100 {
		s.Add("steady", 1, item(int64(i)))
		s.Add("other", 1, item(int64(i)))
	}
	serve(s, 100, 7)
	for i := range 100 { // away all the time until now
		s.Add("newcomer", 1, item(int64(1000+i)))
	}
	got := serve(s, 9, 3)
	slices.Sort(got)
	if diff := cmp.Diff([]string{"newcomer", "newcomer", "newcomer", "other", "other", "other", "steady", "steady", "steady"}, got); diff != "" {
		t.Errorf("a newcomer must be served like the others: %s", diff)
	}
}

func TestRemoveAndAddAreIdempotent(t *testing.T) {
	t.Parallel()
	s := New(WeightedFair)
	if !s.Add("a", 1, item(1)) || s.Add("a", 1, item(1)) {
		t.Error("Add must report an agenda as new exactly once")
	}
	if !s.Remove("a", item(1)) || s.Remove("a", item(1)) || s.Remove("b", item(1)) {
		t.Error("Remove must report an agenda as there exactly once")
	}
	if s.Waiting() != 0 || s.Active() != 0 {
		t.Errorf("%d agendas of %d customers wait, want none", s.Waiting(), s.Active())
	}
}

// history runs random commands on a state and hands each pass to check before it is committed.
func history(t *rapid.T, check func(s *State, picks []Pick)) {
	s := New(Algorithm(rapid.IntRange(0, 2).Draw(t, "algorithm")))
	customers := rapid.IntRange(1, 8).Draw(t, "customers")
	name := func() string { return fmt.Sprintf("c%d", rapid.IntRange(0, customers-1).Draw(t, "customer")) }
	score := int64(0)
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		switch rapid.SampledFrom([]string{"add", "add", "add", "addall", "late", "remove", "pass", "weight", "algorithm"}).Draw(t, "command") {
		case "add":
			score++
			s.Add(name(), rapid.Float64Range(0.1, 10).Draw(t, "weight"), item(score))
		case "addall":
			items := make([]Item, rapid.IntRange(0, 20).Draw(t, "items"))
			for i := range items {
				score++
				items[len(items)-1-i] = item(score)
			}
			s.AddAll(name(), 1, items)
		case "late":
			s.Add(name(), 1, item(rapid.Int64Range(0, score+1).Draw(t, "score")))
		case "remove":
			s.Remove(name(), item(rapid.Int64Range(0, score+1).Draw(t, "score")))
		case "weight":
			s.SetWeight(name(), rapid.Float64Range(0.1, 10).Draw(t, "weight"))
		case "algorithm":
			s.SetAlgorithm(Algorithm(rapid.IntRange(0, 2).Draw(t, "algorithm")))
		case "pass":
			picks := s.Plan(rapid.IntRange(0, 30).Draw(t, "size"))
			check(s, picks)
			s.Commit(picks)
		}
	}
	if check != nil {
		check(s, s.Plan(s.Waiting()))
	}
}

// The plan must equal what serving one agenda at a time gives, where each time all customers are looked at.
func TestAPlanEqualsServingOneByOneWithAFullScan(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history(t, func(s *State, picks []Pick) {
			model := clone(s)
			for i, pick := range picks {
				best := slices.MinFunc(model.active, func(a, b *customer) int {
					if before(a.rank, a.sequence, b.rank, b.sequence) {
						return -1
					}
					return 1
				})
				want := Pick{best.name, best.items.at(0)}
				if pick != want {
					t.Fatalf("pick %d is %v, a full scan takes %v", i, pick, want)
				}
				model.Commit([]Pick{want})
			}
		})
	})
}

func TestPlanChangesNothingAndIsWorkConserving(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		history(t, func(s *State, picks []Pick) {
			again := s.Plan(len(picks))
			if diff := cmp.Diff(picks, again); len(picks) > 0 && diff != "" {
				t.Fatalf("the same plan twice: %s", diff)
			}
			if got := len(s.Plan(s.Waiting() + 5)); got != s.Waiting() {
				t.Fatalf("%d agendas planned of %d that wait", got, s.Waiting())
			}
			sum := 0
			for _, c := range s.active {
				sum += c.items.len()
				if !slices.IsSortedFunc(c.items.items[c.items.head:], compareItems) {
					t.Fatalf("agendas of %s are out of order", c.name)
				}
			}
			if sum != s.Waiting() {
				t.Fatalf("%d agendas in line, %d counted", sum, s.Waiting())
			}
		})
	})
}

// Over any time in which two customers always have agendas waiting, what they were served over their weights differs by at most
// 1/w1 + 1/w2.
func TestWeightedFairKeepsTheLagBetweenBackloggedCustomersWithinItsBound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 6).Draw(t, "customers")
		weights := make([]float64, n)
		s := New(WeightedFair)
		for i := range weights {
			weights[i] = rapid.Float64Range(0.2, 8).Draw(t, "weight")
			for k := range 400 {
				s.Add(fmt.Sprint(i), weights[i], item(int64(k)))
			}
		}
		var order []int
		for _, name := range serve(s, 200, rapid.IntRange(1, 17).Draw(t, "pass")) {
			var i int
			_, _ = fmt.Sscan(name, &i)
			order = append(order, i)
		}
		for from := range 20 {
			served := make([]float64, n)
			for _, i := range order[from:] {
				served[i]++
				for a := range n {
					for b := range a {
						lag := served[a]/weights[a] - served[b]/weights[b]
						if bound := 1/weights[a] + 1/weights[b] + 1e-4; lag > bound || -lag > bound {
							t.Fatalf("customers of weight %g and %g are %g apart, at most %g is allowed", weights[a], weights[b], lag, bound)
						}
					}
				}
			}
		}
	})
}

func clone(s *State) *State {
	c := *s
	c.customers, c.active = map[string]*customer{}, make(ranking, len(s.active))
	for name, from := range s.customers {
		to := *from
		to.items = fifo{items: slices.Clone(from.items.items[from.items.head:])}
		c.customers[name] = &to
		if to.position >= 0 {
			c.active[to.position] = &to
		}
	}
	return &c
}

func BenchmarkPass(b *testing.B) {
	for _, waiting := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			s := New(WeightedFair)
			for i := range waiting {
				s.Add(fmt.Sprint(i%100), 1, item(int64(i)))
			}
			next := int64(waiting)
			b.ResetTimer()
			for range b.N {
				picks := s.Plan(64)
				s.Commit(picks)
				for _, p := range picks {
					next++
					s.Add(p.Customer, 1, item(next))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64), "ns/agenda")
		})
	}
}
