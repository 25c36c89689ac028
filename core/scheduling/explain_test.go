package scheduling

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestAnExplanationGivesEveryReasonThatHoldsWithItsRemedy(t *testing.T) {
	t.Parallel()
	hour := int64(time.Hour)
	now := 1000 * hour
	served := func(s *State) { s.Serve(now, 100) }
	for name, test := range map[string]struct {
		settings Settings
		policy   Policy
		ready    int64
		then     func(s *State)
		want     []Cause
	}{
		"an agenda that is next waits for nothing": {},
		"a paused insight":                         {settings: Settings{Paused: now + 5}, want: []Cause{{Reason: InsightPaused, Until: now + 5}}},
		"a paused customer":                        {policy: Policy{Paused: Forever}, want: []Cause{{Reason: CustomerPaused}}},
		"a full queue": {
			settings: Settings{QueueSize: 2}, then: served,
			want: []Cause{{Reason: QueueFull, Count: 2, Limit: 2}, {Reason: BehindOwn, Count: 1}},
		},
		"an insight at its cap": {
			settings: Settings{Cap: 1}, then: served,
			want: []Cause{{Reason: InsightCap, Count: 1, Limit: 1}, {Reason: BehindOwn, Count: 2}},
		},
		"a customer at its cap": {policy: Policy{Cap: 3}, then: served, want: []Cause{{Reason: CustomerCap, Count: 3, Limit: 3}}},
		"a rate that is used up": {
			policy: Policy{Rate: Rate{Count: 1, Per: time.Hour, Burst: 3}}, then: served,
			want: []Cause{{Reason: RateLimit, Limit: 1, Until: now + hour}},
		},
		"a quota that is used up": {
			policy: Policy{Quota: Quota{Limit: 3, Per: 24 * time.Hour}}, then: served,
			want: []Cause{{Reason: QuotaUsed, Count: 3, Limit: 3, Until: now - now%(24*hour) + 24*hour}},
		},
		"a time that has not come": {ready: now + 7, want: []Cause{{Reason: NotBefore, Until: now + 7}}},
		"everything at once": {
			settings: Settings{QueueSize: 3, Cap: 3},
			policy:   Policy{Cap: 3, Rate: Rate{Count: 1, Per: time.Hour, Burst: 3}, Quota: Quota{Limit: 3, Per: 24 * time.Hour}},
			then: func(s *State) {
				served(s)
				settings, p := s.settings, s.customers["a"].policy
				settings.Paused, p.Paused = Forever, now+9
				s.Configure(now, settings)
				s.SetPolicy(now, "a", p)
				s.Add(now, "b", weight(1), item(50))
				s.Add(now, "a", p, item(3))
			},
			want: []Cause{
				{Reason: InsightPaused},
				{Reason: QueueFull, Count: 3, Limit: 3},
				{Reason: InsightCap, Count: 3, Limit: 3},
				{Reason: CustomerPaused, Until: now + 9},
				{Reason: CustomerCap, Count: 3, Limit: 3},
				{Reason: QuotaUsed, Count: 3, Limit: 3, Until: now - now%(24*hour) + 24*hour},
				{Reason: RateLimit, Limit: 1, Until: now + hour},
				{Reason: BehindOwn, Count: 1},
				{Reason: BehindOthers, Count: 1, Customers: 1},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := New(test.settings)
			test.policy.Weight = 1
			it := item(9)
			if test.ready != 0 {
				it.Ready = test.ready
			}
			if test.then != nil {
				for i := range int64(3) {
					s.Add(now, "a", test.policy, item(i))
				}
			}
			s.Add(now, "a", test.policy, it)
			if test.then != nil {
				test.then(s)
			}
			e, ok := s.Explain(now, "a", it)
			if !ok {
				t.Fatal("not found")
			}
			if diff := cmp.Diff(test.want, e.Causes, cmpopts.IgnoreFields(Cause{}, "Remedy"), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
			for _, c := range e.Causes {
				if c.Remedy == "" || c.Reason.String() == "" {
					t.Errorf("%v has no remedy", c)
				}
			}
		})
	}
}

func TestOnlyWhatWaitsIsExplained(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	flood(s, 2, "a")
	s.Serve(later, 1)
	for _, name := range []string{"a", "b"} {
		if _, ok := s.Explain(later, name, item(1)); ok {
			t.Errorf("%s: the agenda does not wait", name)
		}
	}
}

// The place that an explanation gives is the one at which the agenda is served.
func TestAPlaceIsWhereTheAgendaIsServedIfNothingArrives(t *testing.T) {
	t.Parallel()
	exact := 0
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 9))
		settings := settingsOf(random.IntN)
		settings.QueueSize, settings.Cap = 0, 0
		m := newMachine(random.IntN, settings, 1+random.IntN(6), true)
		for range 200 {
			m.step()
		}
		order := map[Item]int{}
		for i, p := range m.state.Preview(m.now, 10_000, Change{}) {
			order[p.Item] = i
		}
		for _, c := range m.audit.customers {
			for _, it := range c.waiting {
				e, ok := m.state.Explain(m.now, c.name, it)
				place, planned := order[it]
				switch {
				case !ok:
					t.Fatalf("seed %d: %s is not explained", seed, c.name)
				case e.Exact != planned:
					t.Fatalf("seed %d, algorithm %d: an agenda of %s is planned: %t, its place is exact: %t", seed, m.audit.settings.Algorithm, c.name, planned, e.Exact)
				case planned && e.Ahead != place:
					t.Fatalf("seed %d, algorithm %d: an agenda of %s is said to be behind %d, it is behind %d", seed, m.audit.settings.Algorithm, c.name, e.Ahead, place)
				case planned:
					exact++
				case len(e.Causes) == 0:
					t.Fatalf("seed %d: nothing explains why an agenda of %s does not run", seed, c.name)
				}
			}
		}
	}
	if exact < 1000 {
		t.Errorf("only %d places were compared", exact)
	}
}

func TestAnEstimateFollowsHowFastAgendasWereServed(t *testing.T) {
	t.Parallel()
	w := newWorld(Settings{}, 10) // of a second each
	w.submit(20_000, "a", weight(1))
	for range 5000 {
		w.turn()
	}
	last := item(20_000)
	last.Ready = 0
	e, _ := w.state.Explain(w.now, "a", last)
	want := time.Duration(e.Ahead) * time.Second / 10
	if e.Low > want*21/20 || e.High < want*19/20 || e.Low <= want/2 || e.High > 2*want {
		t.Errorf("%d agendas ahead at 10 in a second are estimated at %v to %v", e.Ahead, e.Low, e.High)
	}
	w.state.SetPolicy(w.now, "a", Policy{Weight: 1, Paused: Forever})
	if e, _ := w.state.Explain(w.now, "a", last); e.Low != 0 || e.High != 0 {
		t.Errorf("nobody knows when a pause ends, the estimate is %v to %v", e.Low, e.High)
	}
	w.state.SetPolicy(w.now, "a", Policy{Weight: 1, Paused: w.now + 1e6*second})
	if e, _ := w.state.Explain(w.now, "a", last); e.Low != 1e6*time.Second {
		t.Errorf("the estimate is %v, before the pause ends", e.Low)
	}
}

func TestAPreviewOfAChangeIsWhatTheChangeDoes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 4))
		m := newMachine(random.IntN, settingsOf(random.IntN), 1+random.IntN(6), true)
		for range 150 {
			m.step()
		}
		settings := settingsOf(random.IntN)
		settings.QueueSize, settings.Cap = 0, 0
		change := Change{Settings: &settings, Policies: map[string]Policy{"c0": m.randomPolicy(), "c1": m.randomPolicy()}}
		if seed%3 == 0 {
			change.Settings = nil
		}
		before := m.state.Preview(m.now, 1000, Change{})
		what := m.state.Preview(m.now, 1000, change)
		if diff := cmp.Diff(before, m.state.Preview(m.now, 1000, Change{})); diff != "" {
			t.Fatalf("seed %d: a preview has changed the state: %s", seed, diff)
		}
		if err := m.check(); err != nil {
			t.Fatalf("seed %d: after the preview: %v", seed, err)
		}
		if change.Settings == nil {
			unbounded := m.state.settings
			unbounded.QueueSize, unbounded.Cap, unbounded.Paused = 0, 0, 0
			change.Settings = &unbounded
		}
		m.state.Configure(m.now, *change.Settings)
		for _, name := range slices.Sorted(maps.Keys(change.Policies)) {
			m.state.SetPolicy(m.now, name, change.Policies[name])
		}
		if diff := cmp.Diff(m.state.Plan(m.now, 1000), what, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: the preview is not what happens: %s", seed, diff)
		}
	}
}
