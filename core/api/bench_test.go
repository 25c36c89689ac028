package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/api"
	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// instant is an engine that answers at once, so that what is measured is the API.
type instant struct {
	api.Engine
	submitted  engine.Submitted
	assignment []model.Assignment
}

func (e *instant) Submit(context.Context, []engine.Submission) []engine.Submitted {
	return []engine.Submitted{e.submitted}
}

func (e *instant) Pull(context.Context, model.PullRequest) ([]model.Assignment, error) {
	return e.assignment, nil
}

func (e *instant) Report(_ context.Context, reports []model.Report) ([]model.ReportResult, error) {
	results := make([]model.ReportResult, len(reports))
	for i := range reports {
		results[i].AgendaID = reports[i].AgendaID
	}
	return results, nil
}

// sink is a response writer that keeps nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

func benchmarkAPI(b *testing.B) (*api.API, func(method, path string, body any) (*http.Request, func())) {
	b.Helper()
	a := agenda("Acme")
	a.ID = "c93285e5-5a16-87c2-a073-5057be82f589"
	progress := model.AgendaProgress{Meta: a.Meta, AgendaID: a.ID, AgendaInsight: model.AgendaInsight{ResourcePoolID: "p", InsightID: "i"}}
	progress.State = model.Waiting
	handler, _ := newAPI(b, serverOptions{engine: func(e api.Engine) api.Engine {
		return &instant{
			Engine: e, submitted: engine.Submitted{Agenda: a, Progress: progress},
			assignment: []model.Assignment{{Lease: model.Lease{AgendaID: a.ID, Fence: 1}, Agenda: a, Progress: progress}},
		}
	}}, memdriver.NewStore(storeOptions(false)), memdriver.NewQueue(memdriver.QueueOptions{}), engine.Options{Logger: slog.New(slog.DiscardHandler)})
	call := func(method, path string, body any) *http.Request {
		data, err := json.Marshal(body)
		if err != nil {
			b.Fatal(err)
		}
		req := httptest.NewRequestWithContext(b.Context(), method, path, nil)
		req.Header.Set("Authorization", "Bearer "+root)
		req.Header.Set("Content-Type", "application/json")
		reader := bytes.NewReader(data)
		req.Body, req.ContentLength = io.NopCloser(reader), int64(len(data))
		return req
	}
	w := &sink{header: http.Header{}}
	for path, body := range map[string]any{
		"/v1/customers": customer("Acme", ""), "/v1/resource-pools": pool("p", "Acme"), "/v1/insights": insight("i", "Acme", "p"),
	} {
		handler.ServeHTTP(w, call("POST", path, body))
	}
	handler.ServeHTTP(w, call("POST", "/v1/insights", insight("i", "Acme", "p")))
	return handler, func(method, path string, body any) (*http.Request, func()) {
		req := call(method, path, body)
		data, _ := io.ReadAll(req.Body)
		reader := bytes.NewReader(data)
		req.Body = io.NopCloser(reader)
		return req, func() { reader.Reset(data) }
	}
}

// BenchmarkHandler measures what the API adds to the engine on the three requests that every agenda takes.
func BenchmarkHandler(b *testing.B) {
	handler, request := benchmarkAPI(b)
	session := "root/s~1"
	for _, bench := range []struct {
		name, path string
		body       any
		status     int
	}{
		{"submit", "/v1/agendas", agenda("Acme"), http.StatusCreated},
		{"pull", "/v1/agendas:pull", model.PullRequest{InsightID: "i", SessionID: session, Max: 16, WaitMs: 30_000}, http.StatusOK},
		{"report", "/v1/agenda-progress:report", wire.Reports{Items: []model.Report{{
			Lease: model.Lease{AgendaID: "c93285e5-5a16-87c2-a073-5057be82f589", Fence: 1}, SessionID: session,
			Status: model.Status{State: model.Complete, Outcome: model.Succeeded, PercentComplete: 100},
			Operations: []model.OperationProgress{
				{Operation: "first", Status: model.Status{State: model.Complete, Outcome: model.Succeeded}, ResultPayload: json.RawMessage(`{"x":1}`)},
				{Operation: "second", Status: model.Status{State: model.Complete, Outcome: model.Succeeded}},
			},
		}}}, http.StatusOK},
	} {
		b.Run(bench.name, func(b *testing.B) {
			req, rewind := request("POST", bench.path, bench.body)
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				rewind()
				handler.ServeHTTP(w, req)
				if w.status != bench.status {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}

// BenchmarkExchange measures the same over a connection, client included.
func BenchmarkExchange(b *testing.B) {
	handler, _ := benchmarkAPI(b)
	s := httptest.NewServer(handler)
	defer s.Close()
	c, err := client.New(s.URL, client.Options{Token: root})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("submit", func(b *testing.B) {
		a := agenda("Acme")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Submit(b.Context(), a, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pull", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Pull(b.Context(), model.PullRequest{InsightID: "i", SessionID: "root/s~1", WaitMs: time.Second.Milliseconds()}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
