package drivertest_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// checkedFirst returns hooks that check the conditions of some groups, wait a little for another writer to do the same, and write
// without conditions.
func checkedFirst(some func(driver.Group) bool) func(storeRig) storeHooks {
	return func(storeRig) storeHooks {
		var checked atomic.Int64
		return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
			if len(req.Groups) != 1 || !some(req.Groups[0]) {
				return next(ctx, req)
			}
			checks := func(op *driver.Op) { op.Type = driver.Check }
			if resp, err := editing(checks)(ctx, req, next); err != nil || resp.Results[0].Err != nil {
				return resp, err
			}
			for n, waited := checked.Add(1), 0; checked.Load() == n && waited < 20; waited++ {
				<-time.After(time.Millisecond)
			}
			return editing(func(op *driver.Op) { op.Cond = driver.Always })(ctx, req, next)
		}}
	}
}

func allIf(group driver.Group, cond driver.Cond) bool {
	for _, op := range group {
		if op.Cond != cond || op.Type != driver.Put {
			return false
		}
	}
	return true
}

var brokenLives = map[string]storeFlaw{
	"looks whether a record is absent, then writes": {
		clause: "of 64 writers that want an absent record exactly one wins",
		hooks:  checkedFirst(func(g driver.Group) bool { return len(g) == 1 && allIf(g, driver.IfAbsent) }),
	},
	"looks at the version, then writes": {
		clause: "no update of 64 writers is lost",
		also:   []string{"processes that share the data exclude each other, if that is declared"},
		hooks:  checkedFirst(func(g driver.Group) bool { return len(g) == 1 && allIf(g, driver.IfVersion) }),
	},
	"looks at all versions, then writes": {
		clause: "no update of a group is lost, nor half of one",
		hooks:  checkedFirst(func(g driver.Group) bool { return len(g) == 2 && allIf(g, driver.IfVersion) }),
	},
	"loses deletes that meet": {
		clause: "all methods may be called at once",
		hooks: func(storeRig) storeHooks {
			meet := meeting()
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				if len(req.Groups) != 1 {
					return next(ctx, req)
				}
				if op := only(req.Groups[0]); op.Type != driver.Delete || !strings.HasPrefix(op.Record.Key.Sort, "w") || !meet() {
					return next(ctx, req)
				}
				return driver.WriteResponse{Results: []driver.WriteResult{{Versions: make([]driver.Version, 1)}}}, nil
			}}
		},
	},
	"always finds something to migrate": {
		clause: "Migrate is idempotent and keeps the data",
		hooks: func(storeRig) storeHooks {
			return storeHooks{migrate: after(func(req driver.MigrateRequest, resp *driver.MigrateResponse) {
				if !req.DryRun && len(resp.Steps) == 0 {
					resp.Steps = []string{"look again"}
				}
			})}
		},
	},
	"does what a dry run says": {
		clause: "Migrate with DryRun says what Migrate would do and does nothing",
		hooks: func(storeRig) storeHooks {
			return storeHooks{migrate: func(ctx context.Context, req driver.MigrateRequest, next func(context.Context, driver.MigrateRequest) (driver.MigrateResponse, error)) (driver.MigrateResponse, error) {
				req.DryRun = false
				return next(ctx, req)
			}}
		},
	},
	"migrates once": {
		clause: "Migrate adds kinds and indexes to what is there",
		hooks: func(storeRig) storeHooks {
			return storeHooks{migrate: func(ctx context.Context, req driver.MigrateRequest, next func(context.Context, driver.MigrateRequest) (driver.MigrateResponse, error)) (driver.MigrateResponse, error) {
				if len(req.Schema.Kinds) > 2 {
					return driver.MigrateResponse{}, nil
				}
				return next(ctx, req)
			}}
		},
	},
	"writes without its context": {
		clause: "a context that is done stops every method before it does anything",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				return next(context.WithoutCancel(ctx), req)
			}}
		},
	},
	"says of a write in time that it was too late": {
		clause: "a context that ends during a Write leaves it done or not done",
		hooks: func(storeRig) storeHooks {
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				resp, err := next(ctx, req)
				if _, limited := ctx.Deadline(); limited && err == nil {
					return driver.WriteResponse{}, driver.Errorf(driver.Unavailable, "write", "too late")
				}
				return resp, err
			}}
		},
	},
	"works after Close": {
		clause: "after Close every method is Unavailable, and Close is idempotent",
		hooks: func(storeRig) storeHooks {
			return storeHooks{close: func(context.Context, func(context.Context) error) error { return nil }}
		},
	},
	"falls over when it is closed in the middle of work": {
		clause: "Close during calls lets them end or makes them Unavailable",
		hooks: func(storeRig) storeHooks {
			var writes atomic.Int64
			return storeHooks{write: func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
				resp, err := next(ctx, req)
				if writes.Add(1) > 10 && driver.CodeOf(err) == driver.Unavailable {
					err = &driver.Error{Code: driver.Internal, Outcome: driver.OutcomeOf(err), Op: "write", Message: "nil pointer"}
				}
				return resp, err
			}}
		},
	},
	"forgets what expires when it is restarted": {
		clause: "acknowledged writes are there after a restart, unless the store is declared volatile",
		fixture: func(rig storeRig, f *drivertest.StoreFixture) {
			reopen := f.Reopen
			f.Reopen = func(t *testing.T) driver.Store {
				s := reopen(t)
				k := driver.Key{Kind: "alpha", Part: "p", Sort: "a"}
				if r := getOne(t.Context(), rig.raw.Open(), k); r != nil && !r.ExpireAt.IsZero() {
					_, _ = writeOne(t.Context(), rig.raw.Open().Write, driver.Op{Type: driver.Delete, Record: driver.Record{Key: k}})
				}
				return s
			}
		},
	},
	"acknowledges before it has written": {
		clause: "acknowledged writes survive kill -9, and no group is half done",
		fixture: func(rig storeRig, f *drivertest.StoreFixture) {
			kill := f.Kill
			f.Kill = func(t *testing.T) {
				kill(t)
				page, err := rig.raw.Scan(t.Context(), driver.ScanRequest{Kind: "alpha", Part: "p", Limit: 1})
				if err == nil && len(page.Records) > 0 {
					_, _ = writeOne(t.Context(), rig.raw.Write, driver.Op{Type: driver.Delete, Record: page.Records[0]})
				}
			}
		},
	},
	"forgets its schema when it is restarted": {
		clause: "a schema that an earlier process migrated holds",
		fixture: func(_ storeRig, f *drivertest.StoreFixture) {
			reopen := f.Reopen
			f.Reopen = func(t *testing.T) driver.Store {
				var migrated atomic.Bool
				return &hookedStore{reopen(t), storeHooks{
					migrate: after(func(driver.MigrateRequest, *driver.MigrateResponse) { migrated.Store(true) }),
					get: refusing[driver.GetRequest, driver.GetResponse](func(driver.GetRequest) error {
						if !migrated.Load() {
							return driver.Errorf(driver.Invalid, "get", "no such kind")
						}
						return nil
					}),
				}}
			}
		},
	},
	"shares nothing": {
		clause: "processes that share the data exclude each other, if that is declared",
		fixture: func(_ storeRig, f *drivertest.StoreFixture) {
			var closed atomic.Bool
			f.Store = &hookedStore{f.Store, storeHooks{close: func(ctx context.Context, next func(context.Context) error) error {
				closed.Store(true)
				return next(ctx)
			}}}
			reopen := f.Reopen
			f.Reopen = func(t *testing.T) driver.Store {
				if closed.Load() {
					return reopen(t)
				}
				return memdriver.NewStore(memdriver.StoreOptions{})
			}
		},
	},
	"leaves a goroutine": {
		clause: "Close leaves no goroutine",
		fixture: func(_ storeRig, f *drivertest.StoreFixture) {
			var once sync.Once
			f.Store = &hookedStore{f.Store, storeHooks{scan: after(func(driver.ScanRequest, *driver.ScanResponse) {
				once.Do(func() { go func() { select {} }() })
			})}}
		},
	},
}
