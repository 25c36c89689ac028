package drivertest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// queueFlaw is what is wrong with a queue.
type queueFlaw struct {
	clause    string
	also, may []string
	caps      driver.QueueCapabilities
	hooks     func(*memdriver.Queue) queueHooks // for each fixture
	fixture   func(*memdriver.Queue, *drivertest.QueueFixture)
}

type none = struct{}

type queueHooks struct {
	capabilities func(driver.QueueCapabilities) driver.QueueCapabilities
	ensure       hook[driver.EnsureRequest, none]
	send         hook[driver.SendRequest, driver.SendResponse]
	receive      hook[driver.ReceiveRequest, driver.ReceiveResponse]
	ack          hook[driver.AckRequest, none]
	depth        hook[driver.DepthRequest, driver.DepthResponse]
	purge        hook[driver.PurgeRequest, none]
	close        hook[none, none]
}

func (f queueFlaw) run(t *testing.T) {
	caps := f.caps
	if caps == (driver.QueueCapabilities{}) {
		caps = memdriver.FullQueue()
	}
	drivertest.RunQueue(t, drivertest.QueueHarness{Capabilities: caps, Open: func(*testing.T) drivertest.QueueFixture {
		raw := memdriver.NewQueue(memdriver.QueueOptions{Capabilities: caps})
		var hooks queueHooks
		if f.hooks != nil {
			hooks = f.hooks(raw)
		}
		fixture := drivertest.QueueFixture{Queue: &hookedQueue{raw, hooks}}
		if caps.Durable {
			fixture.Reopen = func(*testing.T) driver.Queue { return &hookedQueue{raw.Open(), hooks} }
			fixture.Kill = func(*testing.T) {}
		}
		if f.fixture != nil {
			f.fixture(raw, &fixture)
		}
		return fixture
	}})
}

// hookedQueue is a queue with hooks before its methods.
type hookedQueue struct {
	next  driver.Queue
	hooks queueHooks
}

// bare turns a method that answers nothing into one that hooks can stand before.
func bare[Req any](method func(context.Context, Req) error) func(context.Context, Req) (none, error) {
	return func(ctx context.Context, req Req) (none, error) { return none{}, method(ctx, req) }
}

func (q *hookedQueue) Capabilities(ctx context.Context) (driver.QueueCapabilities, error) {
	caps, err := q.next.Capabilities(ctx)
	if q.hooks.capabilities != nil {
		caps = q.hooks.capabilities(caps)
	}
	return caps, err
}

func (q *hookedQueue) Ensure(ctx context.Context, req driver.EnsureRequest) error {
	_, err := q.hooks.ensure.call(ctx, req, bare(q.next.Ensure))
	return err
}

func (q *hookedQueue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	return q.hooks.send.call(ctx, req, q.next.Send)
}

func (q *hookedQueue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	return q.hooks.receive.call(ctx, req, q.next.Receive)
}

func (q *hookedQueue) Ack(ctx context.Context, req driver.AckRequest) error {
	_, err := q.hooks.ack.call(ctx, req, bare(q.next.Ack))
	return err
}

func (q *hookedQueue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	return q.hooks.depth.call(ctx, req, q.next.Depth)
}

func (q *hookedQueue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	_, err := q.hooks.purge.call(ctx, req, bare(q.next.Purge))
	return err
}

func (q *hookedQueue) Close(ctx context.Context) error {
	_, err := q.hooks.close.call(ctx, none{}, func(ctx context.Context, _ none) (none, error) { return none{}, q.next.Close(ctx) })
	return err
}

type (
	sender   = func(context.Context, driver.SendRequest) (driver.SendResponse, error)
	receiver = func(context.Context, driver.ReceiveRequest) (driver.ReceiveResponse, error)
	acker    = func(context.Context, driver.AckRequest) (none, error)
)

// deliveries returns hooks that change what is received.
func deliveries(change func(*driver.Delivery)) func(*memdriver.Queue) queueHooks {
	return func(*memdriver.Queue) queueHooks {
		var mu sync.Mutex
		return queueHooks{receive: after(func(_ driver.ReceiveRequest, resp *driver.ReceiveResponse) {
			mu.Lock()
			defer mu.Unlock()
			for i := range resp.Deliveries {
				change(&resp.Deliveries[i])
			}
		})}
	}
}

var brokenQueues = map[string]queueFlaw{
	"does not declare all it can do": {
		clause: "capabilities are the declared ones and make sense",
		hooks: func(*memdriver.Queue) queueHooks {
			var closed atomic.Bool
			return queueHooks{
				capabilities: func(c driver.QueueCapabilities) driver.QueueCapabilities {
					c.Durable = closed.Load()
					return c
				},
				close: after(func(none, *none) { closed.Store(true) }),
			}
		},
	},
	"loses the group": {
		clause: "a message is received with its group and body, and gone when acknowledged",
		hooks:  deliveries(func(d *driver.Delivery) { d.Message.Group = "" }),
	},
	"refuses all messages for one": {
		clause: "a Body may have MaxBytes and no more, and each message has its own result",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{send: after(func(_ driver.SendRequest, resp *driver.SendResponse) {
				if i := slices.IndexFunc(resp.Errs, func(err error) bool { return err != nil }); i >= 0 {
					for j := range resp.Errs {
						resp.Errs[j] = resp.Errs[i]
					}
				}
			})}
		},
	},
	"ignores what is too much to acknowledge": {
		clause: "Send and Ack take MaxBatch and no more",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{ack: forgiving[driver.AckRequest, none](func(err error) bool { return driver.CodeOf(err) == driver.TooLarge })}
		},
	},
	"takes less than one for one": {
		clause: "Receive takes up to Max, is cut to MaxBatch, and less than one is Invalid",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{receive: func(ctx context.Context, req driver.ReceiveRequest, next receiver) (driver.ReceiveResponse, error) {
				req.Max = max(req.Max, 1)
				return next(ctx, req)
			}}
		},
	},
	"wants something to acknowledge": {
		clause: "requests for nothing succeed",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{ack: refusing[driver.AckRequest, none](func(req driver.AckRequest) error {
				if len(req.Receipts) == 0 {
					return driver.Errorf(driver.Invalid, "ack", "no receipts")
				}
				return nil
			})}
		},
	},
	"hands out its own memory": {
		clause: "values belong to the caller after the call",
		hooks: func(q *memdriver.Queue) queueHooks {
			mine := map[string][]byte{}
			return deliveries(func(d *driver.Delivery) {
				if mine[string(d.Message.Body)] == nil {
					mine[string(d.Message.Body)] = d.Message.Body
				}
				d.Message.Body = mine[string(d.Message.Body)]
			})(q)
		},
	},
	"ignores case in names": {
		clause: "queues are apart",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{send: func(ctx context.Context, req driver.SendRequest, next sender) (driver.SendResponse, error) {
				req.Queue = strings.ToLower(req.Queue)
				return next(ctx, req)
			}}
		},
	},
	"begins anew when it is ensured often": {
		clause: "Ensure is idempotent and keeps the messages",
		hooks: func(q *memdriver.Queue) queueHooks {
			n := 0
			return queueHooks{ensure: after(func(req driver.EnsureRequest, _ *none) {
				if n++; req.Queue == "queue" && n > 5 {
					_ = q.Purge(context.Background(), driver.PurgeRequest(req))
				}
			})}
		},
	},
	"takes any name": {
		clause: "Ensure of a name that breaks a rule is Invalid",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{ensure: forgiving[driver.EnsureRequest, none](isInvalid)}
		},
	},
	"takes a queue that is not there for an empty one": {
		clause: "a queue that Ensure never made is Invalid",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{depth: forgiving[driver.DepthRequest, driver.DepthResponse](isInvalid)}
		},
	},
	"sleeps through its wait": {
		clause: "Receive returns as soon as there is a message",
		hooks: func(*memdriver.Queue) queueHooks {
			closed := make(chan none)
			var once sync.Once
			return queueHooks{
				receive: func(ctx context.Context, req driver.ReceiveRequest, next receiver) (driver.ReceiveResponse, error) {
					wait := req.Wait
					req.Wait = 0
					if resp, err := next(ctx, req); err != nil || len(resp.Deliveries) > 0 {
						return resp, err
					}
					timer := time.NewTimer(max(wait, 0))
					defer timer.Stop()
					select {
					case <-timer.C:
					case <-ctx.Done():
					case <-closed:
					}
					return next(ctx, req)
				},
				close: after(func(none, *none) { once.Do(func() { close(closed) }) }),
			}
		},
	},
	"cannot wait less than no time": {
		clause: "Receive of nothing is empty, after its wait and no error",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{receive: refusing[driver.ReceiveRequest, driver.ReceiveResponse](func(req driver.ReceiveRequest) error {
				if req.Wait < 0 {
					return driver.Errorf(driver.Invalid, "receive", "wait %s", req.Wait)
				}
				return nil
			})}
		},
	},
	"waits longer than it can": {
		clause: "a Wait longer than MaxWait is cut to it",
		caps: driver.QueueCapabilities{
			MaxBatch: 10, MaxBytes: 1 << 10, MaxWait: 4 * time.Second, MaxLease: time.Hour, Depth: driver.Exact, Purge: driver.Exact,
		},
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{receive: func(ctx context.Context, req driver.ReceiveRequest, next receiver) (driver.ReceiveResponse, error) {
				if req.Wait > time.Minute {
					return driver.ReceiveResponse{}, driver.Errorf(driver.Invalid, "receive", "wait %s", req.Wait)
				}
				return next(ctx, req)
			}}
		},
	},
	"delivers what is held if it is asked at once": {
		clause: "a message under a lease is not delivered",
		hooks: func(*memdriver.Queue) queueHooks {
			var mu sync.Mutex
			held := map[string]driver.Delivery{}
			return queueHooks{
				receive: after(func(req driver.ReceiveRequest, resp *driver.ReceiveResponse) {
					mu.Lock()
					defer mu.Unlock()
					if len(resp.Deliveries) == 0 && len(held) == 5 && req.Wait == 0 {
						for _, d := range held {
							resp.Deliveries = append(resp.Deliveries, d)
						}
					}
					for _, d := range resp.Deliveries {
						held[d.Receipt] = d
					}
				}),
				ack: after(func(req driver.AckRequest, _ *none) {
					mu.Lock()
					defer mu.Unlock()
					for _, r := range req.Receipts {
						delete(held, r)
					}
				}),
			}
		},
	},
	"counts every delivery as the first": {
		clause: "a message is delivered again when its lease ends, with a new receipt",
		hooks:  deliveries(func(d *driver.Delivery) { d.Attempt = 1 }),
	},
	"takes a stale receipt for the one of now": {
		clause: "a stale receipt is ignored",
		hooks: func(*memdriver.Queue) queueHooks {
			var mu sync.Mutex
			bodies, now := map[string]string{}, map[string]string{}
			return queueHooks{
				receive: after(func(_ driver.ReceiveRequest, resp *driver.ReceiveResponse) {
					mu.Lock()
					defer mu.Unlock()
					for _, d := range resp.Deliveries {
						body := string(d.Message.Body)
						bodies[d.Receipt], now[body] = body, d.Receipt
					}
				}),
				ack: func(ctx context.Context, req driver.AckRequest, next acker) (none, error) {
					mu.Lock()
					receipts := slices.Clone(req.Receipts)
					for i, r := range receipts {
						if body, known := bodies[r]; known {
							receipts[i] = now[body]
						}
					}
					mu.Unlock()
					return next(ctx, driver.AckRequest{Queue: req.Queue, Receipts: receipts})
				},
			}
		},
	},
	"brings back what is acknowledged too often": {
		clause: "Ack is idempotent and lasts",
		hooks: func(q *memdriver.Queue) queueHooks {
			var mu sync.Mutex
			acked := map[string]int{}
			return queueHooks{ack: after(func(req driver.AckRequest, _ *none) {
				mu.Lock()
				defer mu.Unlock()
				for _, r := range req.Receipts {
					if acked[r]++; acked[r] == 5 {
						again := []driver.Message{{Body: []byte("acked")}}
						_, _ = q.Send(context.Background(), driver.SendRequest{Queue: req.Queue, Messages: again})
					}
				}
			})}
		},
	},
	"refuses leases that are too long": {
		clause: "leases are raised to MinLease and cut to MaxLease",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{receive: refusing[driver.ReceiveRequest, driver.ReceiveResponse](func(req driver.ReceiveRequest) error {
				if req.Lease > memdriver.FullQueue().MaxLease {
					return driver.Errorf(driver.Invalid, "receive", "lease %s", req.Lease)
				}
				return nil
			})}
		},
	},
	"loses messages that meet": {
		clause: "every message sent at once is received at once",
		hooks: func(*memdriver.Queue) queueHooks {
			meet := meeting()
			return queueHooks{send: func(ctx context.Context, req driver.SendRequest, next sender) (driver.SendResponse, error) {
				if many := len(req.Messages) > 0 && strings.HasPrefix(string(req.Messages[0].Body), "s"); many && meet() {
					return driver.SendResponse{Errs: make([]error, len(req.Messages))}, nil
				}
				return next(ctx, req)
			}}
		},
	},
	"counts nothing": {
		clause: "Depth counts in the declared quality, or is Unsupported",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{depth: after(func(_ driver.DepthRequest, resp *driver.DepthResponse) { *resp = driver.DepthResponse{} })}
		},
	},
	"does not purge": {
		clause: "Purge empties the queue in the declared quality, or is Unsupported",
		hooks: func(q *memdriver.Queue) queueHooks {
			return queueHooks{purge: func(ctx context.Context, req driver.PurgeRequest, _ func(context.Context, driver.PurgeRequest) (none, error)) (none, error) {
				_, err := q.Depth(ctx, driver.DepthRequest(req))
				return none{}, err
			}}
		},
	},
	"acknowledges without its context": {
		clause: "a context that is done stops every method before it does anything",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{ack: func(ctx context.Context, req driver.AckRequest, next acker) (none, error) {
				return next(context.WithoutCancel(ctx), req)
			}}
		},
	},
	"waits without its context": {
		clause: "a context that ends wakes Receive",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{receive: func(ctx context.Context, req driver.ReceiveRequest, next receiver) (driver.ReceiveResponse, error) {
				if ctx.Err() == nil {
					ctx = context.WithoutCancel(ctx)
				}
				return next(ctx, req)
			}}
		},
	},
	"is not woken by Close": {
		clause: "Close wakes every Receive",
		hooks: func(q *memdriver.Queue) queueHooks {
			var closed atomic.Bool
			other := q.Open()
			return queueHooks{
				receive: func(ctx context.Context, req driver.ReceiveRequest, next receiver) (driver.ReceiveResponse, error) {
					if closed.Load() {
						return next(ctx, req)
					}
					return other.Receive(ctx, req)
				},
				close: after(func(none, *none) { closed.Store(true) }),
			}
		},
	},
	"counts after Close": {
		clause: "after Close every method is Unavailable, and Close is idempotent",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{depth: forgiving[driver.DepthRequest, driver.DepthResponse](func(err error) bool {
				return driver.CodeOf(err) == driver.Unavailable
			})}
		},
	},
	"loses at a restart what was leased": {
		clause: "accepted messages survive a restart if that is declared",
		fixture: func(_ *memdriver.Queue, f *drivertest.QueueFixture) {
			reopen := f.Reopen
			f.Reopen = func(t *testing.T) driver.Queue {
				return &hookedQueue{reopen(t), queueHooks{receive: after(func(_ driver.ReceiveRequest, resp *driver.ReceiveResponse) {
					resp.Deliveries = slices.DeleteFunc(resp.Deliveries, func(d driver.Delivery) bool { return string(d.Message.Body) == "leased" })
				})}}
			}
		},
	},
	"accepts before it has written": {
		clause: "accepted messages survive kill -9 if that is declared",
		fixture: func(q *memdriver.Queue, f *drivertest.QueueFixture) {
			f.Kill = func(t *testing.T) { _ = q.Purge(t.Context(), driver.PurgeRequest{Queue: "queue"}) }
		},
	},
	"leaves a goroutine": {
		clause: "Close leaves no goroutine",
		hooks: func(*memdriver.Queue) queueHooks {
			return queueHooks{close: after(func(none, *none) { go func() { select {} }() })}
		},
	},
}
