package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

const (
	insightID = "insight"
	customers = 100
	parallel  = 32
)

// payload makes an agenda of one operation about 200 bytes of JSON.
var payload = json.RawMessage(`{"input":"s3://bucket/path/to/some/file.mov","output":"s3://bucket/path/to/another.mp4","height":1080}`)

// queueSize is that of the insight unless a benchmark says otherwise.
const queueSize = 200

// furnish makes the objects that agendas of all customers need.
func (s *server) furnish(algorithm model.SchedulingAlgorithm, queueSize int) {
	s.Helper()
	ctx := s.Context()
	_, err := s.ResourcePools.Create(ctx, model.ResourcePool{Meta: model.Meta{ID: "pool", CustomerID: "ops", Title: "pool"}})
	must(s, err)
	_, err = s.Insights.Create(ctx, model.Insight{
		Meta: model.Meta{ID: insightID, CustomerID: "ops", Title: "insight"}, Sharing: model.Sharing{IsGlobal: true}, ResourcePoolID: "pool",
		QueueSize: new(queueSize), SchedulingAlgorithm: algorithm, Mappers: model.Mappers{OperationType: []string{"work"}},
	})
	must(s, err)
	for i := range customers {
		_, err = s.Customers.Create(ctx, model.Customer{Meta: model.Meta{ID: customer(i), Title: "customer"}, ResourcePoolID: "pool"})
		must(s, err)
	}
}

func customer(i int) string { return fmt.Sprintf("customer-%02d", i%customers) }

func agendaOf(i, operations int) model.Agenda {
	a := model.Agenda{Meta: model.Meta{CustomerID: customer(i)}}
	for n := range operations {
		a.Operations = append(a.Operations, model.Operation{Name: fmt.Sprint("step", n), Type: "work", Payload: payload})
	}
	return a
}

// submit accepts n agendas from parallel submitters, each batch at a time, and returns how long that took.
func (s *server) submit(n, batch int, agenda func(i int) model.Agenda) time.Duration {
	s.Helper()
	start := time.Now()
	s.parallel((n+batch-1)/batch, func(ctx context.Context, call int) error {
		if batch == 1 {
			_, err := s.Submit(ctx, agenda(call), "")
			return err
		}
		var items []wire.SubmitItem
		for i := call * batch; i < min(n, (call+1)*batch); i++ {
			items = append(items, wire.SubmitItem{Agenda: agenda(i)})
		}
		results, err := s.SubmitBatch(ctx, items)
		for _, r := range results {
			if r.Problem != nil {
				return fmt.Errorf("refused: %s", r.Problem.Detail)
			}
		}
		return err
	})
	return time.Since(start)
}

// parallel makes n calls from parallel goroutines.
func (s *server) parallel(n int, call func(ctx context.Context, i int) error) {
	s.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := call(s.Context(), i); err != nil {
					s.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// work pulls and completes agendas until n are done, handing each to seen, and returns how long that took.
func (s *server) work(n, batch int, seen func(model.Assignment)) time.Duration {
	s.Helper()
	session, err := s.OpenSession(s.Context(), "bench")
	must(s, err)
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	start := time.Now()
	var done atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for beat := time.NewTicker(time.Duration(session.Heartbeat) * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				beat.Stop()
				return
			case <-beat.C:
				if _, err := s.Heartbeat(ctx, session.ID); err != nil && ctx.Err() == nil {
					s.Error(err)
				}
			}
		}
	})
	for range parallel {
		wg.Go(func() {
			for ctx.Err() == nil {
				got, err := s.Pull(ctx, model.PullRequest{InsightID: insightID, SessionID: session.ID, Max: batch, WaitMs: 1000})
				if err != nil {
					if ctx.Err() == nil {
						s.Error(err)
					}
					return
				}
				if len(got) == 0 {
					continue
				}
				reports := make([]model.Report, len(got))
				for i, a := range got {
					seen(a)
					reports[i] = succeeded(a, session.ID)
				}
				results, err := s.Report(ctx, reports)
				if err != nil && ctx.Err() == nil {
					s.Error(err)
				}
				for _, r := range results {
					if r.Err != nil {
						s.Error(r.Err)
					}
				}
				if done.Add(int64(len(got))) >= int64(n) {
					cancel()
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func succeeded(a model.Assignment, session string) model.Report {
	r := model.Report{Lease: a.Lease, SessionID: session}
	r.State, r.Outcome = model.Complete, model.Succeeded
	for _, op := range a.Agenda.Operations {
		p := model.OperationProgress{Operation: op.Name, AttemptCount: 1, ResultPayload: json.RawMessage(`{"bytes":1234567}`)}
		p.State, p.Outcome, p.PercentComplete = model.Complete, model.Succeeded, 100
		r.Operations = append(r.Operations, p)
	}
	return r
}

// perAgenda reports what n agendas cost on both sides between two moments.
func perAgenda(b *testing.B, n int, before, after stats, clientBefore time.Duration) {
	b.Helper()
	clientAfter, _ := usage()
	each := func(v float64, unit string) { b.ReportMetric(v/float64(n), unit) }
	each(float64((after.CPU-before.CPU)+(clientAfter-clientBefore))/1e3, "cpu-µs/agenda")
	each(float64(after.CPU-before.CPU)/1e3, "server-cpu-µs/agenda")
	each(float64(after.Flushes-before.Flushes), "flushes/agenda")
	each(float64(after.Gets+after.Scans+after.Writes-before.Gets-before.Scans-before.Writes), "store-calls/agenda")
	each(float64(after.WriteGroups-before.WriteGroups), "writes/agenda")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkEndToEnd submits and completes b.N agendas at the same time.
func BenchmarkEndToEnd(b *testing.B) {
	for _, c := range []struct {
		name              string
		batch, operations int
	}{{"one-by-one", 1, 1}, {"batch-16", 16, 1}, {"one-by-one-5-operations", 1, 5}} {
		b.Run(c.name, func(b *testing.B) {
			s := startServer(b, b.TempDir())
			s.furnish(model.WeightedFair, queueSize)
			before := s.stats()
			clientBefore, _ := usage()
			b.ResetTimer()
			var accepting time.Duration
			var wg sync.WaitGroup
			wg.Go(func() {
				accepting = s.submit(b.N, c.batch, func(i int) model.Agenda { return agendaOf(i, c.operations) })
			})
			took := s.work(b.N, c.batch, func(model.Assignment) {})
			wg.Wait()
			b.StopTimer()
			perAgenda(b, b.N, before, s.stats(), clientBefore)
			b.ReportMetric(float64(b.N)/accepting.Seconds(), "accepted/s")
			b.ReportMetric(float64(b.N)/took.Seconds(), "end-to-end/s")
		})
	}
}

// BenchmarkAccept only submits; nobody pulls.
func BenchmarkAccept(b *testing.B) {
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			s := startServer(b, b.TempDir())
			s.furnish(model.WeightedFair, queueSize)
			before := s.stats()
			clientBefore, _ := usage()
			b.ResetTimer()
			took := s.submit(b.N, batch, func(i int) model.Agenda { return agendaOf(i, 1) })
			b.StopTimer()
			after := s.stats()
			perAgenda(b, b.N, before, after, clientBefore)
			b.ReportMetric(float64(b.N)/took.Seconds(), "accepted/s")
			b.ReportMetric(float64(after.ResidentKiB-before.ResidentKiB)*1024/float64(b.N), "B-resident/waiting")
		})
	}
}

// dispatchTime is how long BenchmarkDispatch submits at each rate, whatever b.N is.
const dispatchTime = 10 * time.Second

// BenchmarkDispatch submits at a fixed rate, whatever the server does, and measures from the moment a submission was due until the
// agenda is in the hands of the puller.
func BenchmarkDispatch(b *testing.B) {
	for _, rate := range []int{20, 500} {
		b.Run(fmt.Sprintf("rate=%d", rate), func(b *testing.B) {
			if b.N == 1 {
				return // the trial run
			}
			s := startServer(b, b.TempDir())
			s.furnish(model.WeightedFair, queueSize)
			n := int(dispatchTime.Seconds()) * rate
			var mu sync.Mutex
			var latencies []time.Duration
			seen := func(a model.Assignment) {
				now := time.Now()
				var due int64
				_, _ = fmt.Sscan(a.Agenda.CID, &due)
				mu.Lock()
				defer mu.Unlock()
				latencies = append(latencies, now.Sub(time.Unix(0, due)))
			}
			var wg sync.WaitGroup
			wg.Go(func() { s.work(n, 1, seen) })
			start := time.Now()
			for i := range n {
				due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
				<-time.After(time.Until(due))
				wg.Go(func() {
					a := agendaOf(i, 1)
					a.CID = fmt.Sprint(due.UnixNano())
					if _, err := s.Submit(b.Context(), a, ""); err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			slices.Sort(latencies)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(latencies[len(latencies)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(latencies[len(latencies)*99/100].Seconds()*1e3, "p99-ms")
		})
	}
}

// BenchmarkStart starts a server on an empty data folder, and then on one with b.N waiting agendas, and measures from exec until it
// has answered, and until the first of those agendas is handed out.
func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	b.Run("empty", func(b *testing.B) {
		if b.N == 1 {
			return // the trial run
		}
		s := startServer(b, dir)
		b.ReportMetric(float64(s.launch.Milliseconds()), "start-ms")
		s.furnish(model.WeightedFair, queueSize)
		s.submit(b.N, 16, func(i int) model.Agenda { return agendaOf(i, 1) })
		b.ReportMetric(0, "ns/op")
	})
	b.Run("waiting", func(b *testing.B) {
		if b.N == 1 {
			return // the trial run
		}
		start := time.Now()
		s := startServer(b, dir)
		b.ReportMetric(float64(s.launch.Milliseconds()), "start-ms")
		session, err := s.OpenSession(b.Context(), "bench")
		must(b, err)
		_, err = s.Pull(b.Context(), model.PullRequest{InsightID: insightID, SessionID: session.ID, WaitMs: 30_000})
		must(b, err)
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "first-agenda-ms")
		b.ReportMetric(0, "ns/op")
	})
}
