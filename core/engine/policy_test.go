package engine

import (
	"bytes"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// limit changes what a customer may do.
func (w *world) limit(id string, change func(*model.Customer)) {
	w.Helper()
	entry, err := w.catalog.Customers.Get(w.ctx(), id)
	w.must(err)
	change(&entry.Object)
	w.must(w.catalog.Customers.Replace(w.ctx(), entry.Object, ""))
}

// tune changes how the insight schedules.
func (w *world) tune(change func(*model.Insight)) {
	w.Helper()
	entry, err := w.catalog.Insights.Get(w.ctx(), insightID)
	w.must(err)
	change(&entry.Object)
	w.must(w.catalog.Insights.Replace(w.ctx(), entry.Object, ""))
}

// queued counts a customer's QUEUED agendas once all is quiet.
func (w *world) queued(customers ...string) int {
	w.Helper()
	synctest.Wait()
	page, err := w.List(w.ctx(), Filter{State: model.Queued, CustomerIDs: customers}, "", 1000)
	w.must(err)
	return len(page.Progress)
}

func (w *world) explained(id string) []string {
	w.Helper()
	e, err := w.Explain(w.ctx(), id)
	w.must(err)
	codes := []string{}
	for _, r := range e.Reasons {
		if r.Remedy == "" {
			w.Errorf("reason %s has no remedy", r.Code)
		}
		codes = append(codes, r.Code)
	}
	return codes
}

func (w *world) wantReasons(id string, codes ...string) {
	w.Helper()
	if got := w.explained(id); !slices.Equal(got, codes) {
		w.Errorf("agenda waits for %v, want %v", got, codes)
	}
}

func TestACapHoldsACustomerBackUntilOneOfItsAgendasEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.MaxInFlight = new(2) })
		var last string
		for range 4 {
			last = w.submit("a")
			<-time.After(time.Millisecond)
		}
		w.submit("b")
		if a, b := w.queued("a"), w.queued("b"); a != 2 || b != 1 {
			t.Fatalf("%d of a and %d of b are QUEUED, want 2 and 1", a, b)
		}
		w.wantReasons(last, "CUSTOMER_CAP", "BEHIND_OWN")
		session := w.session("executor")
		a := w.pullOne(session)
		if got := w.queued("a"); got != 1 {
			t.Errorf("a claim must not free the cap: %d are QUEUED, want 1", got)
		}
		w.taken(complete(a, model.Succeeded))
		if got := w.queued("a"); got != 2 {
			t.Errorf("after one has ended %d are QUEUED, want 2", got)
		}
	})
}

func TestCapsHoldOverARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.MaxInFlight = new(2) })
		for range 5 {
			w.submit("a")
		}
		session := w.session("executor")
		w.pullOne(session)
		synctest.Wait()
		w.crash()
		w.start()
		if got := w.queued("a"); got != 1 { // the other is EXECUTING, and its session lives
			t.Errorf("%d are QUEUED, want 1", got)
		}
	})
}

func TestAPauseHoldsUntilItEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.Pause = &model.Pause{By: "ops"} })
		id, other := w.submit("a"), w.submit("b")
		if a, b := w.queued("a"), w.queued("b"); a != 0 || b != 1 {
			t.Fatalf("%d of a and %d of b are QUEUED, want 0 and 1", a, b)
		}
		w.wantReasons(id, "CUSTOMER_PAUSED")
		w.wantReasons(other, "NO_PULLER")
		w.limit("a", func(c *model.Customer) { c.Pause = nil })
		if got := w.queued("a"); got != 1 {
			t.Errorf("after the pause %d are QUEUED, want 1", got)
		}

		w.tune(func(v *model.Insight) { v.Pause = &model.Pause{By: "ops", Until: time.Now().Add(time.Hour)} })
		late := w.submit("b")
		if got := w.queued("b"); got != 1 {
			t.Errorf("%d are QUEUED while the insight is paused, want the one before", got)
		}
		w.wantReasons(late, "INSIGHT_PAUSED")
		<-time.After(time.Hour + time.Millisecond)
		if got := w.queued("b"); got != 2 {
			t.Errorf("%d are QUEUED after the pause has run out, want 2", got)
		}
	})
}

func TestARateSpreadsAgendasOverTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.RateLimit = &model.Rate{Count: 1, PeriodSeconds: 10, Burst: 2} })
		for range 5 {
			w.submit("a")
		}
		for _, want := range []int{2, 3, 4, 5} {
			if got := w.queued("a"); got != want {
				t.Fatalf("%d are QUEUED, want %d", got, want)
			}
			<-time.After(10 * time.Second)
		}
	})
}

func TestAQuotaIsKeptOverARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.Quota = &model.Quota{Count: 3, WindowSeconds: 3600} })
		var last string
		for range 8 {
			last = w.submit("a")
			<-time.After(time.Millisecond)
		}
		if got := w.queued("a"); got != 3 {
			t.Fatalf("%d are QUEUED, want 3", got)
		}
		w.wantReasons(last, "QUOTA", "BEHIND_OWN")
		w.crash()
		w.start()
		if got := w.queued("a"); got != 3 {
			t.Errorf("%d are QUEUED after a restart, want 3", got)
		}
		<-time.After(time.Hour)
		if got := w.queued("a"); got != 6 {
			t.Errorf("%d are QUEUED in the next window, want 6", got)
		}
	})
}

func TestAnAccountGoesADayAfterItAllowsWhatAnEmptyOneWould(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.Quota = &model.Quota{Count: 3, WindowSeconds: 3600} })
		key := accountKey(insightID, "a")
		_, err := w.store.WriteOne(w.ctx(), driver.Op{Record: driver.Record{Key: key, Body: []byte("{}")}}) // as an earlier version did
		w.must(err)
		w.crash()
		var log bytes.Buffer
		w.options.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
		w.start()
		stored := func() bool {
			rec, err := w.store.GetOne(w.ctx(), key)
			w.must(err)
			return rec != nil
		}
		for round := 1; round <= 2; round++ { // the second one finds no account where it has known one
			ids := make([]string, 5)
			for i := range ids {
				ids[i] = w.submit("a")
			}
			if got := w.queued("a"); got != 3 {
				t.Fatalf("round %d: %d are QUEUED, want 3", round, got)
			}
			<-time.After(time.Hour)
			if got := w.queued("a"); got != 5 {
				t.Fatalf("round %d: %d are QUEUED in the next window, want 5", round, got)
			}
			for _, id := range ids {
				_, err := w.Cancel(w.ctx(), id, "")
				w.must(err)
			}
			<-time.After(23 * time.Hour)
			if !stored() {
				t.Errorf("round %d: the account has gone while it may still tell something", round)
			}
			<-time.After(3 * time.Hour)
			if stored() {
				t.Errorf("round %d: the account is still there a day after its window", round)
			}
		}
		w.Stop()
		if log.Len() > 0 {
			t.Errorf("the log says:\n%s", &log)
		}
	})
}

func TestNotBeforeHoldsAnAgendaUntilItsTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		agenda := agendaOf("a")
		agenda.NotBefore = time.Now().Add(time.Hour)
		id := w.submitOne(Submission{Agenda: agenda}).Agenda.ID
		synctest.Wait()
		w.wantReasons(id, "SCHEDULED_FOR")
		w.crash()
		w.start()
		<-time.After(time.Hour - time.Second)
		synctest.Wait()
		w.wantState(id, model.Waiting, "")
		<-time.After(2 * time.Second)
		synctest.Wait()
		w.wantState(id, model.Queued, "")
	})
}

func TestPriorityOrdersACustomersOwnAgendasAndSurvivesARestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.tune(func(v *model.Insight) { v.Pause = &model.Pause{By: "ops"} })
		submit := func(customer string, priority int) string {
			agenda := agendaOf(customer)
			agenda.Priority = priority
			<-time.After(time.Millisecond)
			return w.submitOne(Submission{Agenda: agenda}).Agenda.ID
		}
		low, middle, high := submit("a", -1), submit("a", 0), submit("a", 5)
		theirs := submit("b", 1)
		synctest.Wait()
		w.crash()
		w.start()
		synctest.Wait()
		order := func(req model.PreviewRequest) (ids []string) {
			p, err := w.Preview(w.ctx(), insightID, req)
			w.must(err)
			for _, a := range p.Agendas {
				ids = append(ids, a.AgendaID)
			}
			return ids
		}
		for _, c := range []struct {
			algorithm model.SchedulingAlgorithm
			want      []string
		}{
			{model.Priority, []string{high, theirs, middle, low}},
			{model.FirstInFirstOut, []string{low, middle, high, theirs}},
		} {
			if got := order(model.PreviewRequest{Algorithm: c.algorithm}); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.algorithm, got, c.want)
			}
		}
		// What is previewed is what happens.
		preview := order(model.PreviewRequest{})
		w.tune(func(v *model.Insight) { v.Pause = nil })
		session := w.session("executor")
		var got []string
		for range 4 {
			got = append(got, w.pullOne(session).AgendaID)
		}
		if !slices.Equal(got, preview) {
			t.Errorf("scheduled in the order %v, previewed as %v", got, preview)
		}
	})
}

func TestWhatIfWeightsWereOtherwise(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.tune(func(v *model.Insight) { v.Pause = &model.Pause{By: "ops"} })
		for range 20 {
			w.submit("a")
			w.submit("b")
		}
		synctest.Wait()
		count := func(req model.PreviewRequest) map[string]int {
			p, err := w.Preview(w.ctx(), insightID, req)
			w.must(err)
			n := map[string]int{}
			for _, a := range p.Agendas {
				n[a.CustomerID]++
			}
			return n
		}
		if got := count(model.PreviewRequest{Count: 12}); got["a"] != 6 {
			t.Errorf("with equal weights: %v", got)
		}
		if got := count(model.PreviewRequest{Count: 12, Customers: map[string]model.Limits{"a": {Weight: new(3.0)}}}); got["a"] != 9 {
			t.Errorf("with three times the weight: %v", got)
		}
		_, err := w.Preview(w.ctx(), insightID, model.PreviewRequest{Customers: map[string]model.Limits{"a": {Weight: new(0.0)}}})
		wantKind(t, err, model.Invalid)
	})
}

func TestTheCertificateCountsWhatWasScheduled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 30 {
			w.submit("a")
			w.submit("b")
		}
		session := w.session("executor")
		for range 10 {
			for _, a := range w.pull(session, 5) {
				w.taken(complete(a, model.Succeeded))
			}
			synctest.Wait()
		}
		f, err := w.Fairness(w.ctx(), insightID, 1)
		w.must(err)
		if f.Scheduled != 60 || !f.Holds || f.Lag > f.Bound || len(f.Busiest) != 1 || f.Others.Scheduled != 30 {
			t.Errorf("certificate %+v", f)
		}
		_, err = w.Fairness(w.ctx(), "nowhere", 1)
		wantKind(t, err, model.NotFound)
	})
}

func TestALowerCapLetsRunningWorkFinish(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for range 6 {
			w.submit("a")
		}
		session := w.session("executor")
		running := w.pull(session, 3)
		w.limit("a", func(c *model.Customer) { c.MaxInFlight = new(1) })
		for _, a := range running {
			w.taken(complete(a, model.Succeeded))
			w.wantState(a.AgendaID, model.Complete, model.Succeeded)
		}
	})
}

func TestAFullInsightDoesNotHoldAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.tune(func(i *model.Insight) { i.QueueSize = new(1) })
		w.must(w.catalog.Insights.Create(w.ctx(), model.Insight{
			Meta: model.Meta{ID: "other", CustomerID: "a", Title: "other"}, ResourcePoolID: poolID,
			Sharing: model.Sharing{IsGlobal: true}, Mappers: model.Mappers{OperationType: []string{"play"}},
		}))
		for range 20 {
			w.submit("a")
		}
		if got := w.queued("a"); got != 1 {
			t.Fatalf("%d are QUEUED, want 1", got)
		}
		play := agendaOf("a")
		play.Operations[0].Type = "play"
		id := w.submitOne(Submission{Agenda: play}).Agenda.ID
		synctest.Wait()
		w.wantState(id, model.Queued, "")
	})
}

func TestAnAgendaThatWaitsForItsNextAttemptTakesNoPlaceUnderACap(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.MaxInFlight = new(1) })
		failing := agendaOf("a")
		failing.Backoff = &model.Backoff{InitialSeconds: new(600.0)}
		first := w.submitOne(Submission{Agenda: failing}).Agenda.ID
		session := w.session("executor")
		w.taken(complete(w.pullOne(session), model.Failed))
		w.wantState(first, model.Waiting, "")
		second := w.submit("a")
		synctest.Wait()
		w.wantState(second, model.Queued, "")
	})
}
