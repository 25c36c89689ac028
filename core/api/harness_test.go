package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/config"
	"github.com/pb33f/libopenapi-validator/paths"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"github.com/pop-platform/pop/core/api"
	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// The callers that the tests know, by their tokens.
const (
	root   = "root"   // global, all roles
	acme   = "acme"   // acts for the customer Acme, all roles
	globex = "globex" // acts for the customer globex, all roles
	viewer = "viewer" // acts for the customer Acme, may only read

	arn = "arn" // as acme, with a subject that is longer than ids may be

	namesake = "namesake" // acts for the customer Acme; its subject is the beginning of another one
)

func principals() map[string]driver.Principal {
	all := authz.Everyone().Roles
	known := map[string]driver.Principal{
		root:     {Subject: "root", Roles: all, Global: true},
		acme:     {Subject: "acme/admin", Customers: []string{"acme"}, Roles: all},
		arn:      {Subject: "aws:arn:aws:iam::123456789012:role/" + strings.Repeat("path/", 100) + "puller", Customers: []string{"acme"}, Roles: all},
		namesake: {Subject: "acme", Customers: []string{"acme"}, Roles: all},
		globex:   {Subject: "globex", Customers: []string{"globex"}, Roles: all},
		viewer:   {Subject: "viewer", Customers: []string{"acme"}, Roles: []driver.Role{driver.RoleRead}},
	}
	for i, role := range all { // a global caller for each role, who has all others
		known["no "+string(role)] = driver.Principal{Subject: "limited", Global: true, Roles: slices.Delete(slices.Clone(all), i, i+1)}
	}
	return known
}

// server is the API on the real engine and the reference driver. Every exchange with it is checked against the OpenAPI document.
type server struct {
	t    *testing.T
	api  *api.API
	http *httptest.Server
	log  *logBuffer

	store *memdriver.Store
	queue *memdriver.Queue
	stop  func() // scheduling

	mu        sync.Mutex
	exercised map[string]bool // such as GET /v1/agendas/{id}
}

type serverOptions struct {
	open   bool                        // no authentication
	engine func(api.Engine) api.Engine // wraps the engine
	faults func(memdriver.Call) memdriver.Fault
	shared bool    // other servers may share the store and the queue
	beside *server // shares those of this one
}

func newServer(t *testing.T, o serverOptions) *server {
	t.Helper()
	s := &server{t: t, log: &logBuffer{}, exercised: map[string]bool{}}
	logger := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.store, s.queue = memdriver.NewStore(storeOptions(o.shared)), memdriver.NewQueue(memdriver.QueueOptions{})
	if o.beside != nil {
		s.store, s.queue = o.beside.store.Open(), o.beside.queue.Open()
	}
	s.http = httptest.NewUnstartedServer(nil)
	s.api, s.stop = newAPI(t, o, s.store, s.queue, engine.Options{Logger: logger, Address: "http://" + s.http.Listener.Addr().String(), OwnerLease: 3 * time.Second})
	s.http.Config.Handler = s.api
	s.http.Start()
	t.Cleanup(s.http.Close)
	t.Cleanup(s.api.Drain) // so that Close need not wait for long polls
	return s
}

func newAPI(t testing.TB, o serverOptions, d driver.Store, hints driver.Queue, options engine.Options) (*api.API, func()) {
	t.Helper()
	if o.faults != nil {
		d = memdriver.NewFaultyStore(d, o.faults)
	}
	st, err := store.Open(t.Context(), d, driver.Schema{Kinds: append(catalog.Schema(), engine.Schema()...)})
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.Open(t.Context(), hints)
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(st, catalog.Options{})
	e := engine.New(st, q, c, options)
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	served := api.Options{Engine: e, Catalog: c, Logger: options.Logger, Version: "test"}
	if o.engine != nil {
		served.Engine = o.engine(e)
	}
	if !o.open {
		if served.Authorizer, err = authz.New(t.Context(), memdriver.NewAuthorizer(principals()), authz.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	return api.New(served), e.Stop
}

func storeOptions(shared bool) memdriver.StoreOptions {
	c := memdriver.FullStore()
	c.Shared = shared
	return memdriver.StoreOptions{Capabilities: c}
}

// client returns a client that sends a token.
func (s *server) client(token string) *client.Client {
	s.t.Helper()
	c, err := client.New(s.http.URL, client.Options{Token: token, HTTPClient: &http.Client{Transport: s}})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// reply is the answer to a request.
type reply struct {
	status int
	header http.Header
	body   string
}

func (r reply) problem(t *testing.T) wire.Problem {
	t.Helper()
	var p wire.Problem
	if got := r.header.Get("Content-Type"); got != wire.ContentTypeProblem {
		t.Fatalf("%d answers with %q: %s", r.status, got, r.body)
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != r.status || p.Title == "" || p.Type == "" || p.Instance != "urn:pop:request:"+r.header.Get("X-Request-Id") {
		t.Errorf("the problem is incomplete: %d %s", r.status, r.body)
	}
	return p
}

// do sends a request as it is. Headers are pairs of name and value.
func (s *server) do(token, method, path, body string, headers ...string) reply {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Transport: s}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(data)}
}

// RoundTrip sends a request and checks the exchange against the document: every answer must be as it says, and a request that was
// served must be as it says too.
func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := s.http.Client().Transport.RoundTrip(req)
	if err != nil || strings.Contains(req.URL.Path, "openapi") || strings.HasSuffix(req.URL.Path, "/docs") {
		return resp, err
	}
	data, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	s.check(req, body, resp, data)
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, nil
}

func (s *server) check(req *http.Request, body []byte, resp *http.Response, data []byte) {
	s.t.Helper()
	if req.Method == http.MethodHead { // in no document: it comes with GET
		return
	}
	d := document()
	sent := req.Clone(req.Context())
	sent.Body = io.NopCloser(bytes.NewReader(body))
	item, path := d.find(req)
	if item == nil {
		if resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusMethodNotAllowed {
			s.t.Errorf("%s %s is not in the document and answers %d", req.Method, req.URL, resp.StatusCode)
		}
		return
	}
	s.mu.Lock()
	s.exercised[req.Method+" "+path] = true
	s.mu.Unlock()
	if resp.StatusCode < 300 {
		if ok, errs := d.validator.ValidateHttpRequestWithPathItem(sent, item, path); !ok {
			for _, e := range errs {
				s.t.Errorf("%s %s is served, but not as documented: %s %s\n%.500s", req.Method, req.URL, e.Message, e.Reason, body)
			}
		}
	}
	if resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified || resp.Header.Get("Content-Type") == "text/event-stream" {
		return
	}
	if ok, errs := d.validator.GetResponseBodyValidator().ValidateResponseBodyWithPathItem(sent, resp, item, path); !ok {
		for _, e := range errs {
			s.t.Errorf("%s %s answers %d, not as documented: %s %s\n%.500s", req.Method, req.URL, resp.StatusCode, e.Message, e.Reason, data)
		}
	}
}

// undeployed returns an API that serves nothing, for its document.
func undeployed() *api.API { return api.New(api.Options{Catalog: catalog.New(nil, catalog.Options{})}) }

// spec is the OpenAPI document, ready to check exchanges.
type spec struct {
	model     *v3.Document
	validator validator.Validator
}

var document = sync.OnceValue(func() spec {
	data, err := undeployed().Document()
	if err != nil {
		panic(err)
	}
	doc, err := libopenapi.NewDocument(data)
	if err != nil {
		panic(err)
	}
	built, err := doc.BuildV3Model()
	if err != nil {
		panic(err)
	}
	v := validator.NewValidatorFromV3Model(&built.Model, config.WithoutSecurityValidation())
	v.SetDocument(doc)
	return spec{&built.Model, v}
})

// find returns the documented path that a request is meant for, nil if it has none with the request's method. The validator's own
// way to look takes a verb behind an id for a part of the id.
func (d spec) find(req *http.Request) (*v3.PathItem, string) {
	item, errs, path := paths.FindPath(req, d.model, nil)
	if len(errs) > 0 {
		return nil, ""
	}
	return item, path
}

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Objects that most tests need.

func pool(id, owner string) model.ResourcePool {
	return model.ResourcePool{Meta: model.Meta{ID: id, CustomerID: owner, Title: id}}
}

func customer(id, poolID string) model.Customer {
	return model.Customer{Meta: model.Meta{ID: id, Title: id}, ResourcePoolID: poolID}
}

func insight(id, owner, poolID string) model.Insight {
	return model.Insight{
		Meta: model.Meta{ID: id, CustomerID: owner, Title: id}, ResourcePoolID: poolID,
		Mappers: model.Mappers{OperationType: []string{"shell"}},
	}
}

func agenda(owner string) model.Agenda {
	return model.Agenda{
		Meta: model.Meta{CustomerID: owner, Title: "two steps"},
		Operations: []model.Operation{
			{Name: "first", Type: "shell", Payload: json.RawMessage(`{"command":"true"}`)},
			{Name: "second", Type: "shell", Payload: json.RawMessage(`{"in":"@<first.out::/x>"}`)},
		},
	}
}

// configure creates a pool, an insight and a customer of each of Acme and globex.
func (s *server) configure() {
	s.t.Helper()
	c := s.client(root)
	for _, id := range []string{"Acme", "globex"} {
		must(s.t)(c.Customers.Create(s.t.Context(), customer(id, "")))
		must(s.t)(c.ResourcePools.Create(s.t.Context(), pool(id+"-pool", id)))
		must(s.t)(c.Insights.Create(s.t.Context(), insight(id+"-insight", id, id+"-pool")))
		must(s.t)(c.Customers.Put(s.t.Context(), id, customer(id, id+"-pool"), ""))
	}
}

// must fails the test if there is an error.
func must(t testing.TB) func(_ any, err error) {
	return func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}
