package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pop-platform/pop/core/model"
)

// cluster returns two servers, of which the first owns Acme's insight.
func cluster(t *testing.T) (owner, other *server) {
	t.Helper()
	owner = newServer(t, serverOptions{shared: true})
	owner.configure()
	settles(t, "the first server owns the insight", func() bool { return owner.ownerOf("Acme-insight").Here })
	other = newServer(t, serverOptions{shared: true, beside: owner})
	return owner, other
}

func (s *server) ownerOf(insightID string) model.Owner {
	s.t.Helper()
	owner, err := s.client(root).Owner(s.t.Context(), insightID)
	if err != nil {
		s.t.Fatal(err)
	}
	return owner
}

func TestAnyServerAnswersWhatOnlyTheOwnerKnows(t *testing.T) {
	t.Parallel()
	owner, other := cluster(t)
	owner.share(paused, "Acme")
	id := other.submit("Acme")
	other.explains(id, "INSIGHT_PAUSED")
	if got := other.ownerOf("Acme-insight"); got.Here || !got.Alive || got.Address != owner.http.URL {
		t.Errorf("the owner is %+v", got)
	}
	preview, err := other.client(acme).Preview(t.Context(), "Acme-insight", model.PreviewRequest{Count: 1})
	if err != nil || len(preview.Agendas) != 1 || preview.Agendas[0].AgendaID != id {
		t.Errorf("the preview is %+v, %v", preview, err)
	}
	f, err := other.client(acme).Fairness(t.Context(), "Acme-insight", 1)
	if err != nil || f.Waiting != 1 || f.Epoch != 1 || f.Server != owner.ownerOf("Acme-insight").Server {
		t.Errorf("measured: %+v, %v", f, err)
	}
	// The caller's rights are those that it has on the owner.
	if _, err := other.client(globex).Fairness(t.Context(), "Acme-insight", 1); model.KindOf(err) != model.NotFound && model.KindOf(err) != model.Forbidden {
		t.Errorf("a stranger is told: %v", err)
	}
	if r := other.do(acme, "GET", "/v1/insights/Acme-insight/fairness", "", "X-Request-Id", "mine"); r.header.Get("X-Request-Id") != "mine" || len(r.header["X-Request-Id"]) != 1 {
		t.Errorf("the request has the ids %q", r.header["X-Request-Id"])
	}
	if !strings.Contains(owner.log.String(), "request=mine") {
		t.Error("the owner does not know the request by its id")
	}
}

func TestARequestIsPassedOnOnce(t *testing.T) {
	t.Parallel()
	_, other := cluster(t)
	if r := other.do(acme, "GET", "/v1/insights/Acme-insight/fairness", "", "Pop-Relayed", "1"); r.status != 503 {
		t.Errorf("it is answered with %d %s", r.status, r.body)
	}
}

func TestMetricsAreOfTheInsightsThatTheServerOwns(t *testing.T) {
	t.Parallel()
	owner, other := cluster(t)
	for s, want := range map[*server]bool{owner: true, other: false} {
		if got := strings.Contains(s.do(root, "GET", "/metrics", "").body, `pop_insight_epoch{insight="Acme-insight"} 1`); got != want {
			t.Errorf("metrics hold the insight: %t, want %t", got, want)
		}
	}
}

func TestAnotherServerAnswersOnceTheOwnerHasStopped(t *testing.T) {
	t.Parallel()
	owner, other := cluster(t)
	owner.stop()
	settles(t, "the second server owns the insight", func() bool { return other.ownerOf("Acme-insight").Here })
	f, err := other.client(acme).Fairness(t.Context(), "Acme-insight", 1)
	if err != nil || f.Epoch != 2 {
		t.Errorf("measured: %+v, %v", f, err)
	}
}

func TestAnOwnerThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	owner, other := cluster(t)
	name := owner.ownerOf("Acme-insight").Server
	owner.http.Close() // but it still schedules
	r := other.do(acme, "GET", "/v1/insights/Acme-insight/fairness", "")
	if p := r.problem(t); p.Status != 503 || !strings.Contains(p.Detail, fmt.Sprintf("server %q, which schedules insight", name)) {
		t.Errorf("it is answered with %s", r.body)
	}
}
