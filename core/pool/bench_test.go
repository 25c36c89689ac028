package pool

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// source is an API that always has agendas and takes every report, until all have been reported.
type source struct {
	operations []model.Operation
	left       int
	reported   int
	n          int
	all        chan struct{}
	mu         sync.Mutex
}

func (s *source) OpenSession(context.Context, string) (model.Session, error) {
	return model.Session{ID: "s", ExpiresAt: time.Now().Add(time.Hour), Heartbeat: time.Minute.Milliseconds()}, nil
}

func (s *source) Heartbeat(ctx context.Context, _ string) (model.Session, error) {
	return s.OpenSession(ctx, "")
}

func (s *source) AppendLogs(context.Context, []model.LogAppend) ([]model.ReportResult, error) {
	return nil, nil
}

func (s *source) CloseSession(context.Context, string) error { return nil }

func (s *source) Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error) {
	if s.left == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	got := make([]model.Assignment, min(req.Max, s.left))
	for i := range got {
		got[i].AgendaID = strconv.Itoa(s.left)
		got[i].Fence = 1
		got[i].Agenda.Operations = s.operations
		s.left--
	}
	return got, nil
}

var sourceResults = make([]model.ReportResult, maxReports)

// Report is called by several senders.
func (s *source) Report(_ context.Context, reports []model.Report) ([]model.ReportResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range reports {
		if reports[i].State == model.Complete {
			s.reported++
		}
	}
	if s.reported == s.n {
		close(s.all)
	}
	return sourceResults[:len(reports)], nil
}

// BenchmarkAgendas is what POP itself costs per agenda on the executor's side, with operations and a server that cost nothing.
func BenchmarkAgendas(b *testing.B) {
	for name, operations := range map[string][]model.Operation{
		"one operation": {{Name: "a", Type: "noop", Payload: json.RawMessage(`{"file": "in.mp4", "size": 12345}`)}},
		"a chain of four": {
			{Name: "a", Type: "noop", Payload: json.RawMessage(`{"file": "in.mp4"}`)},
			{Name: "b", Type: "noop", Payload: json.RawMessage(`{"in": "@<a.out::/file>"}`)},
			{Name: "c", Type: "noop", Payload: json.RawMessage(`{"in": "@<b.out::/file>"}`)},
			{Name: "d", Type: "noop", Payload: json.RawMessage(`{"in": "@<c.out::/file>"}`)},
		},
		"one and three beside each other": {
			{Name: "a", Type: "noop", Payload: json.RawMessage(`{"file": "in.mp4"}`)},
			{Name: "b", Type: "noop", Payload: json.RawMessage(`{"in": "@<a.out::/file>"}`)},
			{Name: "c", Type: "noop", Payload: json.RawMessage(`{"in": "@<a.out::/file>"}`)},
			{Name: "d", Type: "noop", Payload: json.RawMessage(`{"in": "@<a.out::/file>"}`)},
		},
	} {
		b.Run(name, func(b *testing.B) {
			result := json.RawMessage(`{"file": "out.mp4"}`)
			s := &source{operations: operations, left: b.N, n: b.N, all: make(chan struct{})}
			p, err := New(Config{
				API: s, Name: "bench", InsightIDs: []string{"i"}, Slots: 64, Log: slog.New(slog.DiscardHandler),
				Launcher: LauncherFunc(func(context.Context, *Task) (json.RawMessage, error) { return result, nil }),
			})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan struct{})
			b.ReportAllocs()
			b.ResetTimer()
			go func() {
				defer close(done)
				p.Run(ctx)
			}()
			<-s.all
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "agendas/s")
			stop()
			<-done
		})
	}
}
