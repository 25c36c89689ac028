package pullhealth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/pool"
)

func ask(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestG30_APullerIsReadyWhileTheServerAnswersEvenIfAllSlotsAreTaken(t *testing.T) {
	t.Parallel()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, tc := range map[string]struct {
		stopping context.Context //nolint:containedctx // of the table
		stats    pool.Stats
		want     int
		why      string
	}{
		"connected":                {t.Context(), pool.Stats{Session: "s", Contact: time.Now(), Slots: 3, Free: 3}, 200, "ok"},
		"all slots taken":          {t.Context(), pool.Stats{Session: "s", Contact: time.Now(), Slots: 3}, 200, "ok"},
		"never connected":          {t.Context(), pool.Stats{}, 503, "there is no session"},
		"the server does not talk": {t.Context(), pool.Stats{Session: "s", Contact: time.Now().Add(-2 * silence)}, 503, "has not answered since"},
		"a full disk":              {t.Context(), pool.Stats{Session: "s", Contact: time.Now(), Unfit: "the disk is full"}, 503, "the disk is full"},
		"told to stop":             {stopped, pool.Stats{Session: "s", Contact: time.Now()}, 503, "it is stopping"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := handler(tc.stopping, func() pool.Stats { return tc.stats })
			if code, body := ask(t, h, "/readyz"); code != tc.want || !strings.Contains(body, tc.why) {
				t.Errorf("readyz: %d %s; want %d and %q", code, body, tc.want, tc.why)
			}
			if code, _ := ask(t, h, "/healthz"); code != 200 {
				t.Errorf("healthz: %d; it lives", code)
			}
		})
	}
}

func TestG33_MetricsTellWhatThePullerDoes(t *testing.T) {
	t.Parallel()
	h := handler(t.Context(), func() pool.Stats {
		return pool.Stats{
			Session: "s", Contact: time.Now(), Slots: 4, Free: 1, Running: 3, Unreported: 2, Started: 9, Full: 1500 * time.Millisecond,
			Ended: map[string]int64{"failed": 5}, Calls: map[pool.Call]int64{{Name: "report"}: 7},
			Operation: map[string]pool.OperationStats{"render": {Started: 6, Retried: 2, Succeeded: 3, Failed: 1, Took: 2 * time.Second}},
		}
	})
	_, text := ask(t, h, "/metrics")
	for _, want := range []string{
		"pop_puller_ready 1", "pop_puller_slots 4", "pop_puller_free_slots 1", "pop_puller_running_agendas 3", "pop_puller_unreported_agendas 2",
		"pop_puller_started_agendas_total 9", "pop_puller_slot_wait_seconds_total 1.5", `pop_puller_ended_agendas_total{outcome="failed"} 5`,
		`pop_puller_calls_total{answered="false",call="report"} 7`, `pop_puller_retried_operations_total{type="render"} 2`,
		`pop_puller_ended_operations_total{outcome="failed",type="render"} 1`, `pop_puller_operation_seconds_total{type="render"} 2`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
}
