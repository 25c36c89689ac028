package scheduling

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"runtime"
	"testing"
	"time"
)

// fill returns a state with agendas that wait, of customers with different weights and limits that do not bite, and with customers
// that have been there and have nothing now.
func fill(waiting, customers, idle int) *State {
	s := New(Settings{QueueSize: 1 << 30})
	for i := range idle {
		name := fmt.Sprint("idle", i)
		s.Add(later, name, weight(1), item(1))
		s.Remove(later, name, item(1))
		s.customers[name].tag = 1 << 50 // it owes much, so it is remembered
	}
	items := make([]Item, waiting/customers)
	for c := range customers {
		for i := range items {
			items[i] = Item{Ready: int64(i*customers + c)}
			binary.BigEndian.PutUint64(items[i].ID[:], uint64(i*customers+c))
		}
		s.AddAll(later, fmt.Sprint(c), busyPolicy(c), items)
	}
	return s
}

func busyPolicy(c int) Policy {
	return Policy{
		Weight: float64(1 + c%5), Cap: 1 << 30, Rate: Rate{Count: 1e9, Per: time.Nanosecond, Burst: 1e6},
		Quota: Quota{Limit: 1 << 30, Per: time.Hour},
	}
}

// pass hands out 64 agendas and lets as many come, all of which have ended by the next pass.
func pass(s *State, next *int64) {
	picks := s.Serve(later, 64)
	for _, p := range picks {
		*next++
		it := Item{Ready: *next}
		binary.BigEndian.PutUint64(it.ID[:], uint64(*next))
		s.Add(later, p.Customer, s.customers[p.Customer].policy, it)
	}
	for _, p := range picks {
		s.Finish(later, p.Item.ID)
	}
}

// What a pass costs depends on what it takes and on how many customers are active, and on nothing else.
func TestAPassCostsTheSameWhateverWaitsAndHoweverManyAreIdle(t *testing.T) {
	t.Parallel()
	cost := func(waiting, idle, parked int) int {
		s := fill(waiting, 100, idle)
		for i := range parked {
			s.Add(later, fmt.Sprint("parked", i), Policy{Weight: 1, Paused: Forever}, item(int64(1e9+i)))
		}
		s.moves = 0
		next := int64(waiting)
		for range 20 {
			pass(s, &next)
		}
		return s.moves
	}
	want := cost(1e3, 0, 0)
	for _, size := range [][3]int{{1e4, 0, 0}, {1e5, 0, 0}, {1e6, 0, 0}, {1e3, 1e5, 0}, {1e3, 0, 1e5}, {1e6, 1e5, 1e5}} {
		// A customer of 10 agendas runs out of those it had at the start only in the smallest, where 20 passes take 12.8 of each.
		if got := cost(size[0], size[1], size[2]); got != want {
			t.Errorf("20 passes take %d moves with %d waiting, %d idle and %d parked customers; %d with 1,000 waiting", got, size[0], size[1], size[2], want)
		}
	}
}

func TestAPassCostsTheLogarithmOfTheActiveCustomersAndAPreviewNothingMoreOfThem(t *testing.T) {
	t.Parallel()
	for _, active := range []int{100, 10_000, 100_000} {
		s := fill(10*active, active, 0)
		s.moves = 0
		s.Serve(later, 64)
		// The root goes down to a leaf at most, and is noted once more where it comes to rest.
		if most := 64 * (bits.Len(uint(active)) + 1); s.moves > most {
			t.Errorf("serving 64 agendas of %d customers takes %d moves, want %d at most", active, s.moves, most)
		}
		s.moves = 0
		if n := len(s.Preview(later, 64, Change{})); n != 64 || s.moves > 2*64+1 {
			t.Errorf("a preview of %d agendas of %d customers looks at %d of them, want 129 at most", n, active, s.moves)
		}
	}
}

func TestAWaitingAgendaTakesLessThanAHundredBytes(t *testing.T) {
	for _, customers := range []int{1, 1000, 50_000} {
		const waiting = 1_000_000
		before := heapInUse()
		s := New(Settings{})
		for i := range waiting { // one by one, in order, as they come
			it := Item{Ready: int64(i)}
			binary.BigEndian.PutUint64(it.ID[:], uint64(i)*0x9E3779B97F4A7C15)
			s.Add(later, fmt.Sprint(i%customers), weight(1), it)
		}
		each := float64(heapInUse()-before) / waiting
		t.Logf("%d agendas of %d customers: %.1f B each", s.Waiting(), customers, each)
		if each > 100 {
			t.Errorf("%d agendas of %d customers take %.1f B each", waiting, customers, each)
		}
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkPass(b *testing.B) {
	for _, waiting := range []int{1e3, 1e4, 1e5, 1e6, 1e7} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) { benchmarkPass(b, fill(waiting, 100, 0), waiting) })
	}
	for _, idle := range []int{1e3, 1e5} {
		b.Run(fmt.Sprintf("waiting=1000000/idle=%d", idle), func(b *testing.B) { benchmarkPass(b, fill(1e6, 100, idle), 1e6) })
	}
	for _, active := range []int{1e4, 1e5} {
		b.Run(fmt.Sprintf("waiting=1000000/active=%d", active), func(b *testing.B) { benchmarkPass(b, fill(1e6, active, 0), 1e6) })
	}
}

// benchmarkPass measures what a pass of 64 takes. That agendas come and end is not measured.
func benchmarkPass(b *testing.B, s *State, waiting int) {
	next := int64(waiting)
	runtime.GC() // of what fill has left, so that it isn't done meanwhile
	b.ResetTimer()
	for n := 0; n < b.N; {
		var picks []Pick
		for ; n < b.N && len(picks) < min(waiting/2, 4096); n++ { // stopping the clock takes longer than a pass
			picks = append(picks, s.Serve(later, 64)...)
		}
		b.StopTimer()
		for _, p := range picks {
			s.Finish(later, p.Item.ID)
			next++
			it := Item{Ready: next}
			binary.BigEndian.PutUint64(it.ID[:], uint64(next))
			s.Add(later, p.Customer, s.customers[p.Customer].policy, it)
		}
		b.StartTimer()
	}
}

func BenchmarkLife(b *testing.B) {
	s := fill(1e6, 1000, 0)
	next := int64(1e6)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		pass(s, &next)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64), "ns/agenda")
}

func BenchmarkExplain(b *testing.B) {
	for _, active := range []int{1e2, 1e5} {
		s := fill(1e6, active, 0)
		it := s.customers["7"].ready.at(5)
		b.Run(fmt.Sprintf("active=%d", active), func(b *testing.B) {
			for range b.N {
				s.Explain(later, "7", it)
			}
		})
	}
}

func BenchmarkCertificate(b *testing.B) {
	for _, active := range []int{1e2, 1e5} {
		s := fill(1e6, active, 0)
		b.Run(fmt.Sprintf("active=%d", active), func(b *testing.B) {
			for range b.N {
				s.Certificate(later, 20)
			}
		})
	}
}

func BenchmarkPreviewOfAChange(b *testing.B) {
	for _, active := range []int{1e2, 1e5} {
		s := fill(1e6, active, 0)
		change := Change{Policies: map[string]Policy{"7": {Weight: 100}}}
		b.Run(fmt.Sprintf("active=%d", active), func(b *testing.B) {
			for range b.N {
				s.Preview(later, 100, change)
			}
		})
	}
}
