package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/api"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

func TestBadInputIsRefusedWithWhatAndWhere(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	tooLarge := `{"operations":[{"name":"a","type":"shell","payload":"` + strings.Repeat("x", 10<<20) + `"}]}`
	tests := []struct {
		name, request, body string
		status              int
		detail              string   // a part of it
		locations           []string // of the errors
	}{
		{"malformed JSON says where", "POST /v1/agendas", "{\n\"operations\": [{\"name\": \"a\",}]}", 400, "line 2, column 29", nil},
		{"truncated JSON says where", "POST /v1/agendas", `{"operations": [`, 400, "unexpected end of JSON input, at line 1, column 16", nil},
		{"text behind the JSON", "POST /v1/agendas", `{"operations":[]} x`, 400, "'x' after top-level value, at line 1, column 19", nil},
		{"no body", "POST /v1/agendas", "", 400, "body is required", nil},
		{"malformed JSON of a rare request says where", "POST /v1/customers", "{\n\n]", 400, "line 3, column 1", nil},
		{"no body of a rare request", "POST /v1/customers", "", 400, "body is required", nil},
		{"a body that is no object", "POST /v1/agendas", `[]`, 422, "not valid", []string{"body"}},
		{"a body of null", "POST /v1/customers", `null`, 422, "not valid", []string{"body"}},
		{"unknown fields are named", "POST /v1/agendas", `{"operations":[{"name":"a","type":"shell","nam":"b"}],"foo":1}`, 422, "not valid", []string{"body.foo", "body.operations[0].nam"}},
		{"unknown fields of a rare request are named", "POST /v1/customers", `{"id":"x","title":"t","wieght":3}`, 422, "not valid", []string{"body.wieght"}},
		{"wrong types are named", "POST /v1/agendas", `{"maximumAttempts":"three","operations":[{"name":1,"type":"shell"}]}`, 422, "not valid", []string{"body.maximumAttempts", "body.operations[0].name"}},
		{"a time that is none", "POST /v1/agendas", `{"addedTime":"yesterday","operations":[]}`, 422, "not valid", []string{"body.addedTime"}},
		{"no operations", "POST /v1/agendas", `{"customerId":"Acme","operations":[]}`, 422, "not valid", []string{"body.operations"}},
		{"no customer", "POST /v1/agendas", `{"operations":[{"name":"a","type":"shell"}]}`, 422, "not valid", []string{"body.customerId"}},
		{"an unknown customer", "POST /v1/agendas", `{"customerId":"nobody","operations":[{"name":"a","type":"shell"}]}`, 422, "cannot be accepted", []string{"body.customerId"}},
		{"an operation type that no insight takes", "POST /v1/agendas", `{"customerId":"Acme","operations":[{"name":"a","type":"cobol"}]}`, 422, "cannot be accepted", []string{"body.operations"}},
		{"duplicate operation names", "POST /v1/agendas", `{"customerId":"Acme","operations":[{"name":"a","type":"shell"},{"name":"a","type":"shell"}]}`, 422, "not valid", []string{"body.operations[1].name"}},
		{"a cycle", "POST /v1/agendas", `{"customerId":"Acme","operations":[{"name":"a","type":"shell","params":{"dependsOn":"b"}},{"name":"b","type":"shell","params":{"dependsOn":["a"]}}]}`, 422, "not valid", []string{"body.operations[0]"}},
		{"a reference to nothing", "POST /v1/agendas", `{"customerId":"Acme","operations":[{"name":"a","type":"shell","payload":"@<b.out>"}]}`, 422, "not valid", []string{"body.operations[0].payload"}},
		{"a body of 10 MB", "POST /v1/agendas", tooLarge, 413, "8 MiB", nil},
		{"a body of 10 MB of a rare request", "PUT /v1/customers/x", tooLarge, 413, "8 MiB", nil},
		{"a number that is too large for its field", "POST /v1/agendas", `{"maximumAttempts":99999999999999999999,"operations":[]}`, 422, "not valid", []string{"body.maximumAttempts"}},
		{"a number that is too large for any", "POST /v1/agendas", `{"maximumAttempts":1e400,"operations":[]}`, 422, "not valid", []string{"body.maximumAttempts"}},
		{"a number of a rare request that is too large for its field", "POST /v1/insights", `{"title":"x","queueSize":99999999999999999999,"resourcePoolId":"Acme-pool"}`, 422, "not valid", []string{"body"}},
		{"a number of a rare request that is too large for any", "POST /v1/customers", `{"title":"x","weight":1e400}`, 400, "the number 1e400 does not fit", nil},
		{"text that is not UTF-8", "POST /v1/agendas", "{\"title\":\"a\xff\"}", 400, "not UTF-8 at byte 12", nil},
		{"nesting that nothing could read again", "POST /v1/agendas", strings.Repeat("[", 1001) + strings.Repeat("]", 1001), 400, "deeper than 1000 levels at byte 1001", nil},
		{"a query that would lose its filter", "GET /v1/agendas?linkId=%zz", "", 400, "the query cannot be read", nil},
		{"an empty batch", "POST /v1/agendas:batch", `{"items":[]}`, 422, "not valid", []string{"body.items"}},
		{"a wrong type in a rare request", "POST /v1/agendas:run", `{"agendaTemplateId":5}`, 422, "not valid", []string{"body.agendaTemplateId"}},
		{"a pool that is not there", "POST /v1/insights", `{"id":"x","title":"t","resourcePoolId":"nope","customerId":"Acme"}`, 422, "not valid", []string{"body.resourcePoolId"}},
		{"an unknown scheduling algorithm", "POST /v1/insights", `{"id":"x","title":"t","resourcePoolId":"Acme-pool","customerId":"Acme","schedulingAlgorithm":"Magic"}`, 422, "not valid", []string{"body.schedulingAlgorithm"}},
		{"an id that differs from the path's", "PUT /v1/customers/y", `{"id":"x","title":"t"}`, 422, "not valid", []string{"body.id"}},
		{"a page of no items", "GET /v1/customers?limit=0", "", 422, "not valid", []string{"query.limit"}},
		{"a page of too many items", "GET /v1/agendas?limit=1001", "", 422, "not valid", []string{"query.limit"}},
		{"an unknown filter", "GET /v1/customers?resourcePool=x", "", 422, "not valid", []string{"query.resourcePool"}},
		{"a filter that objects of the type do not have", "GET /v1/resource-pools?resourcePoolId=x", "", 422, "not valid", []string{"query.resourcePoolId"}},
		{"a cursor that is none", "GET /v1/customers?cursor=%21", "", 400, "cursor", nil},
		{"a cursor of another list", "GET /v1/agendas?cursor=eHh4", "", 400, "cursor", nil},
		{"an unknown state", "GET /v1/agendas?processingState=DONE", "", 422, "not valid", []string{"query.processingState"}},
		{"a wait that is too long", "GET /v1/agenda-progress/x?waitMs=30001", "", 422, "not valid", []string{"query.waitMs"}},
		{"a pull for no insight", "POST /v1/agendas:pull", `{"insightId":"","sessionId":"root/x~1"}`, 422, "not valid", []string{"body.insightId"}},
		{"no reports", "POST /v1/agenda-progress:report", `{"items":[]}`, 422, "not valid", []string{"body.items"}},
		{"a session without a name", "POST /v1/sessions", `{"name":""}`, 422, "not valid", []string{"body.name"}},
		{"a path that is not there", "GET /v1/nope", "", 404, "GET /v1/nope", nil},
		{"a path with a slash too many", "GET /v1/customers/", "", 404, "/v1/customers/", nil},
		{"a verb that is not there", "POST /v1/agendas/x:explode", "", 404, "x:explode", nil},
		{"a verb without an id", "POST /v1/agendas/x", "", 404, "/v1/agendas/x", nil},
		{"a method that is not possible", "PATCH /v1/customers", "", 405, "only POST, GET, HEAD", nil},
		{"an agenda that is not there", "GET /v1/agendas/x", "", 404, `no agenda "x"`, nil},
		{"a linkId that nothing has", "GET /v1/links/a%2Fb", "", 404, `"a/b"`, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			method, path, _ := strings.Cut(test.request, " ")
			r := s.do(root, method, path, test.body)
			p := r.problem(t)
			if r.status != test.status || !strings.Contains(p.Detail, test.detail) {
				t.Errorf("%d %s, want %d and %q", r.status, r.body, test.status, test.detail)
			}
			var locations []string
			for _, e := range p.Errors {
				locations = append(locations, e.Location)
			}
			slices.Sort(locations)
			if diff := cmp.Diff(test.locations, locations); diff != "" {
				t.Errorf("locations: %s\n%s", diff, r.body)
			}
		})
	}
}

func TestBodyMustBeDeclaredAsJSON(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	for contentType, status := range map[string]int{
		"application/json": 422, "application/json; charset=utf-8": 422, "application/merge-patch+json": 422,
		"application/x-www-form-urlencoded": 415, "text/plain": 415, "nonsense;;": 415,
	} {
		for _, path := range []string{"/v1/agendas", "/v1/customers"} {
			if r := s.do(root, "POST", path, `{}`, "Content-Type", contentType); r.status != status {
				t.Errorf("%s of %q: %d, want %d", path, contentType, r.status, status)
			}
		}
	}
}

func TestHeadIsGetWithoutItsBody(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	submitted, err := s.client(root).Submit(t.Context(), agenda("Acme"), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/healthz", "/readyz", "/v1/customers", "/v1/customers/Acme", "/v1/customers/nobody", "/v1/agendas/" + submitted.Agenda.ID} {
		head, get := s.do(root, "HEAD", path, ""), s.do(root, "GET", path, "")
		if head.status != get.status || head.body != "" || head.header.Get("ETag") != get.header.Get("ETag") {
			t.Errorf("HEAD of %s: %+v, want what GET answers, %+v, and no body", path, head, get)
		}
	}
	// A stream that ends only with its agenda is not waited for.
	if r := s.do(root, "HEAD", "/v1/agenda-progress/"+submitted.Agenda.ID+"/events", ""); r.header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("HEAD of a stream: %+v", r)
	}
}

func TestIDsMayHoldAnyCharacters(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	c := s.client(root)
	for _, id := range []string{"account/3131523765", "a b+c%2Fd", "ünï/çödé 漢", "x:cancel", `"quoted"`, "?a=b&c#d", "a//b", "%"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			created, err := c.Customers.Create(t.Context(), customer(id, ""))
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Customers.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(created.Object, got.Object); diff != "" {
				t.Error(diff)
			}
			if err := c.Customers.Delete(t.Context(), id, got.ETag); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLocationLeadsToTheObject(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	r := s.do(root, "POST", "/v1/customers", `{"id":"a/b c","title":"t"}`)
	if got := s.do(root, "GET", r.header.Get("Location"), ""); r.status != 201 || got.status != 200 || got.body != r.body {
		t.Errorf("%d %s, then at %q %d %s", r.status, r.body, r.header.Get("Location"), got.status, got.body)
	}
}

func TestRequestIDIsTakenOverOrMade(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	seen := map[string]bool{}
	for _, sent := range []string{"", "", "has space", strings.Repeat("x", 101), "ok-1"} {
		got := s.do(root, "GET", "/healthz", "", "X-Request-Id", sent).header.Get("X-Request-Id")
		if sent == "ok-1" && got != sent || sent != "ok-1" && (got == "" || got == sent) || seen[got] {
			t.Errorf("%q becomes %q", sent, got)
		}
		seen[got] = true
	}
}

func TestWebPagesOfOtherOriginsAreNotServed(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{open: true})
	body := `{"id":"x","title":"x"}`
	if r := s.do("", "POST", "/v1/customers", body, "Origin", "https://evil.example"); r.status != 403 {
		t.Errorf("another origin: %d", r.status)
	}
	if r := s.do("", "POST", "/v1/customers", body, "Sec-Fetch-Site", "cross-site"); r.status != 403 {
		t.Errorf("cross-site: %d", r.status)
	}
	if r := s.do("", "POST", "/v1/customers", body, "Origin", s.http.URL); r.status != 201 {
		t.Errorf("the same origin: %d %s", r.status, r.body)
	}
}

// failing is an engine whose lists fail.
type failing struct {
	api.Engine
	err error
}

func (f *failing) List(context.Context, engine.Filter, string, int) (engine.Page, error) {
	if f.err == nil {
		panic("a bug with a secret")
	}
	return engine.Page{}, f.err
}

func (f *failing) Ready(context.Context) error { return f.err }

func TestFailuresKeepTheirMeaning(t *testing.T) {
	t.Parallel()
	const secret = "arn:secret"
	tests := []struct {
		name   string
		err    error
		status int
		retry  string // Retry-After
		shown  bool   // the error's text
	}{
		{"an unavailable store", driver.Errorf(driver.Unavailable, "op", secret), 503, "1", true},
		{"a throttling store says when to try again", &driver.Error{Code: driver.Throttled, RetryAfter: 2500 * time.Millisecond, Message: secret}, 503, "3", true},
		{"an unavailable engine", model.Errorf(model.Unavailable, secret), 503, "1", true},
		{"refused credentials of the server are not the caller's fault", driver.Errorf(driver.Denied, "op", secret), 502, "", false},
		{"a record that is too large", driver.Errorf(driver.TooLarge, "op", secret), 413, "", true},
		{"a lost race", driver.Errorf(driver.Conflict, "op", secret), 409, "", false},
		{"corrupt data", driver.Errorf(driver.Corrupt, "op", secret), 500, "", false},
		{"a bug in a driver", driver.Errorf(driver.Internal, "op", secret), 500, "", false},
		{"an unknown error", errors.New(secret), 500, "", false},
		{"a wrapped error", fmt.Errorf("list: %w", model.Errorf(model.Conflict, secret)), 409, "", true},
		{"a timeout", fmt.Errorf("list: %w", context.DeadlineExceeded), 504, "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, serverOptions{engine: func(e api.Engine) api.Engine { return &failing{e, test.err} }})
			r := s.do(root, "GET", "/v1/agendas", "")
			r.problem(t)
			if r.status != test.status || r.header.Get("Retry-After") != test.retry || strings.Contains(r.body, secret) != test.shown {
				t.Errorf("%d, Retry-After %q, %s", r.status, r.header.Get("Retry-After"), r.body)
			}
			logged := strings.Count(s.log.String(), "level=ERROR")
			if test.status >= 500 && (logged != 1 || !strings.Contains(s.log.String(), r.header.Get("X-Request-Id"))) || test.status < 500 && logged != 0 {
				t.Errorf("logged %d times: %s", logged, s.log)
			}
		})
	}
}

func TestPanicIsAnsweredAndLoggedOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{engine: func(e api.Engine) api.Engine { return &failing{e, nil} }})
	r := s.do(root, "GET", "/v1/agendas", "")
	if p := r.problem(t); r.status != 500 || strings.Contains(r.body, "secret") {
		t.Errorf("%d %v", r.status, p)
	}
	log := s.log.String()
	if strings.Count(log, "a bug with a secret") != 1 || !strings.Contains(log, "requests_test.go") || !strings.Contains(log, r.header.Get("X-Request-Id")) {
		t.Errorf("log: %s", log)
	}
	if r := s.do(root, "GET", "/healthz", ""); r.status != 200 {
		t.Errorf("afterwards: %d", r.status)
	}
}

func TestReadinessSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{engine: func(e api.Engine) api.Engine { return &failing{e, errors.New("the disk is gone")} }})
	if r := s.do("", "GET", "/readyz", ""); r.status != 503 || !strings.Contains(r.problem(t).Detail, "the disk is gone") {
		t.Errorf("%d %s", r.status, r.body)
	}
	if r := s.do("", "GET", "/healthz", ""); r.status != 200 {
		t.Errorf("health: %d", r.status)
	}
}

func TestDocsPageShowsEverythingAndLoadsNothing(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	page := s.do("", "GET", "/v1/docs", "")
	if page.status != 200 || page.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %v", page.status, page.header)
	}
	for _, forbidden := range []string{"<script", "src=", "http://", "https://", "url(", "@import", "<link"} {
		if strings.Contains(page.body, forbidden) {
			t.Errorf("the page holds %q", forbidden)
		}
	}
	if csp := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("policy %q", csp)
	}
	for path, item := range document().model.Paths.PathItems.FromOldest() {
		if !strings.Contains(page.body, path+"<") {
			t.Errorf("the page lacks %s", path)
		}
		for _, operation := range item.GetOperations().FromOldest() {
			if !strings.Contains(page.body, `id="`+operation.OperationId+`"`) {
				t.Errorf("the page lacks %s", operation.OperationId)
			}
		}
	}
	for name := range document().model.Components.Schemas.FromOldest() {
		if !strings.Contains(page.body, `id="schema-`+name+`"`) {
			t.Errorf("the page lacks %s", name)
		}
	}
	for path, want := range map[string]string{"/v1/openapi.json": `"openapi":"3.1.0"`, "/v1/openapi.yaml": "openapi: 3.1.0"} {
		if r := s.do("", "GET", path, ""); r.status != http.StatusOK || !strings.Contains(r.body, want) {
			t.Errorf("%s: %d", path, r.status)
		}
	}
}
