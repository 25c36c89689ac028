package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

func TestAgendasAreRunAgainInBulkEachOnItsOwn(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	c := s.client(acme)
	submit := func(customer, link string, end func(id string)) string {
		a := agenda(customer)
		a.LinkID = link
		got, err := s.client(root).Submit(t.Context(), a, "")
		if err != nil {
			t.Fatal(err)
		}
		if end != nil {
			end(got.Agenda.ID)
		}
		return got.Agenda.ID
	}
	cancel := func(id string) { must(t)(s.client(root).Cancel(t.Context(), id, "")) }
	one, two := submit("Acme", "order", cancel), submit("Acme", "order", cancel)
	alive := submit("Acme", "order", nil)
	foreign := submit("globex", "order", cancel)

	results := func(all wire.RerunAll) map[string]int {
		t.Helper()
		got := map[string]int{}
		for {
			answer, err := c.RerunAll(t.Context(), all)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range answer.Items {
				got[r.AgendaID] = r.Status
				if (r.Problem == nil) != (r.Status == http.StatusOK) {
					t.Errorf("%+v", r)
				}
			}
			if all.Cursor = answer.Next; all.Cursor == "" {
				return got
			}
		}
	}
	reset := model.Rerun{SkipExecution: true}
	if diff := cmp.Diff(map[string]int{}, results(wire.RerunAll{LinkID: "order", Rerun: reset})); diff != "" {
		t.Errorf("none has failed: %s", diff)
	}
	want := map[string]int{one: 200, two: 200}
	if diff := cmp.Diff(want, results(wire.RerunAll{LinkID: "order", Outcome: model.Cancelled, Rerun: reset, Limit: 1})); diff != "" {
		t.Errorf("by linkId: %s", diff)
	}
	want = map[string]int{one: 200, alive: 409, foreign: 404, "nope": 404}
	if diff := cmp.Diff(want, results(wire.RerunAll{AgendaIDs: []string{one, alive, foreign, "nope"}, Rerun: reset})); diff != "" {
		t.Errorf("by id: %s", diff)
	}
	want = map[string]int{one: 422}
	if diff := cmp.Diff(want, results(wire.RerunAll{AgendaIDs: []string{one}, Rerun: model.Rerun{Operations: []string{"nope"}}})); diff != "" {
		t.Errorf("an operation that is not there: %s", diff)
	}
	r := s.do(acme, "POST", "/v1/agendas:rerun", `{"outcome":"failed"}`)
	if p := r.problem(t); r.status != 422 || !strings.Contains(p.Detail+p.Errors[0].Message, "give a linkId, customerId, insightId or agendaIds") {
		t.Errorf("without any filter: %d %s", r.status, r.body)
	}
}

func TestAPauseSaysWhoPausedAnAgendaAndWhy(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	c := s.client(acme)
	got, err := c.Submit(t.Context(), agenda("Acme"), "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Pause(t.Context(), got.Agenda.ID, wire.PauseAgenda{Reason: "the disk is full"})
	if err != nil || p.Pause == nil || *p.Pause != (model.Pause{By: "acme/admin", Reason: "the disk is full"}) {
		t.Errorf("%+v, %v", p.Pause, err)
	}
	why, err := c.Explain(t.Context(), got.Agenda.ID)
	if err != nil || len(why.Reasons) != 1 || why.Reasons[0].Code != "AGENDA_PAUSED" || !strings.Contains(why.Reasons[0].Remedy, "paused by acme/admin: the disk is full") {
		t.Errorf("%+v, %v", why, err)
	}
	r := s.do(acme, "POST", "/v1/agendas/"+got.Agenda.ID+":pause", `{"until":"2001-01-01T00:00:00Z"}`)
	if problem := r.problem(t); r.status != 422 || problem.Errors[0].Location != "body.until" {
		t.Errorf("a pause that is over: %d %s", r.status, r.body)
	}
	if p, err := c.Resume(t.Context(), got.Agenda.ID); err != nil || p.Pause != nil {
		t.Errorf("%+v, %v", p.Pause, err)
	}
}
