package api_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// share has Acme's insight take the agendas of customers, which are created if they are new.
func (s *server) share(change func(*model.Insight), customers ...string) {
	s.t.Helper()
	c := s.client(root)
	for _, id := range customers {
		must(s.t)(c.Customers.Put(s.t.Context(), id, customer(id, "Acme-pool"), ""))
	}
	i := insight("Acme-insight", "Acme", "Acme-pool")
	i.IsGlobal = true
	change(&i)
	must(s.t)(c.Insights.Put(s.t.Context(), i.ID, i, ""))
}

func paused(i *model.Insight) { i.Pause = &model.Pause{By: "ops"} }

func (s *server) submit(customerID string) string {
	s.t.Helper()
	submitted, err := s.client(root).Submit(s.t.Context(), agenda(customerID), "")
	if err != nil {
		s.t.Fatal(err)
	}
	return submitted.Agenda.ID
}

// settles waits until the scheduler, which works on its own, has come to where a condition holds.
func settles(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// explains waits until an agenda waits for reasons, and returns what is said of it.
func (s *server) explains(id string, want ...string) model.Explanation {
	s.t.Helper()
	var e model.Explanation
	settles(s.t, fmt.Sprintf("agenda waits for %v", want), func() bool {
		var err error
		if e, err = s.client(root).Explain(s.t.Context(), id); err != nil {
			s.t.Fatal(err)
		}
		var codes []string
		for _, r := range e.Reasons {
			codes = append(codes, r.Code)
		}
		return slices.Equal(want, codes)
	})
	return e
}

func TestExplainSaysWhyAnAgendaWaits(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	capped := customer("Acme", "Acme-pool")
	capped.MaxInFlight = new(1)
	must(t)(s.client(root).Customers.Put(t.Context(), "Acme", capped, ""))
	first := s.submit("Acme")
	if e := s.explains(first, "NO_PULLER"); e.State != model.Queued || e.InsightID != "Acme-insight" {
		t.Errorf("%+v", e)
	}
	second := s.submit("Acme")
	if r := s.explains(second, "CUSTOMER_CAP").Reasons[0]; r.Count != 1 || r.Limit != 1 || r.Remedy == "" {
		t.Errorf("%+v", r)
	}
	s.share(func(i *model.Insight) {
		paused(i)
		i.Pause.Until = time.Now().Add(time.Hour)
	})
	if r := s.explains(second, "INSIGHT_PAUSED", "CUSTOMER_CAP").Reasons[0]; r.Until.IsZero() {
		t.Errorf("%+v", r)
	}
	must(t)(s.client(root).Cancel(t.Context(), first, ""))
	if e := s.explains(first); e.State != model.Complete {
		t.Errorf("%+v", e)
	}
}

func TestPreviewShowsWhatAChangeWouldDoAndDoesNotDoIt(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	s.share(paused, "globex")
	for range 3 {
		s.submit("Acme")
	}
	for range 3 {
		s.submit("globex")
	}
	order := func(req model.PreviewRequest) string {
		p, err := s.client(acme).Preview(t.Context(), "Acme-insight", req)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, item := range p.Agendas {
			names = append(names, item.CustomerID[:1])
		}
		return strings.Join(names, "")
	}
	settles(t, "all agendas are in line", func() bool { return len(order(model.PreviewRequest{})) == 6 })
	for _, test := range []struct {
		name string
		req  model.PreviewRequest
		want string
	}{
		{"as it is", model.PreviewRequest{}, "AgAgAg"},
		{"the first", model.PreviewRequest{Count: 3}, "AgA"},
		{"with another algorithm", model.PreviewRequest{Algorithm: model.FirstInFirstOut}, "AAAggg"},
		{"with another weight", model.PreviewRequest{Customers: map[string]model.Limits{"globex": {Weight: new(2.0)}}}, "AggAgA"},
		{"with a cap", model.PreviewRequest{Customers: map[string]model.Limits{"Acme": {MaxInFlight: new(1)}}}, "Aggg"},
		{"as it still is", model.PreviewRequest{}, "AgAgAg"},
	} {
		if got := order(test.req); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if r := s.do(acme, "POST", "/v1/insights/Acme-insight:preview", ""); r.status != 200 {
		t.Errorf("without a body: %d %s", r.status, r.body)
	}
}

func TestFairnessOfAnInsightIsForItsOwner(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	id := s.submit("Acme")
	const preview, fairness = "POST /v1/insights/Acme-insight:preview", "GET /v1/insights/Acme-insight/fairness"
	explain := "GET /v1/agendas/" + id + "/explain"
	check := func(token, request string, want int) {
		t.Helper()
		method, path, _ := strings.Cut(request, " ")
		if r := s.do(token, method, path, ""); r.status != want {
			t.Errorf("%s by %s: %d %s, want %d", request, token, r.status, r.body, want)
		}
	}
	for _, request := range []string{preview, fairness, explain} {
		check(root, request, 200)
		check(acme, request, 200)
		check(viewer, request, 200)
		check(globex, request, 404)
	}
	s.share(func(*model.Insight) {})
	check(globex, preview, 403)
	check(globex, fairness, 403)
	check(globex, "GET /v1/insights/Acme-insight", 200)
	check(acme, "GET /metrics", 403)
	check(viewer, "GET /metrics", 403)
	check(root, "GET /v1/agendas/nope/explain", 404)
	check(root, "POST /v1/insights/nope:preview", 404)
	check(root, "GET /v1/insights/nope/fairness", 404)
	if r := s.do(root, "POST", "/v1/insights/Acme-insight:preview", `{"customers":{"nope":{"weight":2}}}`); r.status != 404 || !strings.Contains(r.body, "nope") {
		t.Errorf("preview with an unknown customer: %d %s", r.status, r.body)
	}
}

func TestFairnessListsTheBusiestAndSumsUpTheRest(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	s.share(paused, "globex")
	s.submit("Acme")
	s.submit("Acme")
	s.submit("globex")
	var f model.Fairness
	settles(t, "all agendas are in line", func() bool {
		var err error
		if f, err = s.client(acme).Fairness(t.Context(), "Acme-insight", 1); err != nil {
			t.Fatal(err)
		}
		return f.Waiting == 3
	})
	if len(f.Busiest) != 1 || f.Busiest[0].CustomerID != "Acme" || f.Busiest[0].Waiting != 2 || f.Others.Waiting != 1 || f.Customers != 2 || !f.Holds {
		t.Errorf("%+v", f)
	}
	if r := s.do(acme, "GET", "/v1/insights/Acme-insight/fairness", ""); strings.Count(r.body, `"customerId"`) != 2 {
		t.Errorf("twenty are listed unless the caller says how many: %s", r.body)
	}
	for _, busiest := range []string{"-1", "101", "many"} {
		r := s.do(acme, "GET", "/v1/insights/Acme-insight/fairness?busiest="+busiest, "")
		if p := r.problem(t); r.status != 422 || p.Errors[0].Location != "query.busiest" {
			t.Errorf("%s: %d %s", busiest, r.status, r.body)
		}
	}
}

func TestBadLimitsAreRefusedWithTheirPath(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	const (
		customers = "PUT /v1/customers/Acme"
		insights  = "PUT /v1/insights/Acme-insight"
		preview   = "POST /v1/insights/Acme-insight:preview"
		agendas   = "POST /v1/agendas"
	)
	for _, test := range []struct{ request, field, location string }{
		{customers, `"weight":0`, "weight"},
		{customers, `"weight":-1`, "weight"},
		{customers, `"maxInFlight":0`, "maxInFlight"},
		{customers, `"rateLimit":{"count":-1,"periodSeconds":1}`, "rateLimit.count"},
		{customers, `"rateLimit":{"count":1,"periodSeconds":0}`, "rateLimit.periodSeconds"},
		{customers, `"rateLimit":{"count":1,"periodSeconds":-1}`, "rateLimit.periodSeconds"},
		{customers, `"rateLimit":{"count":1}`, "rateLimit.periodSeconds"},
		{customers, `"rateLimit":{"count":1,"periodSeconds":1,"burst":-1}`, "rateLimit.burst"},
		{customers, `"maxInFlight":-1`, "maxInFlight"},
		{customers, `"quota":{"count":0,"windowSeconds":60}`, "quota.count"},
		{customers, `"quota":{"count":1,"windowSeconds":-60}`, "quota.windowSeconds"},
		{customers, `"drain":{"reason":"no owner"}`, "drain.by"},
		{customers, `"pause":{"reason":"no owner"}`, "pause.by"},
		{customers, `"pause":{"by":""}`, "pause.by"},
		{customers, `"pause":{"by":"ops","until":"soon"}`, "pause.until"},
		{insights, `"queueSize":0`, "queueSize"},
		{insights, `"queueSize":-1`, "queueSize"},
		{insights, `"maxInFlight":0`, "maxInFlight"},
		{insights, `"agingSeconds":0`, "agingSeconds"},
		{insights, `"schedulingAlgorithm":"Magic"`, "schedulingAlgorithm"},
		{insights, `"cost":"gold"`, "cost"},
		{insights, `"pause":{}`, "pause.by"},
		{insights, `"drain":{}`, "drain.by"},
		{preview, `"count":0`, "count"},
		{preview, `"count":1001`, "count"},
		{preview, `"schedulingAlgorithm":"Magic"`, "schedulingAlgorithm"},
		{preview, `"customers":{"Acme":{"weight":0}}`, "customers.Acme.weight"},
		{preview, `"customers":{"Acme":{"weight":1e9}}`, "customers.Acme.weight"},
		{preview, `"customers":{"Acme":{"maxInFlight":0}}`, "customers.Acme.maxInFlight"},
		{preview, `"customers":{"Acme":{"wieght":2}}`, "customers.Acme.wieght"},
		{agendas, `"priority":11`, "priority"},
		{agendas, `"notBefore":"0001-02-03T00:00:00Z"`, "notBefore"},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		body := `{"title":"t",` + test.field + `}`
		switch test.request {
		case insights:
			body = `{"title":"t","customerId":"Acme","resourcePoolId":"Acme-pool",` + test.field + `}`
		case preview:
			body = `{` + test.field + `}`
		case agendas:
			body = `{"customerId":"Acme","operations":[{"name":"a","type":"shell"}],` + test.field + `}`
		}
		r := s.do(root, method, path, body)
		var locations []string
		for _, e := range r.problem(t).Errors {
			locations = append(locations, e.Location)
		}
		if diff := cmp.Diff([]string{"body." + test.location}, locations); r.status != 422 || diff != "" {
			t.Errorf("%s with %s: %d %s", test.request, test.field, r.status, r.body)
		}
	}
}

func TestACapBelowWhatRunsLetsThatFinishAndHoldsTheRest(t *testing.T) {
	t.Parallel()
	for name, lower := range map[string]func(s *server, most *int){
		"CUSTOMER_CAP": func(s *server, most *int) {
			limited := customer("Acme", "Acme-pool")
			limited.MaxInFlight = most
			must(s.t)(s.client(root).Customers.Put(s.t.Context(), "Acme", limited, ""))
		},
		"INSIGHT_CAP": func(s *server, most *int) { s.share(func(i *model.Insight) { i.MaxInFlight = most }) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, serverOptions{})
			s.configure()
			c := s.client(acme)
			session, err := c.OpenSession(t.Context(), "puller")
			if err != nil {
				t.Fatal(err)
			}
			pull := func() model.Assignment {
				t.Helper()
				pulled, err := c.Pull(t.Context(), model.PullRequest{InsightID: "Acme-insight", SessionID: session.ID, WaitMs: 5000})
				if err != nil || len(pulled) != 1 {
					t.Fatalf("pulled %v: %v", pulled, err)
				}
				return pulled[0]
			}
			complete := func(a model.Assignment) {
				t.Helper()
				results, err := c.Report(t.Context(), []model.Report{{
					Lease: a.Lease, SessionID: session.ID, Status: model.Status{State: model.Complete, Outcome: model.Succeeded},
				}})
				if err != nil || results[0].Err != nil {
					t.Fatalf("what runs is reported on: %v, %v", results, err)
				}
			}
			var running []model.Assignment
			for range 3 {
				s.submit("Acme")
				running = append(running, pull())
			}
			lower(s, new(1))
			waiting := s.submit("Acme")
			for i, a := range running {
				why := s.explains(waiting, name)
				if r := why.Reasons[0]; r.Count != len(running)-i || r.Limit != 1 {
					t.Errorf("%d of %d in flight, want %d of 1", r.Count, r.Limit, len(running)-i)
				}
				complete(a)
			}
			if a := pull(); a.AgendaID != waiting {
				t.Errorf("agenda %s is pulled, want %s", a.AgendaID, waiting)
			}
		})
	}
}

func TestLimitsAndPausesAreKeptAsTheyWereGiven(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	until := time.Date(2100, 1, 2, 3, 4, 5, 0, time.UTC)
	pause := &model.Pause{By: "ops", Reason: "upgrade", Until: until}
	c := s.client(acme)
	limited := customer("Acme", "Acme-pool")
	limited.Pause, limited.Limits = pause, model.Limits{
		Weight: new(2.5), MaxInFlight: new(3), RateLimit: &model.Rate{Count: 10, PeriodSeconds: 0.5, Burst: 4}, Quota: &model.Quota{Count: 9, WindowSeconds: 60},
	}
	must(t)(c.Customers.Put(t.Context(), "Acme", limited, ""))
	got, err := c.Customers.Get(t.Context(), "Acme")
	if diff := cmp.Diff(limited.Limits, got.Object.Limits); err != nil || diff != "" {
		t.Error(err, diff)
	}
	if diff := cmp.Diff(pause, got.Object.Pause); diff != "" {
		t.Error(diff)
	}
	later := agenda("Acme")
	later.Priority, later.NotBefore = -3, until
	submitted, err := c.Submit(t.Context(), later, "")
	if err != nil || submitted.Agenda.Priority != -3 || !submitted.Agenda.NotBefore.Equal(until) {
		t.Errorf("%+v %v", submitted.Agenda, err)
	}

	must(t)(c.AgendaTemplates.Create(t.Context(), model.AgendaTemplate{Meta: model.Meta{ID: "t", CustomerID: "Acme", Title: "t"}, Agenda: later}))
	ran, err := c.Run(t.Context(), wire.Run{AgendaTemplateID: "t"}, "")
	if err != nil || ran.Agenda.Priority != -3 || !ran.Agenda.NotBefore.Equal(until) {
		t.Errorf("as the template says: %+v %v", ran.Agenda, err)
	}
	ran, err = c.Run(t.Context(), wire.Run{AgendaTemplateID: "t", Priority: new(0), NotBefore: until.Add(time.Hour)}, "")
	if err != nil || ran.Agenda.Priority != 0 || !ran.Agenda.NotBefore.Equal(until.Add(time.Hour)) {
		t.Errorf("as the caller says: %+v %v", ran.Agenda, err)
	}
}

func TestMetricsAreFewHoweverManyCustomersThereAre(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	names := []string{"other", `quo"ted\`, "größe"}
	for i := range 11 {
		names = append(names, fmt.Sprint("customer ", i))
	}
	s.share(paused, names...)
	for _, name := range names {
		s.submit(name)
	}
	s.submit("other") // the busiest
	s.submit(names[1])
	families := map[string]*dto.MetricFamily{}
	settles(t, "all agendas are in line", func() bool {
		r := s.do(root, "GET", "/metrics", "")
		if got := r.header.Get("Content-Type"); r.status != 200 || !strings.HasPrefix(got, "text/plain; version=0.0.4") {
			t.Fatalf("%d %s %s", r.status, got, r.body)
		}
		var parser expfmt.TextParser
		var err error
		if families, err = parser.TextToMetricFamilies(strings.NewReader(r.body)); err != nil {
			t.Fatalf("%v\n%s", err, r.body)
		}
		return series(families["pop_insight_waiting_agendas"])["Acme-insight"] == float64(len(names)+2)
	})
	waiting := series(families["pop_customer_waiting_agendas"])
	if waiting["Acme-insight/other"] != 2 || waiting["Acme-insight/"+names[1]] != 2 || waiting["Acme-insight/"] != float64(len(names)-10) {
		t.Errorf("%v", waiting)
	}
	for name, want := range map[string]int{
		"pop_insight_waiting_agendas": 2, "pop_insight_queued_agendas": 2, "pop_insight_in_flight_agendas": 2, "pop_insight_scheduled_agendas_total": 2,
		"pop_insight_waiting_customers": 2, "pop_insight_parked_customers": 2,
		"pop_insight_lag": 2, "pop_insight_lag_bound": 2, "pop_insight_fair": 2, "pop_insight_jain_index": 2, "pop_insight_epoch": 2,
		"pop_customer_waiting_agendas": 11 + 1, "pop_customer_in_flight_agendas": 11 + 1, "pop_customer_scheduled_agendas_total": 10,
	} {
		if got := len(families[name].GetMetric()); got != want {
			t.Errorf("%s has %d series, want %d", name, got, want)
		}
	}
	if len(families) != 14 {
		t.Errorf("there are %d families of metrics", len(families))
	}
	page := operationPage(t)
	for name := range families {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/operation.md does not describe %s", name)
		}
	}
}

func TestEveryReasonIsDescribed(t *testing.T) {
	t.Parallel()
	page := operationPage(t)
	code, _ := reflect.TypeFor[model.WaitReason]().FieldByName("Code")
	for reason := range strings.SplitSeq(code.Tag.Get("enum"), ",") {
		if !strings.Contains(page, "`"+reason+"`") {
			t.Errorf("docs/operation.md does not describe %s", reason)
		}
	}
}

func operationPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operation.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// series returns the values of a family by what their labels say.
func series(f *dto.MetricFamily) map[string]float64 {
	values := map[string]float64{}
	for _, m := range f.GetMetric() {
		key := ""
		for _, l := range m.GetLabel() {
			if l.GetName() == "insight" {
				key = l.GetValue() + key
			} else {
				key += "/" + l.GetValue()
			}
		}
		values[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return values
}
