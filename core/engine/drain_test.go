package engine

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
)

func TestADrainKeepsNewAgendasOutAndLetsTheOthersFinish(t *testing.T) {
	t.Parallel()
	for name, drain := range map[string]func(*world, *model.Pause){
		"of the customer": func(w *world, p *model.Pause) { w.limit("a", func(c *model.Customer) { c.Drain = p }) },
		"of the insight":  func(w *world, p *model.Pause) { w.tune(func(i *model.Insight) { i.Drain = p }) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.tune(func(i *model.Insight) { i.QueueSize = new(1) })
				known := Submission{Agenda: agendaOf("a"), IdempotencyKey: "known"}
				first := w.submitOne(known).Agenda.ID
				synctest.Wait() // it is QUEUED, and nothing else
				ids := []string{first, w.submit("a")}
				synctest.Wait()
				drain(w, &model.Pause{By: "ops", Reason: "it moves", Until: time.Now().Add(time.Hour)})

				got := w.Submit(w.ctx(), []Submission{{Agenda: agendaOf("a")}})[0]
				wantKind(t, got.Err, model.Conflict)
				if text := got.Err.Error(); !strings.Contains(text, "drained by ops (it moves); try again after") {
					t.Errorf("it is refused with %q", text)
				}
				w.wantReasons(ids[1], "QUEUE_FULL") // a drain is no reason
				if again := w.submitOne(known); !again.Replayed || again.Agenda.ID != ids[0] {
					t.Errorf("what was accepted before is answered with %+v", again)
				}
				for session := w.session("executor"); len(ids) > 0; ids = ids[1:] {
					w.taken(complete(w.pullOne(session), model.Succeeded))
				}
				page, err := w.List(w.ctx(), Filter{State: model.Complete}, "", 10)
				w.must(err)
				if len(page.Progress) != 2 {
					t.Fatalf("%d agendas have ended, want 2", len(page.Progress))
				}
				_, err = w.Rerun(w.ctx(), page.Progress[0].AgendaID, model.Rerun{})
				wantKind(t, err, model.Conflict)

				<-time.After(time.Hour)
				w.submit("a")
			})
		})
	}
}

func TestTheDrainOfACustomerKeepsNobodyElseOut(t *testing.T) {
	inWorld(t, func(_ *testing.T, w *world) {
		w.limit("a", func(c *model.Customer) { c.Drain = &model.Pause{By: "ops"} })
		w.submit("b")
	})
}

func TestWhatIsHeldIsToldThatItCannotBeRunWhileADrainHolds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		held := agendaOf("a")
		held.Params = model.Params{model.ParamDoNotRun: json.RawMessage("true")}
		id := w.submitOne(Submission{Agenda: held}).Agenda.ID
		remedy := func() string {
			e, err := w.Explain(w.ctx(), id)
			w.must(err)
			return e.Reasons[0].Remedy
		}
		if text := remedy(); strings.Contains(text, "drained") {
			t.Error(text)
		}
		w.tune(func(i *model.Insight) { i.Drain = &model.Pause{By: "ops", Reason: "it moves"} })
		w.wantReasons(id, "HELD")
		if text := remedy(); !strings.Contains(text, "run it again") || !strings.Contains(text, `not now, as insight "insight" takes no agendas: it was drained by ops (it moves)`) {
			t.Error(text)
		}
	})
}
