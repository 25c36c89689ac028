package host_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

// values returns the values of all metrics, by name and labels; of histograms the count.
func values(t *testing.T, r prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := make([]string, 0, len(m.GetLabel()))
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			name := strings.TrimPrefix(f.GetName(), "pop_plugin_") + " " + strings.Join(labels, " ")
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestCallsAndProcessesAreMeasuredPerMethod(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	metrics, err := host.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "serve", func(e *host.Entry, o *host.Options) {
		e.Services, o.Metrics = []driver.Service{driver.StoreService, driver.QueueService, driver.AuthorizerService}, metrics
	})
	linked, err := host.Link(t.Context(), memory, host.Entry{Name: "linked", Services: []driver.Service{driver.StoreService}}, host.Options{Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	s, q, a := must(t, p.Store), must(t, p.Queue), must(t, p.Authorizer)
	for _, s := range []driver.Store{s, must(t, linked.Store)} {
		migrate(t, s)
		for range 3 {
			if _, err := get(t.Context(), s, "a"); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, _ = s.Scan(t.Context(), driver.ScanRequest{})
	_, _ = q.Send(t.Context(), driver.SendRequest{Queue: "none", Messages: []driver.Message{{Body: []byte("x")}}})
	_, _ = a.Authenticate(t.Context(), bearer("token-of-nobody"))
	want := map[string]float64{
		"call_seconds store.migrate test": 1, "call_seconds store.get test": 3, "call_seconds store.scan test": 1,
		"call_seconds store.migrate linked": 1, "call_seconds store.get linked": 3,
		"call_seconds queue.send test": 1, "call_seconds authorizer.authenticate test": 1,
		"call_errors_total invalid store.scan test": 1, "call_errors_total invalid queue.send test": 1,
		"call_errors_total unauthenticated authorizer.authenticate test": 1,
		"calls_in_flight test": 0, "calls_in_flight linked": 0, "up test": 1, "healthy test": 1, "starts_total test": 1, "info test 1.2.3": 1,
	}
	got := values(t, registry)
	for name, v := range got { // methods that were not called
		if v == 0 && strings.HasPrefix(name, "call_seconds") {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	kill(t, p, syscall.SIGKILL)
	awaitStarts(t, p, 2)
	if got := values(t, registry); got["starts_total test"] != 2 || got["up test"] != 1 {
		t.Errorf("after a restart: %v", got)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := values(t, registry)["up test"]; got != 0 {
		t.Errorf("a plugin that is closed is up: %v", got)
	}
}
