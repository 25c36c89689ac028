package scheduling

import (
	"fmt"
	"slices"
	"testing"
)

// These went wrong in schedulers that are in use. The first of them, customers that drift apart because the rotation restarts with each
// pass, is TestCustomersDoNotDriftApartWhenPassesAreNoMultipleOfTheirNumber.

// Reading the first of the line and leaving out who may not run starves everybody behind.
func TestCustomersThatMayNotRunDoNotHideTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(Settings{}, 200)
	for i := range 60 {
		w.submit(100, fmt.Sprint("capped", i), Policy{Weight: 1, Cap: 1})
	}
	w.state.Serve(w.now, 60) // all of them are at their caps now
	w.submit(100, "light", weight(1))
	if got := count(customers(w.state.Plan(w.now, 100))); got["light"] != 100 {
		t.Errorf("the light customer got %d of 100 places: %v", got["light"], got)
	}
}

func customers(picks []Pick) []string {
	names := make([]string, len(picks))
	for i, p := range picks {
		names[i] = p.Customer
	}
	return names
}

// A customer that is stalled with agendas waiting must not hold the virtual time back, or newcomers would be served at its level
// until they have caught up with all that it missed.
func TestAStalledCustomerDoesNotFreezeTheVirtualTime(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 1000, "stalled", "steady")
	s.SetPolicy(later, "stalled", Policy{Weight: 1, Paused: Forever})
	serve(s, 500, 10)
	for i := range 100 {
		s.Add(later, "newcomer", weight(1), item(int64(5000+i)))
	}
	if n := count(serve(s, 20, 20))["newcomer"]; n != 10 {
		t.Errorf("a newcomer took %d of 20 services", n)
	}
	s.SetPolicy(later, "stalled", weight(1))
	if n := count(serve(s, 30, 30))["stalled"]; n != 10 {
		t.Errorf("a customer that was stalled took %d of 30 services: it has no credit for its absence", n)
	}
}

// Agendas of one moment must not change places, nor share a place under a cap.
func TestEqualTimestampsKeepTheOrderAndTheCaps(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []Algorithm{WeightedFair, RoundRobin, Priority, FirstInFirstOut} {
		s := New(Settings{Algorithm: algorithm})
		for i := range 20 {
			for _, name := range []string{"a", "b", "c"} {
				it := item(int64(3*i + int(name[0]-'a')))
				it.Ready = 7
				s.Add(later, name, Policy{Weight: 1, Cap: 4}, it)
			}
		}
		picks := s.Plan(later, 100)
		for name, n := range count(customers(picks)) {
			if n != 4 {
				t.Errorf("algorithm %d: %s got %d places at a cap of 4", algorithm, name, n)
			}
		}
		if again := s.Plan(later, 100); !slices.Equal(picks, again) || len(picks) != 12 {
			t.Errorf("algorithm %d: %d picks, then %d", algorithm, len(picks), len(again))
		}
	}
}

// What ends must wake who waits for its place, with no event besides.
func TestAFreedPlaceIsFilledInTheNextPass(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	for i := range 10 {
		s.Add(later, "a", Policy{Weight: 1, Cap: 2}, item(int64(i)))
	}
	picks := s.Serve(later, 10)
	if len(picks) != 2 || len(s.Plan(later, 10)) != 0 {
		t.Fatalf("%d picks at a cap of 2", len(picks))
	}
	s.Finish(later, picks[0].Item.ID)
	if n := len(s.Plan(later, 10)); n != 1 {
		t.Errorf("%d picks once one has ended", n)
	}
}

// Nor must the room of one insight be that of another. The engine's test of the same has both in one server.
func TestAFullInsightDoesNotHoldAnother(t *testing.T) {
	t.Parallel()
	full, other := New(Settings{QueueSize: 1}), New(Settings{QueueSize: 1})
	flood(full, 10, "a")
	flood(other, 10, "a")
	full.Serve(later, 10)
	if len(full.Plan(later, 10)) != 0 || len(other.Plan(later, 10)) != 1 {
		t.Error("each insight has its own room")
	}
}

// Caps count what runs. If they counted what waits, nothing would begin once enough did.
func TestWaitingAgendasDoNotCountAsRunning(t *testing.T) {
	t.Parallel()
	s := New(Settings{Cap: 3})
	for i := range 100 {
		s.Add(later, "a", Policy{Weight: 1, Cap: 2}, item(int64(i)))
		s.Add(later, "b", Policy{Weight: 1, Cap: 2}, item(int64(200+i)))
	}
	if n := len(s.Plan(later, 100)); n != 3 {
		t.Errorf("%d picks, want 3", n)
	}
}

// Who gets much back because its agendas ran shorter than expected is ahead of newcomers by one agenda, also if the next are expected
// to run shorter: what is given back by the old estimate would be several by the new one.
func TestAShorterRunTimePutsACustomerAheadOfNewcomersByOneAgenda(t *testing.T) {
	t.Parallel()
	s := New(Settings{Cost: RunTime})
	now := int64(later)
	end := func(picks []Pick, took int64) {
		for _, p := range picks {
			s.SetInFlight(now, p.Customer, weight(1), p.Item, now)
		}
		now += took
		for _, p := range picks {
			s.Finish(now, p.Item.ID)
		}
	}
	flood(s, 30, "quick")
	end(s.Serve(now, 1), 100*second)
	for i := range int64(10) {
		s.Add(now, "other", weight(1), item(1000+i))
	}
	end(s.Serve(now, 20), second)
	for i := range int64(10) {
		s.Add(now, "newcomer", weight(1), item(2000+i))
	}
	var before []string
	for _, p := range s.Serve(now, 10) {
		if p.Customer == "newcomer" {
			break
		}
		before = append(before, p.Customer)
	}
	if n := count(before)["quick"]; n != 1 {
		t.Errorf("the customer is served %d times before a newcomer, want 1: %v", n, before)
	}
}

// A lowered weight must not be charged for what was served at the old one: whoever was served much because it weighed much would stand
// still for as long.
func TestALoweredWeightMakesNobodyWaitLongerThanItDoesItself(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 3000, "a", "b")
	s.SetPolicy(later, "a", weight(1000))
	if n := count(serve(s, 1002, 10))["a"]; n < 1000 {
		t.Fatalf("a got %d of 1002 at a weight of 1000", n)
	}
	s.SetPolicy(later, "a", weight(0.1))
	got := serve(s, 110, 10)
	if first := slices.Index(got, "a"); first < 0 || first > 11 {
		t.Errorf("a is served after %d others, at a tenth of the weight of b", first)
	}
	if n := count(got)["a"]; n < 9 || n > 11 {
		t.Errorf("a got %d of 110 at a tenth of the weight of b, want 10", n)
	}
}
