package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// TestEveryOperationNeedsItsRole calls every operation of the document without credentials, with bad ones, and with all roles but
// the one that it needs.
func TestEveryOperationNeedsItsRole(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	public := []string{}
	for path, item := range document().model.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			name := strings.ToUpper(method) + " " + path
			target := strings.NewReplacer("{id}", "x", "{linkId}", "x").Replace(path)
			role := ""
			if operation.Extensions != nil {
				if node := operation.Extensions.GetOrZero("x-role"); node != nil {
					role = node.Value
				}
			}
			if role == "" {
				public = append(public, name)
				if r := s.do("", strings.ToUpper(method), target, ""); r.status != 200 {
					t.Errorf("%s without credentials: %d", name, r.status)
				}
				continue
			}
			for _, token := range []string{"", "bad"} {
				r := s.do(token, strings.ToUpper(method), target, "")
				if r.problem(t); r.status != 401 || r.header.Get("Www-Authenticate") != "Bearer" {
					t.Errorf("%s with token %q: %d, challenge %q", name, token, r.status, r.header.Get("Www-Authenticate"))
				}
			}
			r := s.do("no "+role, strings.ToUpper(method), target, "")
			if p := r.problem(t); r.status != 403 || !strings.Contains(p.Detail, fmt.Sprintf("needs the role %q", role)) {
				t.Errorf("%s without the role %s: %d %s", name, role, r.status, p.Detail)
			}
		}
	}
	slices.Sort(public)
	if diff := cmp.Diff([]string{"GET /healthz", "GET /readyz", "GET /v1/version"}, public); diff != "" {
		t.Errorf("what needs no credentials: %s", diff)
	}
}

func TestWithoutAuthenticationEveryoneMayDoEverything(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{open: true})
	if r := s.do("", "POST", "/v1/customers", `{"id":"x","title":"x"}`); r.status != 201 {
		t.Errorf("%d %s", r.status, r.body)
	}
}

// TestVisibilityOfObjects lets callers read and change objects that are theirs, shared with them, and neither.
func TestVisibilityOfObjects(t *testing.T) {
	t.Parallel()
	const private, shared, global = "private", "shared", "global" // owned by globex
	type want struct{ get, put, remove int }
	absent, readable, owned := want{404, 409, 404}, want{200, 403, 403}, want{200, 200, 204}
	tests := []struct {
		token, path, id string
		want            want
	}{
		{globex, "/v1/insights", private, owned},
		{root, "/v1/insights", private, owned},
		{acme, "/v1/insights", private, absent},
		{acme, "/v1/insights", shared, readable},
		{acme, "/v1/insights", global, readable},
		{acme, "/v1/agenda-templates", private, absent},
		{acme, "/v1/agenda-templates", shared, readable},
		{acme, "/v1/agenda-templates", global, readable},
		{globex, "/v1/agenda-templates", global, owned},
		{acme, "/v1/resource-pools", "globex-pool", absent},
		{acme, "/v1/customers", "globex", absent},
		{root, "/v1/agenda-templates", private, owned},
	}
	for _, test := range tests {
		t.Run(test.token+" and "+test.path+"/"+test.id, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, serverOptions{})
			s.configure()
			for id, sharing := range map[string]model.Sharing{
				private: {}, shared: {AllowedCustomerIDs: []string{"ACME"}}, global: {IsGlobal: true},
			} {
				i := insight(id, "globex", "globex-pool")
				i.Sharing = sharing
				must(t)(s.client(globex).Insights.Create(t.Context(), i))
				tmpl := model.AgendaTemplate{Meta: i.Meta, Sharing: sharing, Agenda: agenda("globex")}
				must(t)(s.client(globex).AgendaTemplates.Create(t.Context(), tmpl))
			}
			path := test.path + "/" + test.id
			stored := s.do(root, "GET", path, "").body
			mine := strings.ReplaceAll(stored, `"customerId":"globex"`, `"customerId":"Acme"`)
			if test.path == "/v1/customers" {
				mine = stored
			}

			got := want{get: s.do(test.token, "GET", path, "").status}
			if got.get == 200 {
				got.put = s.do(test.token, "PUT", path, stored).status
			} else {
				got.put = s.do(test.token, "PUT", path, mine).status
			}
			if test.path == "/v1/customers" && got.put == 403 {
				got.put = 409 // to own itself is all that a customer can
			}
			if got.put == 422 && test.path == "/v1/insights" { // into a pool that is not theirs
				got.put = 409
			}
			got.remove = s.do(test.token, "DELETE", path, "").status
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Error(diff)
			}
			listed := strings.Contains(s.do(test.token, "GET", test.path, "").body, `"id":"`+test.id+`"`)
			if wanted := test.want.get == 200 && test.want.remove != 204; listed != wanted {
				t.Errorf("listed afterwards: %t", listed)
			}
		})
	}
}

func TestChangingTheOwnerNeedsRightsOnBoth(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	stored := s.do(acme, "GET", "/v1/resource-pools/Acme-pool", "").body
	moved := strings.ReplaceAll(stored, `"customerId":"Acme"`, `"customerId":"globex"`)
	if r := s.do(acme, "PUT", "/v1/resource-pools/Acme-pool", moved); r.status != 403 || !strings.Contains(r.problem(t).Detail, `customer "globex"`) {
		t.Errorf("giving it away: %d %s", r.status, r.body)
	}
	if r := s.do(globex, "PUT", "/v1/resource-pools/Acme-pool", moved); r.status != 409 {
		t.Errorf("taking it: %d %s", r.status, r.body)
	}
	if r := s.do(root, "PUT", "/v1/resource-pools/Acme-pool", moved); r.status != 200 {
		t.Errorf("by one who acts for both: %d %s", r.status, r.body)
	}
}

func TestOwnerFollowsFromTheCallerIfThereIsOne(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	if r := s.do(acme, "POST", "/v1/resource-pools", `{"id":"p"}`); r.status != 201 || !strings.Contains(r.body, `"customerId":"acme"`) {
		t.Errorf("a caller with one customer: %d %s", r.status, r.body)
	}
	if r := s.do(root, "POST", "/v1/resource-pools", `{"id":"q"}`); r.status != 422 {
		t.Errorf("a global caller: %d %s", r.status, r.body)
	}
	if r := s.do(acme, "POST", "/v1/customers", `{"id":"evil","title":"e"}`); r.status != 403 {
		t.Errorf("a customer that the caller does not act for: %d %s", r.status, r.body)
	}
}

func TestInsightCannotJoinAPoolOfOthers(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	theirs := insight("spy", "Acme", "globex-pool")
	_, err := s.client(acme).Insights.Create(t.Context(), theirs)
	if model.KindOf(err) != model.Invalid || !strings.Contains(err.Error(), "resourcePoolId") {
		t.Errorf("create: %v", err)
	}
	mine, err := s.client(acme).Insights.Get(t.Context(), "Acme-insight")
	if err != nil {
		t.Fatal(err)
	}
	mine.Object.ResourcePoolID = "globex-pool"
	if _, err := s.client(acme).Insights.Put(t.Context(), "Acme-insight", mine.Object, ""); model.KindOf(err) != model.Invalid {
		t.Errorf("move: %v", err)
	}
	// An operator of the platform may put it there, and its owner may then go on to change it.
	must(t)(s.client(root).Insights.Create(t.Context(), theirs))
	theirs.QueueSize = new(7)
	must(t)(s.client(acme).Insights.Put(t.Context(), "spy", theirs, ""))
}

func TestPoolShowsTheInsightsThatTheCallerCanSee(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	must(t)(s.client(root).Insights.Create(t.Context(), insight("of-globex", "globex", "Acme-pool")))
	for token, want := range map[string][]string{acme: {"Acme-insight"}, root: {"Acme-insight", "of-globex"}} {
		got, err := s.client(token).ResourcePools.Get(t.Context(), "Acme-pool")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Object.InsightIDs); diff != "" {
			t.Errorf("%s: %s", token, diff)
		}
	}
	must(t)(s.client(acme).ResourcePools.Create(t.Context(), pool("empty", "Acme")))
	if r := s.do(acme, "GET", "/v1/resource-pools/empty", ""); !strings.Contains(r.body, `"insightIds":[]`) {
		t.Errorf("a pool without insights: %s", r.body)
	}
}

func TestAgendasOfOthersAreAbsent(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	a := agenda("globex")
	a.LinkID = "link"
	theirs, err := s.client(globex).Submit(t.Context(), a, "")
	if err != nil {
		t.Fatal(err)
	}
	id := theirs.Agenda.ID
	for _, request := range []string{
		"GET /v1/agendas/" + id, "DELETE /v1/agendas/" + id, "POST /v1/agendas/" + id + ":cancel", "POST /v1/agendas/" + id + ":rerun",
		"POST /v1/agendas/" + id + ":pause", "POST /v1/agendas/" + id + ":resume",
		"GET /v1/agenda-progress/" + id, "GET /v1/agenda-progress/" + id + "/events", "GET /v1/agenda-progress/" + id + "?waitMs=5000",
		"GET /v1/operation-progress?agendaProgressId=" + id, "GET /v1/operation-progress/" + id + "-first",
		"GET /v1/links/link",
	} {
		method, path, _ := strings.Cut(request, " ")
		if r := s.do(acme, method, path, ""); r.status != 404 {
			t.Errorf("%s: %d %s", request, r.status, r.body)
		}
	}
	for _, path := range []string{"/v1/agendas", "/v1/agendas?customerId=globex", "/v1/agendas?linkId=link", "/v1/agenda-progress", "/v1/agenda-progress?insightId=globex-insight"} {
		if r := s.do(acme, "GET", path, ""); r.body != "{\"items\":[]}\n" {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
		if r := s.do(root, "GET", path, ""); !strings.Contains(r.body, id) {
			t.Errorf("%s of a global caller: %d %s", path, r.status, r.body)
		}
	}
	if _, err := s.client(acme).Submit(t.Context(), agenda("globex"), ""); model.KindOf(err) != model.Forbidden {
		t.Errorf("submit for another: %v", err)
	}
	empty := model.Agenda{Meta: model.Meta{CustomerID: "Acme"}, Operations: []model.Operation{}}
	results, err := s.client(acme).SubmitBatch(t.Context(), []wire.SubmitItem{{Agenda: agenda("globex")}, {Agenda: agenda("Acme")}, {Agenda: empty}})
	if err != nil || results[0].Status != 403 || results[1].Status != 201 || results[2].Status != 422 || results[2].Problem.Errors[0].Location != "body.items[2].agenda.operations" {
		t.Errorf("batch: %v %+v", err, results)
	}
}

func TestCustomersAreFoundWhateverTheCase(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	submitted, err := s.client(acme).Submit(t.Context(), agenda("Acme"), "") // the caller acts for acme
	if err != nil {
		t.Fatal(err)
	}
	for _, filter := range []client.AgendaFilter{{}, {CustomerID: "ACME"}, {CustomerID: "Acme"}} {
		for _, token := range []string{acme, root} {
			page, err := s.client(token).Agendas(t.Context(), filter, client.Page{})
			if err != nil || len(page.Items) != 1 || page.Items[0].ID != submitted.Agenda.ID {
				t.Errorf("%s, filter %v: %v %v", token, filter, page.Items, err)
			}
		}
	}
	if page, err := s.client(acme).Customers.List(t.Context(), client.Filter{CustomerID: "aCME"}, client.Page{}); err != nil || len(page.Items) != 1 {
		t.Errorf("customers: %v %v", page, err)
	}
}

func TestTemplateRunsForACustomerOfTheCallerOnly(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	template := func(id, customerID string) {
		must(t)(s.client(root).AgendaTemplates.Create(t.Context(), model.AgendaTemplate{
			Meta: model.Meta{ID: id, CustomerID: "globex", Title: "shared"}, Sharing: model.Sharing{IsGlobal: true},
			Agenda: model.Agenda{Meta: model.Meta{CustomerID: customerID}, Operations: []model.Operation{
				{Name: "a", Type: "shell", Payload: []byte(`{"in":"@<pop.payload::/file>"}`)},
			}},
		}))
	}
	template("for-anyone", "")
	template("for-globex", "globex")
	c, file := s.client(acme), json.RawMessage(`{"file":"x.mp4"}`)
	ran, err := c.Run(t.Context(), wire.Run{AgendaTemplateID: "for-anyone", CustomerID: "Acme", Payload: file}, "")
	if err != nil || ran.Agenda.CustomerID != "Acme" || string(ran.Agenda.Operations[0].Payload) != `{"in":"x.mp4"}` || ran.Agenda.Title != "shared" {
		t.Errorf("%+v %v", ran.Agenda, err)
	}
	if _, err := c.Run(t.Context(), wire.Run{AgendaTemplateID: "for-globex", Payload: file}, ""); model.KindOf(err) != model.Forbidden {
		t.Errorf("for the template's customer: %v", err)
	}
	if _, err := c.Run(t.Context(), wire.Run{AgendaTemplateID: "for-globex", CustomerID: "Acme", Payload: file}, ""); err != nil {
		t.Errorf("for the caller's customer: %v", err)
	}
}

func TestSubmittingAgainWithTheSameKeyChangesNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	body := `{"customerId":"Acme","operations":[{"name":"a","type":"shell"}]}`
	first := s.do(acme, "POST", "/v1/agendas", body, "Idempotency-Key", "k")
	again := s.do(acme, "POST", "/v1/agendas", body, "Idempotency-Key", "k")
	if first.status != http.StatusCreated || again.status != http.StatusOK || first.header.Get("Location") != again.header.Get("Location") || !strings.Contains(again.body, `"replayed":true`) {
		t.Errorf("%d %s\n%d %s", first.status, first.body, again.status, again.body)
	}
	other := s.do(acme, "POST", "/v1/agendas", strings.ReplaceAll(body, `"a"`, `"b"`), "Idempotency-Key", "k")
	if other.problem(t); other.status != http.StatusConflict {
		t.Errorf("another agenda with the same key: %d %s", other.status, other.body)
	}
}
