package drivertest_test

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// brokenEnv names the broken driver that a test process is to run the suite on.
const brokenEnv = "DRIVERTEST_BROKEN"

// TestSuiteFindsWhatIsBroken runs the suite on drivers that each break one clause, in processes of their own, and expects
// the test of that clause to fail.
func TestSuiteFindsWhatIsBroken(t *testing.T) { //nolint:tparallel // a suite looks for leaks, so it runs alone
	if name := os.Getenv(brokenEnv); name != "" {
		runBroken(t, name)
		return
	}
	for name, clause := range brokenClauses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			subtest := strings.ReplaceAll(clause, " ", "_")
			pattern := "^TestSuiteFindsWhatIsBroken$/^(store|queue)$/^" + regexp.QuoteMeta(subtest) + "$"
			if name == "leaves a goroutine" {
				pattern = "^TestSuiteFindsWhatIsBroken$/^" + regexp.QuoteMeta(subtest) + "$"
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", pattern, "-test.v")
			cmd.Env = append(os.Environ(), brokenEnv+"="+name)
			out, err := cmd.CombinedOutput()
			if !strings.Contains(string(out), subtest) {
				t.Fatalf("there is no clause %q:\n%s", clause, out)
			}
			if err == nil {
				t.Errorf("%q passes", clause)
			}
		})
	}
}

func brokenClauses() map[string]string {
	clauses := map[string]string{}
	for name, b := range brokenStores {
		clauses[name] = b.clause
	}
	for name, b := range brokenQueues {
		clauses[name] = b.clause
	}
	return clauses
}

func runBroken(t *testing.T, name string) {
	if b, ok := brokenQueues[name]; ok {
		drivertest.RunQueue(t, memQueues(memdriver.FullQueue(), b.wrap))
		return
	}
	h := memStores(memdriver.StoreOptions{}, brokenStores[name].wrap)
	if name == "forgets on restart" {
		open := h.Open
		h.Open = func(t *testing.T) drivertest.StoreFixture {
			fixture := open(t)
			fixture.Reopen = func(*testing.T) driver.Store { return memdriver.NewStore(memdriver.StoreOptions{}) }
			return fixture
		}
	}
	drivertest.RunStore(t, h)
}

// brokenStore is a store whose methods are replaced where a function is given.
type brokenStore struct {
	driver.Store
	get   func(context.Context, driver.GetRequest) (driver.GetResponse, error)
	scan  func(context.Context, driver.ScanRequest) (driver.ScanResponse, error)
	write func(context.Context, driver.WriteRequest) (driver.WriteResponse, error)
	close func(context.Context) error
}

func (s *brokenStore) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if s.get != nil {
		return s.get(ctx, req)
	}
	return s.Store.Get(ctx, req)
}

func (s *brokenStore) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	if s.scan != nil {
		return s.scan(ctx, req)
	}
	return s.Store.Scan(ctx, req)
}

func (s *brokenStore) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	if s.write != nil {
		return s.write(ctx, req)
	}
	return s.Store.Write(ctx, req)
}

func (s *brokenStore) Close(ctx context.Context) error {
	if s.close != nil {
		return s.close(ctx)
	}
	return s.Store.Close(ctx)
}

// editing returns a store that changes the operations of a call before it writes them.
func editing(edit func(*driver.Op)) func(driver.Store) driver.Store {
	return func(s driver.Store) driver.Store {
		return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
			for _, g := range req.Groups {
				for i := range g {
					edit(&g[i])
				}
			}
			return s.Write(ctx, req)
		}}
	}
}

var brokenStores = map[string]struct {
	clause string
	wrap   func(driver.Store) driver.Store
}{
	"ignores IfAbsent": {
		"of 64 writers that want an absent record exactly one wins",
		editing(func(op *driver.Op) {
			if op.Cond == driver.IfAbsent {
				op.Cond = driver.Always
			}
		}),
	},
	"checks, then writes": {
		"no update of 64 writers is lost",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
				op := req.Groups[0][0]
				if op.Cond != driver.IfVersion {
					return s.Write(ctx, req)
				}
				check := op
				check.Type = driver.Check
				resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{{check}}})
				if err != nil || resp.Results[0].Err != nil {
					return resp, err
				}
				runtime.Gosched()
				op.Cond = driver.Always
				return s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{{op}}})
			}}
		},
	},
	"applies groups in part": {
		"a group is applied as a whole or not at all",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
				results := make([]driver.WriteResult, len(req.Groups))
				for i, g := range req.Groups {
					for j, op := range g {
						resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{{op}}})
						if err != nil {
							return resp, err
						}
						if res := resp.Results[0]; res.Err != nil {
							results[i].Err, results[i].Failed = res.Err, j
						}
						results[i].Versions = append(results[i].Versions, resp.Results[0].Versions...)
					}
				}
				return driver.WriteResponse{Results: results}, nil
			}}
		},
	},
	"fails all groups for one": {
		"groups do not depend on each other, and have one result each in order",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
				all := slices.Concat(req.Groups...)
				resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{all}})
				if err != nil {
					return resp, err
				}
				results := make([]driver.WriteResult, len(req.Groups))
				for i, g := range req.Groups {
					results[i] = resp.Results[0]
					if results[i].Err == nil {
						results[i].Versions = resp.Results[0].Versions[:len(g)]
						resp.Results[0].Versions = resp.Results[0].Versions[len(g):]
					}
				}
				return driver.WriteResponse{Results: results}, nil
			}}
		},
	},
	"takes a key twice": {
		"one call may not name a key twice",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (all driver.WriteResponse, err error) {
				for _, g := range req.Groups {
					resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{g}})
					if err != nil {
						return resp, err
					}
					all.Results = append(all.Results, resp.Results...)
				}
				return all, nil
			}}
		},
	},
	"calls what is too large invalid": {
		"a Body may have MaxRecordBytes and no more",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
				resp, err := s.Write(ctx, req)
				if driver.CodeOf(err) == driver.TooLarge {
					err = driver.Errorf(driver.Invalid, "write", "too large")
				}
				return resp, err
			}}
		},
	},
	"never expires": {"an expired record is absent", editing(func(op *driver.Op) { op.Record.ExpireAt = time.Time{} })},
	"expires by the hour": {
		"a record is there until it expires and not after",
		editing(func(op *driver.Op) { op.Record.ExpireAt = op.Record.ExpireAt.Truncate(time.Hour) }),
	},
	"hides what is there": {
		"a conflict carries the record that is there, if that is declared",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
				resp, err := s.Write(ctx, req)
				for i := range resp.Results {
					resp.Results[i].Current = nil
				}
				return resp, err
			}}
		},
	},
	"leaves the index as it was": {
		"index: a record enters, moves and leaves",
		func(s driver.Store) driver.Store {
			var mu sync.Mutex
			entries := map[driver.Key][]driver.IndexEntry{}
			return editing(func(op *driver.Op) {
				mu.Lock()
				defer mu.Unlock()
				if len(op.Record.Index) > 0 {
					entries[op.Record.Key] = op.Record.Index
				}
				op.Record.Index = entries[op.Record.Key]
			})(s)
		},
	},
	"caches": {
		"Get sees every acknowledged write at once",
		func(s driver.Store) driver.Store {
			var cache sync.Map
			return &brokenStore{Store: s, get: func(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
				resp, err := s.Get(ctx, req)
				for i, r := range resp.Records {
					if r != nil {
						first, _ := cache.LoadOrStore(r.Key, r)
						resp.Records[i] = first.(*driver.Record)
					}
				}
				return resp, err
			}}
		},
	},
	"drops absent records": {
		"Get has one entry per key, in order, nil for an absent one",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, get: func(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
				resp, err := s.Get(ctx, req)
				resp.Records = slices.DeleteFunc(resp.Records, func(r *driver.Record) bool { return r == nil })
				return resp, err
			}}
		},
	},
	"takes To for inclusive": {
		"Scan ranges are half open, both ways",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, scan: func(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
				if req.To != "" {
					req.To += "\x01"
				}
				return s.Scan(ctx, req)
			}}
		},
	},
	"ignores case in the order": {
		"Scan is in bytewise order, both ways",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, scan: func(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
				page, err := s.Scan(ctx, req)
				slices.SortStableFunc(page.Records, func(a, b driver.Record) int {
					return strings.Compare(strings.ToLower(a.Key.Sort), strings.ToLower(b.Key.Sort))
				})
				return page, err
			}}
		},
	},
	"pages by offset": {
		"Scan pages go on where they were while records come and go",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, scan: func(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
				offset, _ := strconv.Atoi(req.Cursor)
				limit := req.Limit
				req.Cursor, req.Limit = "", 0
				page, err := s.Scan(ctx, req)
				if err != nil || limit == 0 {
					return page, err
				}
				rest := page.Records[min(offset, len(page.Records)):]
				if len(rest) > limit {
					return driver.ScanResponse{Records: rest[:limit], Next: strconv.Itoa(offset + limit)}, nil
				}
				return driver.ScanResponse{Records: rest}, nil
			}}
		},
	},
	"returns records from an index": {
		"index: a scan returns keys and the entry, no more",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, scan: func(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
				page, err := s.Scan(ctx, req)
				for i := range page.Records {
					page.Records[i].Version = "1"
				}
				return page, err
			}}
		},
	},
	"ignores contexts": {
		"a context that is done stops every method before it does anything",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, write: func(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
				return s.Write(context.WithoutCancel(ctx), req)
			}}
		},
	},
	"works after Close": {
		"after Close every method is Unavailable, and Close is idempotent",
		func(s driver.Store) driver.Store {
			return &brokenStore{Store: s, close: func(context.Context) error { return nil }}
		},
	},
	"forgets on restart": {"acknowledged writes are there after a restart, unless the store is declared volatile", nil},
	"leaves a goroutine": {
		"Close leaves no goroutine",
		func(s driver.Store) driver.Store {
			go func() { select {} }()
			return s
		},
	},
}

// brokenQueue is a queue whose methods are replaced where a function is given.
type brokenQueue struct {
	driver.Queue
	send    func(context.Context, driver.SendRequest) (driver.SendResponse, error)
	receive func(context.Context, driver.ReceiveRequest) (driver.ReceiveResponse, error)
	ack     func(context.Context, driver.AckRequest) error
	depth   func(context.Context, driver.DepthRequest) (driver.DepthResponse, error)
	purge   func(context.Context, driver.PurgeRequest) error
}

func (q *brokenQueue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	if q.send != nil {
		return q.send(ctx, req)
	}
	return q.Queue.Send(ctx, req)
}

func (q *brokenQueue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	if q.receive != nil {
		return q.receive(ctx, req)
	}
	return q.Queue.Receive(ctx, req)
}

func (q *brokenQueue) Ack(ctx context.Context, req driver.AckRequest) error {
	if q.ack != nil {
		return q.ack(ctx, req)
	}
	return q.Queue.Ack(ctx, req)
}

func (q *brokenQueue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	if q.depth != nil {
		return q.depth(ctx, req)
	}
	return q.Queue.Depth(ctx, req)
}

func (q *brokenQueue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	if q.purge != nil {
		return q.purge(ctx, req)
	}
	return q.Queue.Purge(ctx, req)
}

// sleeping returns a queue that looks for messages only at the end of a wait.
func sleeping(q driver.Queue) driver.Queue {
	return &brokenQueue{Queue: q, receive: func(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
		timer := time.NewTimer(max(req.Wait, 0))
		defer timer.Stop()
		<-timer.C
		req.Wait = 0
		return q.Receive(ctx, req)
	}}
}

var brokenQueues = map[string]struct {
	clause string
	wrap   func(driver.Queue) driver.Queue
}{
	"acknowledges nothing": {
		"Ack is idempotent and lasts",
		func(q driver.Queue) driver.Queue {
			return &brokenQueue{Queue: q, ack: func(context.Context, driver.AckRequest) error { return nil }}
		},
	},
	"sleeps through its wait": {"Receive returns as soon as there is a message", sleeping},
	"is woken by nothing":     {"Close wakes every Receive", sleeping},
	"sends to a wrong queue too": {
		"queues are apart",
		func(q driver.Queue) driver.Queue {
			return &brokenQueue{Queue: q, send: func(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
				resp, err := q.Send(ctx, req)
				if err == nil && req.Queue != "queue" {
					req.Queue = "queue"
					resp, err = q.Send(ctx, req)
				}
				return resp, err
			}}
		},
	},
	"counts nothing": {
		"Depth counts in the declared quality, or is Unsupported",
		func(q driver.Queue) driver.Queue {
			return &brokenQueue{Queue: q, depth: func(context.Context, driver.DepthRequest) (driver.DepthResponse, error) {
				return driver.DepthResponse{}, nil
			}}
		},
	},
	"does not purge": {
		"Purge empties the queue in the declared quality, or is Unsupported",
		func(q driver.Queue) driver.Queue {
			return &brokenQueue{Queue: q, purge: func(context.Context, driver.PurgeRequest) error { return nil }}
		},
	},
	"keeps a receipt": {
		"a message is delivered again when its lease ends, with a new receipt",
		func(q driver.Queue) driver.Queue {
			return &brokenQueue{Queue: q, receive: func(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
				resp, err := q.Receive(ctx, req)
				for i := range resp.Deliveries {
					resp.Deliveries[i].Receipt = "same"
				}
				return resp, err
			}}
		},
	},
}
