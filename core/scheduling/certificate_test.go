package scheduling

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// No lag that an auditor sees who compares all pairs over all intervals is larger than the one on the certificate, and that is
// within the bound.
func TestTheCertificateShowsAtLeastEveryLagThatThereWas(t *testing.T) {
	t.Parallel()
	tight := 0.0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 5))
		m := newMachine(random.IntN, Settings{Algorithm: Algorithm(seed % 2), Cost: Cost(seed / 2 % 2), QueueSize: 20}, 2+random.IntN(5), true)
		m.steady = true
		for range 1000 {
			m.step()
		}
		cert := m.state.Certificate(m.now, 10)
		if cert.Lag < m.audit.lag-1e-3 {
			t.Errorf("seed %d: the certificate shows a lag of %v, there was one of %v", seed, cert.Lag, m.audit.lag)
		}
		if !cert.Holds || cert.Lag > cert.Bound*1.001 {
			t.Errorf("seed %d: a lag of %v at a bound of %v, which is said to hold: %t", seed, cert.Lag, cert.Bound, cert.Holds)
		}
		tight = max(tight, m.audit.lag/cert.Lag)
	}
	if tight < 0.75 {
		t.Errorf("the lags on the certificate are never less than %.2f times those that there were", 1/tight)
	}
}

func TestWhatIsGivenBackLongAfterDoesNotWidenTheBound(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 1000, "a", "b")
	s.Add(later, "once", weight(1), item(5000))
	var id ID
	for _, p := range s.Serve(later, 3) {
		if p.Customer == "once" {
			id = p.Item.ID
		}
	}
	serve(s, 1000, 10)
	if !s.Refund(later, id) {
		t.Fatal("it is not in flight")
	}
	if cert := s.Certificate(later, 0); cert.Bound > 4 || !cert.Holds {
		t.Errorf("a lag of %v at a bound of %v, which is said to hold: %t", cert.Lag, cert.Bound, cert.Holds)
	}
}

// Whoever serves others than the plan says shows up on the certificate.
func TestTheCertificateShowsAPlannerThatIsNotFair(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 100, "favourite", "other")
	for range 50 {
		s.serveNext(s.customers["favourite"])
	}
	cert := s.Certificate(later, 2)
	if cert.Holds || cert.Lag < 49 || cert.Bound != 2 {
		t.Errorf("one of two customers was served 50 times in a row: a lag of %v at a bound of %v, which is said to hold: %t", cert.Lag, cert.Bound, cert.Holds)
	}
	if cert.Jain > 0.51 {
		t.Errorf("Jain's index is %v where one of two got all", cert.Jain)
	}
}

func TestFirstInFirstOutPromisesNothingAndIsMeasuredAllTheSame(t *testing.T) {
	t.Parallel()
	s := New(Settings{Algorithm: FirstInFirstOut})
	for i := range 1000 {
		s.Add(later, "early", weight(1), item(int64(i)))
	}
	for i := range 1000 {
		s.Add(later, "late", weight(1), item(int64(5000+i)))
	}
	serve(s, 900, 10)
	cert := s.Certificate(later, 2)
	if cert.Lag < 899 || cert.Bound != 0 || !cert.Holds || cert.Newcomer != -1 || cert.Jain > 0.51 {
		t.Errorf("lag %v, bound %v, newcomer %d, Jain %v", cert.Lag, cert.Bound, cert.Newcomer, cert.Jain)
	}
}

func TestJainsIndexIsNearlyOneWhateverTheWeights(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{WeightedFair, RoundRobin} {
		s := New(Settings{Algorithm: algorithm})
		for c := range 20 {
			for i := range 3000 {
				s.Add(later, fmt.Sprint(c), weight(float64(1+c%4)), item(int64(i*20+c)))
			}
		}
		serve(s, 10_000, 64)
		cert := s.Certificate(later, 0)
		if cert.Jain < 0.9999 || cert.JainCustomers != 20 || cert.JainServices < 1000 {
			t.Errorf("algorithm %d: Jain's index is %v over %d services of %d customers", algorithm, cert.Jain, cert.JainServices, cert.JainCustomers)
		}
	}
}

func TestJainsIndexLeavesOutWhoLeavesInTheMiddleOfTheWindow(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 1000, "a", "b")
	for i := range int64(200) {
		s.Add(later, "heavy", weight(10), item(5000+i))
	}
	serve(s, 230, 5) // heavy has almost run out, in the first window
	if cert := s.Certificate(later, 0); cert.JainCustomers != 3 || cert.Jain < 0.99 {
		t.Fatalf("Jain's index is %v over %d customers", cert.Jain, cert.JainCustomers)
	}
	serve(s, 200, 5)
	if cert := s.Certificate(later, 0); cert.JainCustomers != 2 || cert.Jain < 0.999 || cert.JainServices > 999 {
		t.Errorf("Jain's index is %v over %d customers and %d services", cert.Jain, cert.JainCustomers, cert.JainServices)
	}
}

func TestTheCertificateCountsAndNamesTheBusiestCustomers(t *testing.T) {
	t.Parallel()
	s := New(Settings{QueueSize: 7})
	for c := range 10 {
		for i := range c + 1 {
			s.Add(later, fmt.Sprint(c), Policy{Weight: 1, Cap: 1}, item(int64(100*c+i)))
		}
	}
	s.Add(later, "scheduled", weight(1), item(later+5))
	picks := s.Serve(later, 5)
	s.SetInFlight(later, picks[0].Customer, Policy{Weight: 1, Cap: 1}, picks[0].Item, later)
	cert := s.Certificate(later, 3)
	var top []string
	for _, c := range cert.Top {
		top = append(top, c.Name)
	}
	if diff := cmp.Diff([]string{"9", "8", "7"}, top); diff != "" {
		t.Error(diff)
	}
	got := []int{cert.Waiting, cert.InFlight, cert.Queued, cert.Active, cert.Parked, cert.Customers, cert.Newcomer, cert.Queue, int(cert.Served)}
	// The first five customers are served and at their caps, and the first of them has no more.
	if diff := cmp.Diff([]int{51, 5, 4, 5, 4, 10, 5, 7, 5}, got); diff != "" {
		t.Errorf("waiting, in flight, queued, active, parked, customers, newcomer, queue, served: %s", diff)
	}
	sum := cert.Other
	for _, c := range cert.Top {
		sum.Served, sum.Ready, sum.Later, sum.InFlight = sum.Served+c.Served, sum.Ready+c.Ready, sum.Later+c.Later, sum.InFlight+c.InFlight
	}
	if sum.Served != 5 || sum.Ready != 50 || sum.Later != 1 || sum.InFlight != 5 {
		t.Errorf("the busiest and the others together: %+v", sum)
	}
}

func TestServedAgendasAreStillCountedOnceTheirCustomersAreForgotten(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	for i := range 100 {
		s.Add(later, fmt.Sprint(i), weight(1), item(int64(i)))
	}
	serve(s, 100, 10)
	flood(s, 3, "steady") // moves the virtual time past their tags
	serve(s, 3, 1)
	before := s.Certificate(later, 0).Other.Served
	s.forget()
	cert := s.Certificate(later, 0)
	if len(s.customers) > 1 || cert.Other.Served != before || before != 103 || cert.Served != 103 {
		t.Errorf("%d customers are known, %d agendas counted, %d before", len(s.customers), cert.Other.Served, before)
	}
	if cert.Lag == 0 || !cert.Holds {
		t.Errorf("lag %v, bound %v", cert.Lag, cert.Bound)
	}
}

func TestParkedTimeIsCountedByReason(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	start := 1000 * second
	p := Policy{Weight: 1, Rate: Rate{Count: 1, Per: 10 * time.Second}}
	for i := range 9 {
		s.Add(start, "a", p, item(int64(i)))
	}
	drainAt(s, start)
	p.Paused = start + 100*second
	s.SetPolicy(start+4*second, "a", p) // in the middle of the wait for the rate
	v, ok := s.Service(start+104*second, "a")
	want := map[Reason]time.Duration{RateLimit: 4 * time.Second, CustomerPaused: 96 * time.Second}
	if diff := cmp.Diff(want, v.Parked); diff != "" || !ok {
		t.Error(diff)
	}
	drainAt(s, start+104*second)
	v, _ = s.Service(start+105*second, "a")
	if v.Held != RateLimit || v.Until != start+114*second || v.Parked[RateLimit] != 5*time.Second {
		t.Errorf("held by %v until %d, parked %v", v.Held, v.Until-start, v.Parked)
	}
}

func TestQuantilesOfDwellAreRightToTheWidthOfABucket(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(8, 8))
	for name, draw := range map[string]func() float64{
		"exponential around 5 ms": func() float64 { return random.ExpFloat64() * 5e6 },
		"even up to an hour":      func() float64 { return random.Float64() * 3.6e12 },
		"always a second":         func() float64 { return 1e9 },
	} {
		var d dwell
		var all []float64
		for i := range 12_000 {
			x := draw()
			d.add(time.Duration(x))
			if i >= 4000 { // the others are halved and soon gone
				all = append(all, x)
			}
		}
		slices.Sort(all)
		for _, q := range []float64{0.5, 0.9, 0.99} {
			want, got := all[int(q*float64(len(all)))], float64(d.quantile(q))
			if got < want*0.7 || got > want*1.42 {
				t.Errorf("%s: quantile %v is %v, want about %v", name, q, time.Duration(got), time.Duration(want))
			}
		}
	}
	if got := new(dwell).quantile(0.5); got != 0 {
		t.Errorf("nothing was served, the median is %v", got)
	}
}

func TestDwellIsTheTimeFromReadinessToService(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	for i := range int64(100) {
		s.Add(0, "a", weight(1), item(i*second)) // ready one after the other
	}
	for i := range int64(100) {
		s.Serve(i*second+second/2, 1)
	}
	v, _ := s.Service(100*second, "a")
	if v.P50 < 400*time.Millisecond || v.P50 > 600*time.Millisecond {
		t.Errorf("each was served half a second after it was ready, the median is %v", v.P50)
	}
}
