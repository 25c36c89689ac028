package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// metricCustomers is how many customers of an insight have series of their own, so that their number is bounded.
const metricCustomers = 10

const contentTypeMetrics = string(expfmt.FmtText)

type metricsOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

func (a *API) addMetrics() {
	metrics := operation(http.MethodGet, "/metrics", "metrics", "Metrics in Prometheus's text format", "server", access{role: driver.RoleRead})
	metrics.Description = "Of the insights that the server schedules. For callers that are global, as it names customers. An insight's ten busiest customers have series of their own; those with no customer hold all others together."
	metrics.Responses = map[string]*huma.Response{"200": {
		Description: "OK", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	register(a, metrics, func(ctx context.Context, _ *struct{}) (*metricsOutput, error) {
		if p := caller(ctx); !p.Global {
			return nil, model.Errorf(model.Forbidden, "metrics are of all customers; %s does not act for all", p.Subject)
		}
		measured, err := a.measure(ctx)
		if err != nil {
			return nil, err
		}
		text, err := a.metricsText(measured)
		return &metricsOutput{contentTypeMetrics, text}, err
	})
}

// measure measures the insights that this server schedules. The others are in the metrics of the servers that do.
func (a *API) measure(ctx context.Context) ([]model.Fairness, error) {
	var all []model.Fairness
	err := a.insights().each(ctx, "", func(v *model.Insight) (bool, error) {
		if !a.Engine.Owns(v.ID) {
			return true, nil
		}
		f, err := a.Engine.Fairness(ctx, v.ID, metricCustomers)
		switch {
		case err == nil:
			all = append(all, f)
		case model.KindOf(err) != model.NotFound && model.KindOf(err) != model.Unavailable: // deleted or lost in between
			return false, err
		}
		return true, nil
	})
	return all, err
}

func (a *API) metricsText(measured []model.Fairness) ([]byte, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(insightMetrics(measured)); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	all := prometheus.Gatherers{registry}
	if a.Metrics != nil {
		all = append(all, a.Metrics)
	}
	families, err := all.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, expfmt.FmtText)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return nil, fmt.Errorf("encode metrics: %w", err)
		}
	}
	return text.Bytes(), nil
}

// metric is a family of metrics with one value for each T.
type metric[T any] struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*T) float64
}

func insightMetric(name, help string, kind prometheus.ValueType, value func(*model.Fairness) float64) metric[model.Fairness] {
	return metric[model.Fairness]{prometheus.NewDesc("pop_insight_"+name, help, []string{"insight"}, nil), kind, value}
}

func customerMetric(name, help string, kind prometheus.ValueType, value func(*model.CustomerService) float64) metric[model.CustomerService] {
	return metric[model.CustomerService]{prometheus.NewDesc("pop_customer_"+name, help, []string{"insight", "customer"}, nil), kind, value}
}

var metricsOfInsights = []metric[model.Fairness]{
	insightMetric("waiting_agendas", "Agendas that wait to be scheduled.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return float64(f.Waiting) }),
	insightMetric("queued_agendas", "Agendas that are scheduled and not yet claimed.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return float64(f.Queued) }),
	insightMetric("in_flight_agendas", "Agendas that are queued or executing.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return float64(f.InFlight) }),
	insightMetric("scheduled_agendas_total", "Agendas scheduled since this server owns the insight.", prometheus.CounterValue, func(f *model.Fairness) float64 { return float64(f.Scheduled) }),
	insightMetric("waiting_customers", "Customers with agendas that wait.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return float64(f.Customers) }),
	insightMetric("parked_customers", "Customers that may not have any agenda scheduled now.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return float64(f.Parked) }),
	insightMetric("lag", "The largest that two customers can have been served apart, each over its weight.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return f.Lag }),
	insightMetric("lag_bound", "The largest lag that the algorithm allows; 0 if it promises nothing.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return f.Bound }),
	insightMetric("fair", "1 if every customer is within its bound, else 0.", prometheus.GaugeValue, func(f *model.Fairness) float64 {
		if f.Holds {
			return 1
		}
		return 0
	}),
	insightMetric("epoch", "How often the insight was taken over by a server; 0 if there is one server only.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return float64(f.Epoch) }),
	insightMetric("jain_index", "Jain's index of the last window of services.", prometheus.GaugeValue, func(f *model.Fairness) float64 { return f.Jain }),
}

var metricsOfCustomers = []metric[model.CustomerService]{
	customerMetric("waiting_agendas", "Agendas of the customer that wait to be scheduled.", prometheus.GaugeValue, func(s *model.CustomerService) float64 { return float64(s.Waiting) }),
	customerMetric("in_flight_agendas", "Agendas of the customer that are queued or executing.", prometheus.GaugeValue, func(s *model.CustomerService) float64 { return float64(s.InFlight) }),
}

// scheduledOfCustomer has no series of all others: it would go down whenever one of them joins the busiest.
var scheduledOfCustomer = customerMetric("scheduled_agendas_total", "Agendas of the customer scheduled since this server owns the insight.", prometheus.CounterValue,
	func(s *model.CustomerService) float64 { return float64(s.Scheduled) })

// insightMetrics are measurements of insights as Prometheus collects them.
type insightMetrics []model.Fairness

// Describe describes nothing: the metrics are only collected once.
func (insightMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends a value of each metric for each insight, and for each customer that stands for itself.
func (all insightMetrics) Collect(ch chan<- prometheus.Metric) {
	for i := range all {
		f := &all[i]
		for _, m := range metricsOfInsights {
			m.send(ch, f, f.InsightID)
		}
		for n := range f.Busiest {
			s := &f.Busiest[n]
			scheduledOfCustomer.send(ch, s, f.InsightID, s.CustomerID)
			for _, m := range metricsOfCustomers {
				m.send(ch, s, f.InsightID, s.CustomerID)
			}
		}
		for _, m := range metricsOfCustomers {
			m.send(ch, &f.Others, f.InsightID, "") // no customer has this id
		}
	}
}

func (m metric[T]) send(ch chan<- prometheus.Metric, v *T, labels ...string) {
	value, err := prometheus.NewConstMetric(m.desc, m.kind, m.value(v), labels...)
	if err != nil {
		value = prometheus.NewInvalidMetric(m.desc, err)
	}
	ch <- value
}
