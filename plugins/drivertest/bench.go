package drivertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// BenchmarkStore measures a store under the load that POP makes: "submit" writes a 4 KiB body, a 600-byte run with an
// index entry, a 200-byte waiting row and the row of its customer; "claim" finds the oldest waiting row of one of 1,000
// customers, moves its run by compare-and-set and deletes the row. Each runs with 1, 16 and 128 writers. A group is one if
// the store has groups, and else its operations one by one. open returns an empty store.
func BenchmarkStore(b *testing.B, open func(b *testing.B) driver.Store) {
	for _, load := range []struct {
		name  string
		run   func(*benchStore, int)
		bytes int64 // written
	}{{"submit", (*benchStore).submits, 4096 + 600 + 200 + 100}, {"claim", (*benchStore).claims, 600}} {
		for _, writers := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("%s/writers=%d", load.name, writers), func(b *testing.B) {
				s := newBenchStore(b, open(b))
				defer func() {
					if err := s.store.Close(b.Context()); err != nil {
						b.Error(err)
					}
				}()
				b.SetBytes(load.bytes)
				load.run(s, writers)
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
			})
		}
	}
}

const (
	benchCustomers = 1000

	kindBody     driver.Kind = "body"
	kindRun      driver.Kind = "run"
	kindWaiting  driver.Kind = "waiting"
	kindCustomer driver.Kind = "customer"
)

type benchStore struct {
	*testing.B
	store    driver.Store
	groupOps int
}

func newBenchStore(b *testing.B, store driver.Store) *benchStore {
	caps, err := store.Capabilities(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	_, err = store.Migrate(b.Context(), driver.MigrateRequest{Schema: driver.Schema{Kinds: []driver.KindSchema{
		{Kind: kindBody}, {Kind: kindRun, Indexes: []string{index}}, {Kind: kindWaiting}, {Kind: kindCustomer},
	}}})
	if err != nil {
		b.Fatal(err)
	}
	return &benchStore{B: b, store: store, groupOps: caps.MaxGroupOps}
}

// share calls f with each number below n, spread over the writers, and stops at the first error.
func (b *benchStore) share(writers, n int, f func(i int) error) {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		b.Fatal(*err)
	}
}

func (b *benchStore) submits(writers int) {
	b.ResetTimer()
	b.share(writers, b.N, b.submit)
	b.StopTimer()
}

func (b *benchStore) claims(writers int) {
	b.share(64, b.N, b.submit)
	b.ResetTimer()
	b.share(writers, b.N, b.claim)
	b.StopTimer()
}

// scatter returns the number of one of n things, the same for the same i and spread as if at random.
func scatter(i, n int) int { return int(uint64(i) * 0x9e3779b97f4a7c15 >> 33 % uint64(n)) }

func customerOf(i int) string { return fmt.Sprintf("customer-%04d", scatter(i, benchCustomers)) }

func (b *benchStore) submit(i int) error {
	agenda := fmt.Sprintf("agenda-%d", i)
	customer := customerOf(i)
	return b.write(
		driver.Op{Record: driver.Record{Key: driver.Key{Kind: kindBody, Part: agenda, Sort: "body"}, Body: noise(i, 4096)}, Cond: driver.IfAbsent},
		driver.Op{Record: driver.Record{
			Key: driver.Key{Kind: kindRun, Part: agenda, Sort: "run"}, Body: noise(i, 600),
			Index: []driver.IndexEntry{{Index: index, Part: customer, Sort: agenda}},
		}, Cond: driver.IfAbsent},
		driver.Op{Record: driver.Record{Key: driver.Key{Kind: kindWaiting, Part: customer, Sort: fmt.Sprintf("%012d", i)}, Body: append([]byte(agenda+"\n"), noise(i, 200)...)}},
		driver.Op{Record: driver.Record{Key: driver.Key{Kind: kindCustomer, Part: "insight", Sort: customer}, Body: noise(i, 100)}},
	)
}

// claim takes the oldest waiting agenda of the customer of the i-th, for whom there is one for each claim.
func (b *benchStore) claim(i int) error {
	for {
		page, err := b.store.Scan(b.Context(), driver.ScanRequest{Kind: kindWaiting, Part: customerOf(i), Limit: 1})
		if err != nil {
			return err
		}
		if len(page.Records) == 0 {
			return errors.New("a waiting agenda is lost")
		}
		row := page.Records[0]
		agenda, _, _ := strings.Cut(string(row.Body), "\n")
		got, err := b.store.Get(b.Context(), driver.GetRequest{Keys: []driver.Key{{Kind: kindRun, Part: agenda, Sort: "run"}}})
		if err != nil {
			return err
		}
		run := got.Records[0]
		if run == nil {
			return fmt.Errorf("the run of %q is lost", agenda)
		}
		if len(run.Index) == 0 {
			continue // another writer has claimed it and is about to delete its row
		}
		run.Index = nil
		err = b.write(
			driver.Op{Record: *run, Cond: driver.IfVersion, Version: run.Version},
			driver.Op{Type: driver.Delete, Record: driver.Record{Key: row.Key}},
		)
		if !driver.IsConflict(err) {
			return err
		}
	}
}

// write applies the operations as one group, or one by one if the store has no groups that large.
func (b *benchStore) write(ops ...driver.Op) error {
	for group := range slices.Chunk(ops, min(b.groupOps, len(ops))) {
		resp, err := b.store.Write(b.Context(), driver.WriteRequest{Groups: []driver.Group{group}})
		if err != nil {
			return err
		}
		if err := resp.Results[0].Err; err != nil {
			return err
		}
	}
	return nil
}

// incompressible is what bodies are made of.
var incompressible = func() []byte {
	text := make([]byte, 1<<16)
	_, _ = rand.NewChaCha8([32]byte{}).Read(text) // never fails
	return text
}()

func noise(i, n int) []byte {
	start := scatter(i, len(incompressible)-n)
	return slices.Clone(incompressible[start : start+n])
}

// BenchmarkQueue measures how fast hints are sent, received and acknowledged by one caller, one by one and ten at a time. open
// returns a queue that nothing else uses.
func BenchmarkQueue(b *testing.B, open func(b *testing.B) driver.Queue) {
	for _, batch := range []int{1, 10} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			q := open(b)
			defer func() {
				if err := q.Close(b.Context()); err != nil {
					b.Error(err)
				}
			}()
			caps, err := q.Capabilities(b.Context())
			if err == nil {
				err = q.Ensure(b.Context(), driver.EnsureRequest{Queue: queueName})
			}
			if err != nil {
				b.Fatal(err)
			}
			size := min(batch, caps.MaxBatch)
			b.ResetTimer()
			for left := b.N; left > 0; left -= size {
				if err := passHints(b, q, min(size, left)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hints/s")
		})
	}
}

// passHints sends n hints, and receives and acknowledges as many.
func passHints(b *testing.B, q driver.Queue, n int) error {
	req := driver.SendRequest{Queue: queueName}
	for i := range n {
		req.Messages = append(req.Messages, driver.Message{Group: customerOf(i), Body: noise(i, 60)})
	}
	resp, err := q.Send(b.Context(), req)
	if err := errors.Join(append(resp.Errs, err)...); err != nil {
		return err
	}
	for n > 0 {
		got, err := q.Receive(b.Context(), driver.ReceiveRequest{Queue: queueName, Max: n, Wait: time.Second, Lease: time.Minute})
		if err != nil {
			return err
		}
		ack := driver.AckRequest{Queue: queueName}
		for _, d := range got.Deliveries {
			ack.Receipts = append(ack.Receipts, d.Receipt)
		}
		if err := q.Ack(b.Context(), ack); err != nil {
			return err
		}
		n -= len(got.Deliveries)
	}
	return nil
}
