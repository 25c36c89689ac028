package drivertest_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// storeFlaw is what is wrong with a store.
type storeFlaw struct {
	clause    string
	also, may []string
	options   memdriver.StoreOptions
	hooks     func(storeRig) storeHooks                // for each fixture
	fixture   func(storeRig, *drivertest.StoreFixture) // changes it
}

// storeRig is what a flaw has to work with.
type storeRig struct {
	raw *memdriver.Store
	now func() time.Time
}

type storeHooks struct {
	capabilities func(driver.StoreCapabilities) driver.StoreCapabilities
	migrate      hook[driver.MigrateRequest, driver.MigrateResponse]
	get          hook[driver.GetRequest, driver.GetResponse]
	scan         hook[driver.ScanRequest, driver.ScanResponse]
	write        hook[driver.WriteRequest, driver.WriteResponse]
	close        func(ctx context.Context, next func(context.Context) error) error
}

func (f storeFlaw) run(t *testing.T) {
	h := memStores(f.options, nil)
	h.Open = func(*testing.T) drivertest.StoreFixture {
		clock := drivertest.NewClock(time.Unix(1_700_000_000, 0))
		opts := f.options
		opts.Now = clock.Now
		raw := memdriver.NewStore(opts)
		rig := storeRig{raw: raw, now: clock.Now}
		var hooks storeHooks
		if f.hooks != nil {
			hooks = f.hooks(rig)
		}
		fixture := memFixture(raw, func(s driver.Store) driver.Store { return &hookedStore{s, hooks} })
		fixture.Clock = clock
		if f.fixture != nil {
			f.fixture(rig, &fixture)
		}
		return fixture
	}
	drivertest.RunStore(t, h)
}

// memFixture returns a fixture with a reference store and whatever wraps it.
func memFixture(s *memdriver.Store, wrap func(driver.Store) driver.Store) drivertest.StoreFixture {
	mortal := &mortalStore{Store: s}
	return drivertest.StoreFixture{
		Store: wrap(mortal),
		Reopen: func(*testing.T) driver.Store {
			mortal = &mortalStore{Store: s.Open()}
			return wrap(mortal)
		},
		Kill: func(*testing.T) { mortal.dead.Store(true) },
	}
}

// mortalStore is a store whose process can be killed: no reply comes back from then on.
type mortalStore struct {
	driver.Store
	dead atomic.Bool
}

func (s *mortalStore) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	if s.dead.Load() {
		return driver.WriteResponse{}, driver.Errorf(driver.Unavailable, "write", "the process is dead")
	}
	resp, err := s.Store.Write(ctx, req)
	if s.dead.Load() {
		return driver.WriteResponse{}, memdriver.LostReply().Err
	}
	return resp, err
}

// hookedStore is a store with hooks before its methods.
type hookedStore struct {
	next  driver.Store
	hooks storeHooks
}

func (s *hookedStore) Capabilities(ctx context.Context) (driver.StoreCapabilities, error) {
	caps, err := s.next.Capabilities(ctx)
	if s.hooks.capabilities != nil {
		caps = s.hooks.capabilities(caps)
	}
	return caps, err
}

func (s *hookedStore) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	return s.hooks.migrate.call(ctx, req, s.next.Migrate)
}

func (s *hookedStore) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return s.hooks.get.call(ctx, req, s.next.Get)
}

func (s *hookedStore) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	return s.hooks.scan.call(ctx, req, s.next.Scan)
}

func (s *hookedStore) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	return s.hooks.write.call(ctx, req, s.next.Write)
}

func (s *hookedStore) Close(ctx context.Context) error {
	if s.hooks.close != nil {
		return s.hooks.close(ctx, s.next.Close)
	}
	return s.next.Close(ctx)
}

type writer = func(context.Context, driver.WriteRequest) (driver.WriteResponse, error)

// editing returns a hook that changes operations before they are written.
func editing(edit func(*driver.Op)) hook[driver.WriteRequest, driver.WriteResponse] {
	return func(ctx context.Context, req driver.WriteRequest, next writer) (driver.WriteResponse, error) {
		var edited driver.WriteRequest
		for _, g := range req.Groups {
			group := append(driver.Group(nil), g...)
			for i := range group {
				edit(&group[i])
			}
			edited.Groups = append(edited.Groups, group)
		}
		return next(ctx, edited)
	}
}

// refusingOps returns a hook that refuses calls with some operations.
func refusingOps(code driver.Code, refuse func(driver.Op) bool) hook[driver.WriteRequest, driver.WriteResponse] {
	return refusing[driver.WriteRequest, driver.WriteResponse](func(req driver.WriteRequest) error {
		for _, g := range req.Groups {
			if slices.ContainsFunc(g, refuse) {
				return driver.Errorf(code, "write", "refused")
			}
		}
		return nil
	})
}

// writeOne writes a group of one call and returns its result.
func writeOne(ctx context.Context, next writer, ops ...driver.Op) (driver.WriteResult, error) {
	resp, err := next(ctx, driver.WriteRequest{Groups: []driver.Group{ops}})
	if err != nil {
		return driver.WriteResult{}, err
	}
	return resp.Results[0], nil
}

func getOne(ctx context.Context, s driver.Store, k driver.Key) *driver.Record {
	resp, err := s.Get(ctx, driver.GetRequest{Keys: []driver.Key{k}})
	if err != nil {
		return nil
	}
	return resp.Records[0]
}

func isInvalid(err error) bool { return driver.CodeOf(err) == driver.Invalid }
