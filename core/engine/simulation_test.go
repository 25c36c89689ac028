package engine

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/workflow"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

var (
	simulations = flag.Int("simulations", 15, "number of simulated histories")
	simSeed     = flag.Uint64("simseed", 0, "seed of the first simulated history; 0 for a random one")
)

// backends are the kinds of store that every history must survive.
var backends = map[string]memdriver.StoreOptions{
	"the richest store":     {},
	"the poorest store":     {Capabilities: memdriver.LeastStore()},
	"a store of stale hint": {Capabilities: sharedStore(), IndexLag: 3 * time.Second, ShortPages: true},
}

func sharedStore() driver.StoreCapabilities {
	c := memdriver.FullStore()
	c.FreshIndexes, c.CheapGroups, c.Shared = false, false, true
	return c
}

// TestNoHistoryLosesOrDoublesAnAgenda runs servers in worlds where calls of the store and the queue fail before or after they do
// their work, servers crash, stall and wake up late, clocks differ, executors die, stall, report twice, fail, generate operations or run
// the end of an agenda, customers cancel, pause and resume, and limits, pauses and algorithms change. In the end every accepted agenda is
// COMPLETE, none was started twice under one fence, and what was generated is there once.
func TestNoHistoryLosesOrDoublesAnAgenda(t *testing.T) {
	histories(t, false)
}

// TestNoHistoryExceedsALimit is the same with limits that stay, and looks at everything that is written: however owners change, no
// more is in flight than a cap allows, and nothing is scheduled that was not first charged to a rate or a quota.
func TestNoHistoryExceedsALimit(t *testing.T) {
	histories(t, true)
}

func histories(t *testing.T, limited bool) {
	t.Helper()
	t.Parallel()
	seed := *simSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	for name, options := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen := &tally{}
			for i := range *simulations {
				s := seed + uint64(i)
				synctest.Test(t, func(t *testing.T) {
					defer func() {
						if t.Failed() {
							t.Logf("history of -simseed=%d", s)
						}
					}()
					simulate(t, s, options, limited, seen)
				})
				if t.Failed() {
					return
				}
			}
			t.Logf("%d agendas scheduled, %d takeovers, %d of them handed over, %d agendas scheduled by servers that had lost the insight",
				seen.scheduled, seen.takeovers, seen.handed, seen.void)
			if shared(memdriver.NewStore(options)) && *simulations >= 15 && (seen.takeovers == 0 || seen.handed == 0) {
				t.Error("the histories are too tame to prove anything")
			}
		})
	}
}

// tally is what happened in many histories.
type tally struct{ scheduled, takeovers, handed, void int }

// simulation is a history in the making.
type simulation struct {
	*world
	limited   bool
	servers   []*server
	mu        sync.Mutex
	random    *rand.Rand
	faults    bool
	started   map[model.Lease]int
	accepted  map[string]bool
	generated map[string]bool // agendas in which something was
	over      chan struct{}
}

// server is one of those in a simulation. After a crash it is another.
type server struct {
	*world
	current atomic.Pointer[Engine]
	stalled time.Time // until then its calls get nowhere
	frozen  bool      // and then go on as if no time had passed
	skew    time.Duration
}

func (s *simulation) chance(percent int) bool { return s.below(100) < percent }

func (s *simulation) below(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.random.IntN(n)
}

func (s *simulation) pause(most time.Duration) { <-time.After(time.Duration(s.below(int(most)))) }

// fault decides what goes wrong with a call of a server.
func (s *simulation) fault(v *server, c memdriver.Call) memdriver.Fault {
	s.mu.Lock()
	stalled, frozen := time.Until(v.stalled), v.frozen
	s.mu.Unlock()
	switch {
	case stalled <= 0 || c.Method == memdriver.Write: // writes are held up further on
	case frozen: // no call ends, not even for want of time
		<-time.After(stalled)
	default:
		return memdriver.Fault{Delay: stalled}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faults || c.Method == memdriver.Migrate || s.random.IntN(12) > 0 {
		return memdriver.Fault{}
	}
	switch s.random.IntN(6) {
	case 0:
		return memdriver.LostReply()
	case 1:
		return memdriver.LostRequest()
	case 2:
		return memdriver.Throttled(20 * time.Millisecond)
	case 3:
		return memdriver.Fault{Delay: time.Duration(s.random.IntN(int(2 * time.Second)))}
	case 4:
		seed := s.random.Uint64()
		return memdriver.Fault{Drop: true, Each: func(i int) memdriver.Fault {
			if (seed>>(i%64))&1 == 0 {
				return memdriver.LostReply()
			}
			return memdriver.Fault{}
		}}
	default:
		return memdriver.Fault{Duplicate: true}
	}
}

func simulate(t *testing.T, seed uint64, options memdriver.StoreOptions, limited bool, seen *tally) {
	s := &simulation{
		random: rand.New(rand.NewPCG(seed, 0)), limited: limited,
		started: map[model.Lease]int{}, accepted: map[string]bool{}, generated: map[string]bool{}, over: make(chan struct{}),
	}
	base := memdriver.NewStore(options)
	s.world = &world{TB: t, base: base, witness: newWitness()}
	n := 1
	if shared(base) {
		n = 2 + s.below(2)
		s.hints = memdriver.NewQueue(memdriver.QueueOptions{})
	}
	for i := range n {
		v := &server{skew: time.Duration(s.below(int(2*maxSkew))) - maxSkew}
		v.world = &world{TB: t, base: base, hints: s.hints, witness: s.witness}
		v.faults = func(c memdriver.Call) memdriver.Fault { return s.fault(v, c) }
		v.held = func(req driver.WriteRequest) (late time.Duration, frozen bool) {
			if n > 1 && schedules(req) && s.calm() < 8 { // the worst moment
				s.stall(v)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			return time.Until(v.stalled), v.frozen
		}
		s.servers = append(s.servers, v)
		s.boot(v)
		if i == 0 {
			v.furnish()
			if n > 1 {
				v.addInsights(s.below(4)) // so that some are handed over
			}
			if limited {
				s.limitAll(v)
			}
		}
	}
	s.set(true)

	var customers, executors sync.WaitGroup
	for i := range 3 {
		customers.Go(func() { s.submitSome(fmt.Sprint("customer", i)) })
	}
	for i := range 3 {
		executors.Go(func() { s.execute(fmt.Sprint("executor", i)) })
	}
	if !limited {
		customers.Go(s.operate)
	}
	for range s.below(4 * n) {
		s.pause(20 * time.Second)
		v := s.servers[s.below(n)]
		if n > 1 && s.chance(60) {
			s.stall(v)
		} else {
			s.swapEngine(v)
		}
	}
	customers.Wait()
	s.set(false)
	if !limited {
		s.lift()
	}
	s.awaitTheEnd()
	close(s.over)
	executors.Wait()
	for _, v := range s.servers {
		v.Stop()
	}
	for lease, times := range s.started {
		if times > 1 {
			t.Errorf("agenda %s was started %d times under fence %d", lease.AgendaID, times, lease.Fence)
		}
	}
	s.witness.testify(t, limited)
	seen.scheduled, seen.takeovers = seen.scheduled+s.witness.scheduled, seen.takeovers+s.witness.takeovers
	seen.handed, seen.void = seen.handed+s.witness.handed, seen.void+s.witness.void
}

// maxSkew is how far a server's clock may be off.
const maxSkew = time.Second

// stall makes all calls of a server take until it wakes up, which is mostly after others have taken over what it owned.
func (s *simulation) stall(v *server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v.frozen = s.random.IntN(2) == 0
	v.stalled = time.Now().Add(time.Duration(s.random.IntN(int(2*DefaultOwnerLease))) + DefaultOwnerLease/2)
}

// boot starts a server.
func (s *simulation) boot(v *server) {
	v.options = Options{IndexLag: 4 * time.Second, Now: func() time.Time { return time.Now().Add(v.skew) }}
	v.start()
	v.current.Store(v.Engine)
}

func (s *simulation) set(faults bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

// swapEngine crashes a server and starts another on the same store.
func (s *simulation) swapEngine(v *server) {
	s.set(false) // starting is not what is tried here
	s.mu.Lock()
	v.stalled = time.Time{}
	s.mu.Unlock()
	v.crash()
	s.boot(v)
	s.set(true)
}

// engineNow is a server that a customer or an executor happens to talk to. Until a crash is over it is the one that crashed.
func (s *simulation) engineNow() *Engine { return s.servers[s.below(len(s.servers))].current.Load() }

// limitAll gives each customer a limit of another kind, and the insight one too.
func (s *simulation) limitAll(v *server) {
	v.limit("a", func(c *model.Customer) { c.MaxInFlight = new(capOfA) })
	v.limit("b", func(c *model.Customer) {
		c.RateLimit = &model.Rate{Count: 1, PeriodSeconds: rateOfB.Seconds(), Burst: burstOfB}
		c.Quota = &model.Quota{Count: quotaOfB, WindowSeconds: 30}
	})
	v.tune(func(i *model.Insight) { i.MaxInFlight = new(capOfAll) })
}

func (s *simulation) submitSome(name string) {
	customer := string(rune('a' + s.below(2)))
	for i := range 20 {
		agenda := agendaOf(customer, "second")
		agenda.MaximumAttempts = 1 + s.below(4)
		agenda.Backoff = []*model.Backoff{nil, {InitialSeconds: new(0.0)}, {InitialSeconds: new(10.0)}}[s.below(3)]
		agenda.Operations[1].When = []workflow.When{workflow.OnSuccess, workflow.OnFailure, workflow.Always}[s.below(3)]
		agenda.Priority = s.below(3)
		submission := Submission{Agenda: agenda, IdempotencyKey: fmt.Sprint(name, i)}
		var last error
		for tries := 0; ; tries++ {
			if tries == 1000 {
				s.Errorf("a submission is never accepted: %v", last)
				return
			}
			got := s.engineNow().Submit(s.ctx(), []Submission{submission})[0]
			last = got.Err
			if got.Err == nil {
				s.mu.Lock()
				s.accepted[got.Agenda.ID] = true
				s.mu.Unlock()
				if s.chance(10) {
					_, _ = s.engineNow().Cancel(s.ctx(), got.Agenda.ID, "")
				}
				if s.chance(20) {
					s.pauseForAWhile(got.Agenda.ID)
				}
				break
			}
			s.pause(time.Second)
		}
		s.pause(2 * time.Second)
	}
}

// pauseForAWhile pauses an agenda, which in the end either somebody resumes or time.
func (s *simulation) pauseForAWhile(id string) {
	pause := model.Pause{By: "customer"}
	if s.chance(50) {
		pause.Until = time.Now().Add(time.Duration(1+s.below(20)) * time.Second)
	}
	s.pause(5 * time.Second)
	_, _ = s.engineNow().Pause(s.ctx(), id, pause, s.chance(30))
	s.pause(5 * time.Second)
	for {
		_, err := s.engineNow().Resume(s.ctx(), id)
		if kind := model.KindOf(err); err == nil || kind == model.Conflict || kind == model.NotFound { // it was not paused, or is no more
			return
		}
		s.pause(time.Second)
	}
}

// operate changes now and then what customers may do and how the insight schedules.
func (s *simulation) operate() {
	for range s.below(12) {
		s.pause(5 * time.Second)
		c := s.engineNow().catalog
		if customer, err := c.Customers.Get(s.ctx(), "a"); err == nil && s.chance(70) {
			v := customer.Object
			v.Limits = []model.Limits{
				{},
				{MaxInFlight: new(1 + s.below(3))},
				{Weight: new(4.0)},
				{RateLimit: &model.Rate{Count: 2, PeriodSeconds: 1}},
				{Quota: &model.Quota{Count: 5, WindowSeconds: 30}},
			}[s.below(5)]
			v.Pause = []*model.Pause{nil, nil, {By: "operator"}, {By: "operator", Until: time.Now().Add(10 * time.Second)}}[s.below(4)]
			_, _ = c.Customers.Replace(s.ctx(), v, "")
		}
		if insight, err := c.Insights.Get(s.ctx(), insightID); err == nil {
			v := insight.Object
			v.SchedulingAlgorithm = []model.SchedulingAlgorithm{model.FirstInFirstOut, model.RoundRobin, model.Priority, model.WeightedFair}[s.below(4)]
			v.MaxInFlight = []*int{nil, new(2)}[s.below(2)]
			v.QueueSize = new(1 + s.below(10))
			_, _ = c.Insights.Replace(s.ctx(), v, "")
		}
	}
}

// lift ends what holds the customer back, so that its agendas can end.
func (s *simulation) lift() {
	c := s.engineNow().catalog
	customer, err := c.Customers.Get(s.ctx(), "a")
	s.must(err)
	customer.Object.Pause = nil
	s.must(c.Customers.Replace(s.ctx(), customer.Object, ""))
}

// execute is an executor that dies, stalls, repeats itself and fails now and then.
func (s *simulation) execute(name string) {
	ctx, cancel := context.WithCancel(s.ctx())
	defer cancel()
	go func() {
		<-s.over
		cancel()
	}()
	for ctx.Err() == nil {
		session, err := s.engineNow().OpenSession(ctx, name)
		if err != nil {
			s.pause(time.Second)
			continue
		}
		for life := s.below(10); life > 0 && ctx.Err() == nil; life-- {
			if _, err := s.engineNow().Heartbeat(ctx, session.ID); model.KindOf(err) == model.Fenced {
				break
			}
			got, err := s.engineNow().Pull(ctx, model.PullRequest{InsightID: insightID, SessionID: session.ID, Max: 1 + s.below(5), WaitMs: 3000})
			if err != nil {
				s.pause(time.Second)
				continue
			}
			for _, a := range got {
				s.run(ctx, session.ID, a)
			}
		}
		s.pause(5 * time.Second)
	}
}

func (s *simulation) run(ctx context.Context, session string, a model.Assignment) {
	if s.calm() < 5 { // the answer to the pull was lost, or the executor died at once
		return
	}
	s.mu.Lock()
	s.started[a.Lease]++
	s.mu.Unlock()
	s.pause(3 * time.Second)
	if s.calm() < 5 {
		return
	}
	if a.Progress.Ending == "" && s.chance(30) {
		s.generate(ctx, session, a)
	}
	r := complete(a, model.Succeeded)
	r.SessionID = session
	switch n := s.calm(); {
	case n < 15:
		r.Outcome = model.Failed
	case n < 20:
		r.State, r.Outcome = model.Waiting, ""
		if s.chance(30) {
			r.Ending = model.Failed
		}
	}
	s.report(ctx, r)
}

// report reports once or twice, until the server has answered.
func (s *simulation) report(ctx context.Context, r model.Report) {
	for range 1 + s.below(2) {
		for ctx.Err() == nil {
			results, err := s.engineNow().Report(ctx, []model.Report{r})
			if err == nil {
				s.noteGenerated(r, results[0])
				break
			}
			s.pause(time.Second)
		}
	}
}

// generate reports that the first operation has succeeded and added another one, which each fence calls by another name.
func (s *simulation) generate(ctx context.Context, session string, a model.Assignment) {
	r := running(a, generator("first", work(fmt.Sprint("part of fence ", a.Fence))))
	r.SessionID = session
	s.report(ctx, r)
}

// noteGenerated remembers that something was generated.
func (s *simulation) noteGenerated(r model.Report, answer model.ReportResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer.Err == nil && len(r.Operations) > 0 {
		s.generated[r.AgendaID] = true
	}
}

// calm is a random percentage, and 100 once faults are over.
func (s *simulation) calm() int {
	n := s.below(100)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.faults {
		return 100
	}
	return n
}

// awaitTheEnd waits until every accepted agenda is COMPLETE, for as long as that may take.
func (s *simulation) awaitTheEnd() {
	deadline := time.Now().Add(time.Hour)
	for id := range s.accepted {
		for {
			p, _, err := s.engineNow().Progress(s.ctx(), id)
			if err != nil {
				s.Errorf("accepted agenda %s: %v", id, err)
				break
			}
			if p.Pause != nil { // by a write that came late
				_, _ = s.engineNow().Resume(s.ctx(), id)
			}
			if p.State == model.Complete {
				s.checkGenerated(p)
				break
			}
			if time.Now().After(deadline) {
				why, err := s.engineNow().Explain(s.ctx(), id)
				s.Errorf("accepted agenda %s is still %s: %+v\nexplained: %+v, %v", id, p.State, p.Status, why, err)
				break
			}
			<-time.After(time.Second)
		}
	}
}

// checkGenerated looks for what was generated in an agenda that has ended: it is there once, whoever has generated it. If no report
// was answered, one may have been taken in all the same.
func (s *simulation) checkGenerated(p model.AgendaProgress) {
	s.mu.Lock()
	generated := s.generated[p.AgendaID]
	s.mu.Unlock()
	parts := 0
	for _, op := range p.Operations {
		if op.GeneratedBy == "first" {
			parts++
		}
	}
	if parts > 1 || generated && parts != 1 || len(p.Operations) != 2+parts {
		s.Errorf("agenda %s has the operations %s", p.AgendaID, names(p))
	}
}

func shared(s *memdriver.Store) bool {
	caps, _ := s.Capabilities(context.Background())
	return caps.Shared
}
