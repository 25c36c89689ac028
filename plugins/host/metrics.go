package host

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pop-platform/pop/plugins/driver"
)

// Metrics measures calls of drivers and the processes behind them, for all plugins of a server. A nil one measures nothing.
type Metrics struct {
	calls    *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	up       *prometheus.GaugeVec
	healthy  *prometheus.GaugeVec
	starts   *prometheus.CounterVec
	info     *prometheus.GaugeVec
}

// NewMetrics returns metrics that are registered.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pop_plugin_" + name, Help: help}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pop_plugin_" + name, Help: help}, labels)
	}
	m := &Metrics{
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pop_plugin_call_seconds", Help: "How long calls of drivers take; those of receive wait for messages.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"plugin", "method"}),
		errors:   counter("call_errors_total", "Calls of drivers that failed, by the code of the error. A conflict of a write is no failure.", "plugin", "method", "code"),
		inFlight: gauge("calls_in_flight", "Calls of drivers that are going on.", "plugin"),
		up:       gauge("up", "Whether the plugin can be called: 1 if its process is ready.", "plugin"),
		healthy:  gauge("healthy", "Whether the backend of the plugin answered the last check.", "plugin"),
		starts:   counter("starts_total", "Processes of the plugin that became ready, the first included.", "plugin"),
		info:     gauge("info", "The version of the plugin that is running.", "plugin", "version"),
	}
	for _, c := range []prometheus.Collector{m.calls, m.errors, m.inFlight, m.up, m.healthy, m.starts, m.info} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) started(plugin, version string) {
	if m == nil {
		return
	}
	m.up.WithLabelValues(plugin).Set(1)
	m.healthy.WithLabelValues(plugin).Set(1)
	m.starts.WithLabelValues(plugin).Inc()
	m.info.DeletePartialMatch(prometheus.Labels{"plugin": plugin})
	m.info.WithLabelValues(plugin, version).Set(1)
}

func (m *Metrics) stopped(plugin string) {
	if m != nil {
		m.up.WithLabelValues(plugin).Set(0)
	}
}

func (m *Metrics) examined(plugin string, healthy bool) {
	if m == nil {
		return
	}
	value := 0.0
	if healthy {
		value = 1
	}
	m.healthy.WithLabelValues(plugin).Set(value)
}

// meter measures the calls of one method.
type meter struct {
	metrics        *Metrics
	plugin, method string
	calls          prometheus.Observer
	inFlight       prometheus.Gauge
}

func (m *Metrics) meter(plugin, method string) meter {
	return meter{metrics: m, plugin: plugin, method: method, calls: m.calls.WithLabelValues(plugin, method), inFlight: m.inFlight.WithLabelValues(plugin)}
}

// measure makes a call and measures it.
func measure[T any](m *meter, call func() (T, error)) (T, error) {
	m.inFlight.Inc()
	start := time.Now()
	resp, err := call()
	m.calls.Observe(time.Since(start).Seconds())
	m.inFlight.Dec()
	if err != nil {
		m.metrics.errors.WithLabelValues(m.plugin, m.method, strings.ReplaceAll(driver.CodeOf(err).String(), " ", "_")).Inc()
	}
	return resp, err
}
