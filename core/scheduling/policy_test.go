package scheduling

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func ms(n int64) int64 { return n * int64(time.Millisecond) }

// drainAt serves whatever may be served at a time and returns how many.
func drainAt(s *State, now int64) int {
	picks := s.Serve(now, 1000)
	return len(picks)
}

func TestARateLetsABurstGoAndThenOneAgendaInEachInterval(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	p := Policy{Weight: 1, Rate: Rate{Count: 10, Per: time.Second, Burst: 3}}
	start := 1000 * second
	for i := range 20 {
		s.Add(start, "a", p, item(int64(i)))
	}
	if n := drainAt(s, start); n != 3 {
		t.Fatalf("%d at once, want a burst of 3", n)
	}
	if at, ok := s.NextWake(); !ok || at != start+ms(100) {
		t.Fatalf("wakes at %d, %t; want after 100 ms", at-start, ok)
	}
	for _, step := range []struct{ at, want int64 }{{99, 0}, {100, 1}, {199, 0}, {350, 2}, {2000, 3}} {
		if n := drainAt(s, start+ms(step.at)); n != int(step.want) {
			t.Errorf("%d after %d ms, want %d", n, step.at, step.want)
		}
	}
}

// In no time t are there more than burst + t×rate.
func TestARateIsNeverExceeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{Count: rapid.IntRange(1, 7).Draw(t, "count"), Per: time.Duration(rapid.IntRange(1, 5).Draw(t, "per")), Burst: rapid.IntRange(0, 5).Draw(t, "burst")}
		s := New(Settings{})
		for i := range 300 {
			s.Add(0, "a", Policy{Weight: 1, Rate: r}, item(int64(-i)))
		}
		var times []int64
		now := int64(1)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += rapid.Int64Range(0, 9).Draw(t, "wait")
			for range drainAt(s, now) {
				times = append(times, now)
			}
		}
		for i, first := range times {
			for j, last := range times[i:] {
				// Interval and window are closed at both ends.
				if most := float64(max(1, r.Burst)) + float64(last-first)*float64(r.Count)/float64(r.Per); float64(j+1) > most {
					t.Fatalf("%d in %d ns, at most %.2f are allowed", j+1, last-first, most)
				}
			}
		}
	})
}

func TestAQuotaIsFullAgainAtTheEndOfItsWindow(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	p := Policy{Weight: 1, Quota: Quota{Limit: 4, Per: time.Hour}}
	hour := int64(time.Hour)
	start := 500*hour + 50*60*second
	for i := range 20 {
		s.Add(start, "a", p, item(int64(i)))
	}
	if n := drainAt(s, start); n != 4 {
		t.Fatalf("%d, want 4", n)
	}
	if at, ok := s.NextWake(); !ok || at != 501*hour {
		t.Fatalf("wakes at %d, %t; want at the full hour", at, ok)
	}
	if n := drainAt(s, 501*hour-1); n != 0 {
		t.Errorf("%d before the window ends", n)
	}
	if n := drainAt(s, 501*hour); n != 4 {
		t.Errorf("%d in the next window, want 4", n)
	}
}

func TestAnAgendaIsNotServedBeforeItsTimeAndAtItsTimeWithoutAnEvent(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	s.Add(10, "a", weight(1), item(50))
	s.Add(10, "a", weight(1), item(30))
	if s.Active() != 0 || s.Waiting() != 2 || drainAt(s, 29) != 0 {
		t.Error("agendas that are not ready must not be served")
	}
	if at, ok := s.NextWake(); !ok || at != 30 {
		t.Errorf("wakes at %d, %t", at, ok)
	}
	if picks := s.Plan(30, 10); len(picks) != 1 || picks[0].Item != item(30) {
		t.Errorf("at 30: %v", picks)
	}
	if !s.Remove(40, "a", item(50)) || s.Waiting() != 1 {
		t.Error("an agenda can be cancelled before its time")
	}
}

func TestAPauseEndsAtItsTimeOrWhenItIsEnded(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	s.Add(10, "a", Policy{Weight: 1, Paused: 100}, item(1))
	s.Add(10, "b", Policy{Weight: 1, Paused: Forever}, item(2))
	if n := drainAt(s, 99); n != 0 {
		t.Errorf("%d are served in a pause", n)
	}
	if at, ok := s.NextWake(); !ok || at != 100 {
		t.Errorf("wakes at %d, %t", at, ok)
	}
	if picks := s.Plan(100, 10); len(picks) != 1 || picks[0].Customer != "a" {
		t.Errorf("at 100: %v", picks)
	}
	s.SetPolicy(100, "b", weight(1))
	if picks := s.Plan(100, 10); len(picks) != 2 {
		t.Errorf("with both pauses ended: %v", picks)
	}
	s.Configure(100, Settings{Paused: 200})
	if at, ok := s.NextWake(); !ok || at != 200 || drainAt(s, 199) != 0 {
		t.Errorf("a paused insight wakes at %d, %t", at, ok)
	}
	if n := drainAt(s, 200); n != 2 {
		t.Errorf("%d are served after the pause of the insight", n)
	}
}

func TestLoweringACapLetsWhatRunsFinish(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	for i := range 20 {
		s.Add(later, "a", Policy{Weight: 1, Cap: 5}, item(int64(i)))
	}
	picks := s.Serve(later, 10)
	s.SetPolicy(later, "a", Policy{Weight: 1, Cap: 2})
	for i, p := range picks {
		if all, _ := s.InFlight(); all != 5-i {
			t.Fatalf("%d are in flight, want %d", all, 5-i)
		}
		if n := len(s.Plan(later, 10)); n != max(0, 2-(5-i)) {
			t.Errorf("%d may be served with %d in flight at a cap of 2", n, 5-i)
		}
		s.Finish(later, p.Item.ID)
	}
	s.SetPolicy(later, "a", Policy{Weight: 1, Cap: 7})
	if n := len(s.Plan(later, 10)); n != 7 {
		t.Errorf("%d may be served at a raised cap of 7", n)
	}
}

func TestTheQueueHasRoomAgainOnceAnAgendaIsClaimedAndTheInsightOnceOneHasEnded(t *testing.T) {
	t.Parallel()
	s := New(Settings{QueueSize: 3, Cap: 5})
	flood(s, 20, "a")
	picks := s.Serve(later, 10)
	if len(picks) != 3 || len(s.Plan(later, 10)) != 0 {
		t.Fatalf("%d on a queue of 3", len(picks))
	}
	for _, p := range picks {
		s.SetInFlight(later, "a", weight(1), p.Item, later)
	}
	if n := drainAt(s, later); n != 2 {
		t.Errorf("%d once the queue is empty, want 2: 5 may be in flight", n)
	}
	s.Finish(later, picks[0].Item.ID)
	if n := drainAt(s, later); n != 1 {
		t.Errorf("%d once one has ended, want 1", n)
	}
}

func TestARefundGivesBackThePlaceTheRateTheQuotaAndTheCharge(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	p := Policy{Weight: 1, Cap: 1, Rate: Rate{Count: 1, Per: time.Hour}, Quota: Quota{Limit: 1, Per: time.Hour}}
	s.Add(later, "a", p, item(1))
	s.Add(later, "a", p, item(2))
	s.Add(later, "b", weight(1), item(3))
	s.Add(later, "b", weight(1), item(4))
	picks := s.Serve(later, 1)
	s.Refund(later, picks[0].Item.ID)
	if diff := cmp.Diff([]Pick{{"b", item(3)}, {"a", item(2)}, {"b", item(4)}}, s.Plan(later, 10)); diff != "" {
		t.Errorf("a has been served nothing: %s", diff)
	}
}

func TestAnAccountCarriesUseAndDebtToTheNextOwner(t *testing.T) {
	t.Parallel()
	p := Policy{Weight: 0.1, Rate: Rate{Count: 2, Per: time.Hour, Burst: 2}, Quota: Quota{Limit: 3, Per: 24 * time.Hour}}
	first := New(Settings{})
	for i := range 9 {
		first.Add(later, "a", p, item(int64(i)))
	}
	if n := drainAt(first, later); n != 2 {
		t.Fatalf("%d at once, want a burst of 2", n)
	}
	account, ok := first.Account("a")
	if !ok || account.Used != 2 || account.Debt != 1 {
		t.Fatalf("account %+v, %t", account, ok)
	}
	hour := int64(time.Hour)
	next := New(Settings{})
	next.SetAccount(later, "a", p, account)
	for i := range 9 {
		next.Add(later, "a", p, item(int64(10+i)))
		next.Add(later, "b", weight(1), item(int64(20+i)))
	}
	if n := len(next.Plan(later, 20)); n != 9 {
		t.Errorf("%d are served, want only those of b", n)
	}
	got := customers(next.Plan(later+hour, 20))
	if n := count(got)["a"]; n != 1 {
		t.Errorf("%d of a are served after an hour, want 1, as its quota has no more", n)
	}
	if len(got) != 10 || got[9] != "a" {
		t.Errorf("a owes one agenda at a tenth of the weight of b: %v", got)
	}
	if _, ok := next.Account("nobody"); ok {
		t.Error("an unknown customer has no account")
	}
}

func TestWhatAnotherOwnerServedIsNotChargedAndNotRefunded(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	s.Add(later, "a", weight(1), item(1))
	s.Add(later, "b", weight(1), item(2))
	s.SetInFlight(later, "a", weight(1), item(3), 0)
	s.Refund(later, item(3).ID)
	if got := customers(s.Plan(later, 2)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("the order is %v, a was first", got)
	}
}

func TestOnlyCustomersWithARateOrAQuotaHaveAccountsToKeepBeforeAPass(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	s.Add(later, "free", Policy{Weight: 1, Cap: 3}, item(1))
	picks := s.Serve(later, 9)
	if accounts := s.Accounts(picks); accounts != nil {
		t.Errorf("accounts to keep: %v", accounts)
	}
	s.Add(later, "rated", Policy{Weight: 1, Rate: Rate{Count: 1, Per: 1}}, item(2))
	s.Add(later, "rationed", Policy{Weight: 1, Quota: Quota{Limit: 1, Per: 1}}, item(3))
	picks = s.Serve(later, 9)
	accounts := s.Accounts(picks)
	if len(accounts) != 2 || accounts["rated"].Arrival != later+1 || accounts["rationed"].Used != 1 {
		t.Errorf("accounts to keep: %v", accounts)
	}
}

func TestANewRateMakesNobodyWaitLongerThanItDoesItself(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	slow := Policy{Weight: 1, Rate: Rate{Count: 1, Per: 24 * time.Hour}}
	s.Add(later, "a", slow, item(1))
	s.Add(later, "a", slow, item(2))
	drainAt(s, later)
	s.SetPolicy(later, "a", Policy{Weight: 1, Rate: Rate{Count: 1, Per: time.Second}})
	if at, ok := s.NextWake(); !ok || at != later+second {
		t.Errorf("wakes after %v, %t; want a second", time.Duration(at-later), ok)
	}
}
