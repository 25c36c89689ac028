package local

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

// load is an agenda-shaped load on a store: 1,000 customers, bodies of 4 KB, runs of 600 bytes in three indexes.
type load struct {
	tb     testing.TB
	store  driver.Store
	bodies [][]byte
	seq    atomic.Uint64
}

var loadSchema = driver.Schema{Kinds: []driver.KindSchema{
	{Kind: "agenda"}, {Kind: "run", Indexes: []string{"state", "customer", "link"}},
}}

func newLoad(tb testing.TB, store driver.Store) *load {
	if _, err := store.Migrate(tb.Context(), driver.MigrateRequest{Schema: loadSchema}); err != nil {
		tb.Fatal(err)
	}
	l := &load{tb: tb, store: store}
	for i := range 1000 {
		l.bodies = append(l.bodies, document(uint64(i), 4096))
	}
	return l
}

// document returns JSON that compresses about as well as agendas do.
func document(seed uint64, size int) []byte {
	var b strings.Builder
	r := rand.New(rand.NewPCG(seed, 2))
	for b.Len() < size {
		fmt.Fprintf(&b, `{"name":"op-%d","type":"transcode","payload":{"input":"s3://bucket/%x","preset":%d}},`, r.IntN(99), r.Uint64(), r.IntN(9))
	}
	return []byte(b.String()[:size])
}

type run struct {
	id       string
	customer string
	body     []byte
	version  driver.Version
}

func (l *load) write(g driver.Group) []driver.Version {
	res, err := l.store.Write(l.tb.Context(), driver.WriteRequest{Groups: []driver.Group{g}})
	if err == nil {
		err = res.Results[0].Err
	}
	if err != nil {
		l.tb.Error(err)
		panic(err)
	}
	return res.Results[0].Versions
}

func (l *load) runOp(r *run, state string, cond driver.Cond) driver.Op {
	return driver.Op{Cond: cond, Version: r.version, Record: driver.Record{
		Key:  driver.Key{Kind: "run", Part: r.id, Sort: "-"},
		Body: r.body[:600],
		Index: []driver.IndexEntry{
			{Index: "state", Part: "insight/" + state, Sort: r.id},
			{Index: "customer", Part: r.customer, Sort: r.id},
			{Index: "link", Part: "link-" + r.id, Sort: r.id},
		},
	}}
}

func (l *load) submit() *run {
	n := l.seq.Add(1)
	r := &run{id: fmt.Sprintf("01j%013d%010x", n, n*0x9e3779b97f4a7c15), customer: fmt.Sprintf("customer-%d", n%1000), body: l.bodies[n%uint64(len(l.bodies))]}
	r.version = l.write(driver.Group{
		{Cond: driver.IfAbsent, Record: driver.Record{Key: driver.Key{Kind: "agenda", Part: r.id, Sort: "-"}, Body: r.body}},
		l.runOp(r, "waiting", driver.IfAbsent),
	})[1]
	return r
}

func (l *load) move(r *run, state string) {
	r.version = l.write(driver.Group{l.runOp(r, state, driver.IfVersion)})[0]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs step b.N times by so many writers.
func measure(b *testing.B, store *Store, writers int, step func()) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	cpu, before := cpuTime(), store.Stats().Flushes
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				step()
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric(n/b.Elapsed().Seconds(), "/s")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/n, "cpu-µs/op")
	b.ReportMetric(float64(store.Stats().Flushes-before)/n, "flushes/op")
	b.ReportMetric(0, "ns/op")
}

func benchStore(b *testing.B) *Store {
	s, err := OpenStore(b.Context(), StoreOptions{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close(context.WithoutCancel(b.Context())) }) // before the folder goes
	return s
}

// BenchmarkStore is the load of the conformance suite.
func BenchmarkStore(b *testing.B) {
	drivertest.BenchmarkStore(b, func(b *testing.B) driver.Store { return benchStore(b) })
}

// BenchmarkAgenda is what an agenda costs the store: four calls of Write.
func BenchmarkAgenda(b *testing.B) {
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := benchStore(b)
			l := newLoad(b, s)
			measure(b, s, writers, func() {
				r := l.submit()
				l.move(r, "queued")
				l.move(r, "executing")
				l.move(r, "complete")
			})
		})
	}
}

// BenchmarkIndexScan is what a scheduler does when it starts: it reads all that wait, 20,000 here.
func BenchmarkIndexScan(b *testing.B) {
	const waiting = 20_000
	s := benchStore(b)
	l := newLoad(b, s)
	l.bodies = [][]byte{document(1, 600)}
	var left atomic.Int64
	left.Store(waiting)
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				l.submit()
			}
		})
	}
	wg.Wait()
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		req := driver.ScanRequest{Kind: "run", Index: "state", Part: "insight/waiting"}
		for {
			page, err := s.Scan(b.Context(), req)
			if err != nil {
				b.Fatal(err)
			}
			n += len(page.Records)
			if req.Cursor = page.Next; req.Cursor == "" {
				break
			}
		}
		if n != waiting {
			b.Fatalf("%d are waiting", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/waiting, "ns/entry")
}
