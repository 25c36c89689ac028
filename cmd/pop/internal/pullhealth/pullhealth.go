package pullhealth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pop-platform/pop/core/pool"
)

// silence is how long the server may not have answered before the puller is not ready: longer than the longest wait for an agenda.
const silence = time.Minute

// Serve serves on a listener until ctx is done. From when stopping is done on, the puller is not ready.
func Serve(ctx, stopping context.Context, l net.Listener, stats func() pool.Stats, log *slog.Logger) error {
	server := &http.Server{Handler: handler(stopping, stats), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health on %s: %w", l.Addr(), err)
	}
	return nil
}

func handler(stopping context.Context, stats func() pool.Stats) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if why := unready(stats(), time.Now()); stopping.Err() != nil || why != "" {
			if stopping.Err() != nil {
				why = "it is stopping"
			}
			http.Error(w, why, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector(stats))
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// unready returns why a puller cannot get agendas, or nothing. That all slots are taken is no reason.
func unready(s pool.Stats, now time.Time) string {
	switch {
	case s.Session == "":
		return "there is no session: the server has not been reached, or refuses it"
	case now.Sub(s.Contact) > silence:
		return fmt.Sprintf("the server has not answered since %s", s.Contact.Format(time.RFC3339))
	case s.Unfit != "":
		return s.Unfit
	}
	return ""
}

// collector makes metrics of a puller's stats.
type collector func() pool.Stats

// Describe describes nothing: which series there are depends on what was run.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends all metrics.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c()
	send := func(kind prometheus.ValueType, name, help string, value float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("pop_puller_"+name, help, names, nil), kind, value, values...)
	}
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	ready := 1.0
	if unready(s, time.Now()) != "" {
		ready = 0
	}
	send(gauge, "ready", "1 while there is a session, the server answers, and agendas can be run here.", ready)
	send(gauge, "slots", "Agendas that may run at a time.", float64(s.Slots))
	send(gauge, "free_slots", "Slots that no agenda takes and no call asks for.", float64(s.Free))
	send(gauge, "running_agendas", "Agendas that run.", float64(s.Running))
	send(gauge, "unreported_agendas", "Agendas that have ended, of which the server does not know yet.", float64(s.Unreported))
	send(counter, "started_agendas_total", "Agendas started.", float64(s.Started))
	send(counter, "agenda_wait_seconds_total", "Time from accepted to started, of agendas that were started for the first time.", s.Waited.Seconds())
	send(counter, "slot_wait_seconds_total", "Time that asking for agendas has waited for a free slot.", s.Full.Seconds())
	for how, n := range s.Ended {
		send(counter, "ended_agendas_total", "Agendas ended: succeeded, failed, handed_back or revoked.", float64(n), "outcome", how)
	}
	for call, n := range s.Calls {
		send(counter, "calls_total", "Calls of the server, and whether they were answered.", float64(n), "call", call.Name, "answered", strconv.FormatBool(call.Answered))
	}
	for kind, op := range s.Operation {
		send(counter, "started_operations_total", "Attempts of operations started.", float64(op.Started), "type", kind)
		send(counter, "retried_operations_total", "Attempts of operations started that were not the first.", float64(op.Retried), "type", kind)
		send(counter, "ended_operations_total", "Attempts of operations ended.", float64(op.Succeeded), "type", kind, "outcome", "succeeded")
		send(counter, "ended_operations_total", "Attempts of operations ended.", float64(op.Failed), "type", kind, "outcome", "failed")
		send(counter, "operation_seconds_total", "Time that attempts of operations took.", op.Took.Seconds(), "type", kind)
	}
}
