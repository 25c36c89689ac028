package scheduling

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// crowd returns a state with many active customers of different weights, an agenda of one of them, and three lookers that look at
// all: an explanation of the agenda, a certificate, and a preview of a change.
func crowd(settings Settings, customers int) (s *State, it Item, lookers map[string]func()) {
	s = New(settings)
	for i := range 5 * customers {
		it = item(int64(i))
		it.Priority = int8(i % 7 % 3)
		s.Add(later, fmt.Sprint(i%customers), weight(float64(1+i%4)), it)
	}
	last := fmt.Sprint(customers - 1)
	return s, it, map[string]func(){
		"explain":     func() { s.Explain(later, last, it) },
		"certificate": func() { s.Certificate(later, 20) },
		"preview":     func() { s.Preview(later, 20, Change{Policies: map[string]Policy{last: weight(9)}}) },
	}
}

// Nobody who waits for the state waits for more customers to be looked at than a stretch.
func TestWhoLooksAtAllCustomersRestsAfterEachStretch(t *testing.T) {
	t.Parallel()
	const customers = 20*stretch + 5
	s, _, lookers := crowd(Settings{}, customers)
	for name, look := range lookers {
		rests := 0
		s.Rest = func() { rests++ }
		look()
		if rests != 20 {
			t.Errorf("%s rests %d times with %d customers, want once for each %d", name, rests, customers, stretch)
		}
	}
}

// What is served meanwhile shows in part: the place is one that the agenda has had.
func TestAPlaceIsOneThatTheAgendaHadWhileItWasExplained(t *testing.T) {
	t.Parallel()
	for algorithm := range Algorithm(4) {
		moved := false
		for seed := range uint64(20) {
			random := rand.New(rand.NewPCG(seed, uint64(algorithm)))
			s, it, _ := crowd(Settings{Algorithm: algorithm, Aging: time.Microsecond}, 5*stretch)
			name := fmt.Sprint(5*stretch - 1)
			first, _ := s.Explain(later, name, it)
			s.Rest = func() { s.Serve(later, random.IntN(150)) }
			seen, ok := s.Explain(later, name, it)
			s.Rest = nil
			last, still := s.Explain(later, name, it)
			if !ok || !still {
				t.Fatalf("algorithm %d, seed %d: the agenda was served too soon to tell", algorithm, seed)
			}
			if seen.Ahead > first.Ahead || seen.Ahead < last.Ahead {
				t.Errorf("algorithm %d, seed %d: behind %d, though it went from %d to %d", algorithm, seed, seen.Ahead, first.Ahead, last.Ahead)
			}
			moved = moved || seen.Ahead < first.Ahead
		}
		if !moved {
			t.Errorf("algorithm %d: nothing that was served meanwhile shows", algorithm)
		}
	}
}

// A change of algorithm in the middle is not mixed up with what was seen before it.
func TestWhoLooksAtAllCustomersBeginsAnewAfterAChangeOfAlgorithm(t *testing.T) {
	t.Parallel()
	s, it, _ := crowd(Settings{}, 5*stretch)
	s.Serve(later, 500)
	name, change := fmt.Sprint(5*stretch-1), Change{Policies: map[string]Policy{"7": weight(9)}}
	type seen struct {
		Explanation Explanation
		Certificate Certificate
		Preview     []Pick
	}
	look := func(change Change) (v seen) {
		v.Explanation, _ = s.Explain(later, name, it)
		v.Certificate = s.Certificate(later, 20)
		v.Preview = s.Preview(later, 50, change)
		return v
	}
	algorithm := WeightedFair
	s.Rest = func() {
		if s.settings.Algorithm == algorithm {
			s.Configure(later, Settings{Algorithm: algorithm + 1})
		}
	}
	explanation, _ := s.Explain(later, name, it)
	algorithm++
	certificate := s.Certificate(later, 20)
	algorithm++
	preview := s.Preview(later, 50, change)
	s.Rest = nil
	if diff := cmp.Diff(look(change).Preview, preview); diff != "" {
		t.Errorf("the preview is not that under the last algorithm: %s", diff)
	}
	s.Configure(later, Settings{Algorithm: Priority})
	if diff := cmp.Diff(look(change).Certificate, certificate); diff != "" {
		t.Errorf("the certificate is not that under the third algorithm: %s", diff)
	}
	s.Configure(later, Settings{Algorithm: RoundRobin})
	if diff := cmp.Diff(look(change).Explanation, explanation); diff != "" {
		t.Errorf("the explanation is not that under the second algorithm: %s", diff)
	}
}

// Whatever is done while somebody looks, the books stay right, and what is shown was there.
func TestAnythingMayHappenWhileSomebodyLooksAtAllCustomers(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 5))
	s, _, lookers := crowd(Settings{}, 5*stretch)
	next, flights := int64(1e6), []ID{}
	s.Rest = func() {
		for _, p := range s.Serve(later, random.IntN(100)) {
			flights = append(flights, p.Item.ID)
		}
		for range random.IntN(100) {
			next++
			s.Add(later, fmt.Sprint(random.IntN(10*stretch)), weight(1), item(next))
		}
		for len(flights) > 200 {
			s.Finish(later, flights[0])
			flights = flights[1:]
		}
		s.SetPolicy(later, fmt.Sprint(random.IntN(5*stretch)), Policy{Weight: float64(1 + random.IntN(3)), Cap: random.IntN(3)})
		if random.IntN(10) == 0 {
			s.forget()
		}
	}
	for range 50 {
		for _, name := range slices.Sorted(maps.Keys(lookers)) {
			lookers[name]()
		}
		shown := map[Item]bool{}
		for _, p := range s.Preview(later, 50, Change{Settings: &Settings{Algorithm: Priority}}) {
			if shown[p.Item] {
				t.Fatalf("a preview shows %v twice", p)
			}
			shown[p.Item] = true
		}
		if cert := s.Certificate(later, 5); !cert.Holds {
			t.Fatalf("the certificate says that its bound does not hold: %+v", cert)
		}
	}
	s.Rest = nil
	waiting, active := 0, 0
	for _, c := range s.customers {
		waiting += c.waiting()
		if c.position >= 0 {
			active++
		}
	}
	if waiting != s.Waiting() || active != s.Active() {
		t.Errorf("%d wait and %d customers are active, the books say %d and %d", waiting, active, s.Waiting(), s.Active())
	}
}

// BenchmarkPassBeside measures how long a pass of 64 waits for the state while somebody looks at all customers without a break.
func BenchmarkPassBeside(b *testing.B) {
	for _, active := range []int{1e2, 1e5} {
		for _, name := range []string{"nobody", "explain", "certificate", "preview"} {
			for _, rests := range []bool{false, true} {
				if name == "nobody" && rests {
					continue
				}
				b.Run(fmt.Sprintf("active=%d/%s/rests=%t", active, name, rests), func(b *testing.B) {
					s, _, lookers := crowd(Settings{}, active)
					var mu sync.Mutex
					if rests {
						s.Rest = func() { mu.Unlock(); runtime.Gosched(); mu.Lock() }
					}
					var looking sync.WaitGroup
					over := make(chan struct{})
					looking.Go(func() {
						for look := lookers[name]; look != nil; {
							select {
							case <-over:
								return
							default:
								mu.Lock()
								look()
								mu.Unlock()
							}
						}
					})
					next := int64(5 * active)
					var waits []time.Duration
					for b.Loop() {
						<-time.After(200 * time.Microsecond)
						start := time.Now()
						mu.Lock()
						waits = append(waits, time.Since(start))
						pass(s, &next)
						mu.Unlock()
					}
					close(over)
					looking.Wait()
					slices.Sort(waits)
					b.ReportMetric(float64(waits[len(waits)/2].Microseconds()), "µs-p50")
					b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "µs-p99")
				})
			}
		}
	}
}
