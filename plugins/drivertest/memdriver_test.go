package drivertest_test

import (
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// memStores returns a harness of reference stores, as wrap changes them.
func memStores(opts memdriver.StoreOptions, wrap func(driver.Store) driver.Store) drivertest.StoreHarness {
	caps := opts.Capabilities
	if caps == (driver.StoreCapabilities{}) {
		caps = memdriver.FullStore()
	}
	caps.FreshIndexes = opts.IndexLag == 0
	if wrap == nil {
		wrap = func(s driver.Store) driver.Store { return s }
	}
	return drivertest.StoreHarness{
		Capabilities: caps,
		Open: func(*testing.T) drivertest.StoreFixture {
			clock := drivertest.NewClock(time.Unix(1_700_000_000, 0))
			opts := opts
			if opts.Now == nil {
				opts.Now = clock.Now
			} else {
				clock = nil
			}
			s := memdriver.NewStore(opts)
			fixture := memFixture(s, wrap)
			fixture.Clock = clock
			return fixture
		},
	}
}

func TestReferenceStoreWithAllCapabilities(t *testing.T) {
	drivertest.RunStore(t, memStores(memdriver.StoreOptions{}, nil))
}

func TestReferenceStoreWithTheLeastCapabilities(t *testing.T) {
	drivertest.RunStore(t, memStores(memdriver.StoreOptions{
		Now:          time.Now,
		Capabilities: memdriver.LeastStore(),
		IndexLag:     50 * time.Millisecond,
		ShortPages:   true,
	}, nil))
}

func TestReferenceStoreAgainstItself(t *testing.T) {
	drivertest.RunStoreModel(t, memStores(memdriver.StoreOptions{}, nil))
}

func BenchmarkReferenceStore(b *testing.B) {
	drivertest.BenchmarkStore(b, func(*testing.B) driver.Store { return memdriver.NewStore(memdriver.StoreOptions{}) })
}

func BenchmarkReferenceQueue(b *testing.B) {
	drivertest.BenchmarkQueue(b, func(*testing.B) driver.Queue { return memdriver.NewQueue(memdriver.QueueOptions{}) })
}

// memQueues returns a harness of reference queues, as wrap changes them.
func memQueues(caps driver.QueueCapabilities, wrap func(driver.Queue) driver.Queue) drivertest.QueueHarness {
	if wrap == nil {
		wrap = func(q driver.Queue) driver.Queue { return q }
	}
	return drivertest.QueueHarness{
		Capabilities: caps,
		Open: func(*testing.T) drivertest.QueueFixture {
			q := memdriver.NewQueue(memdriver.QueueOptions{Capabilities: caps})
			fixture := drivertest.QueueFixture{Queue: wrap(q)}
			if caps.Durable {
				fixture.Reopen = func(*testing.T) driver.Queue { return wrap(q.Open()) }
			}
			return fixture
		},
	}
}

func TestReferenceQueueWithAllCapabilities(t *testing.T) {
	drivertest.RunQueue(t, memQueues(memdriver.FullQueue(), nil))
}

func TestReferenceQueueWithTheLeastCapabilities(t *testing.T) {
	caps := memdriver.LeastQueue()
	caps.MinLease = time.Second // the suite waits for it
	drivertest.RunQueue(t, memQueues(caps, nil))
}

func bearer(token string) driver.AuthenticateRequest {
	return driver.AuthenticateRequest{Header: map[string][]string{"Authorization": {"Bearer " + token}}}
}

func TestReferenceAuthorizer(t *testing.T) { drivertest.RunAuthorizer(t, memAuthorizers()) }

// memAuthorizers returns a harness of reference authorizers.
func memAuthorizers() drivertest.AuthorizerHarness {
	everyone := driver.Principal{Subject: "ops", Roles: []driver.Role{driver.RoleOperate, driver.RoleRead}, Global: true}
	return drivertest.AuthorizerHarness{
		Capabilities: driver.AuthorizerCapabilities{Headers: []string{"Authorization"}, Challenge: "Bearer"},
		Open: func(*testing.T) driver.Authorizer {
			return memdriver.NewAuthorizer(map[string]driver.Principal{
				"token-of-ann": {Subject: "ann", Customers: []string{"Zeta", "alpha", "ALPHA"}, Roles: []driver.Role{driver.RoleSubmit}},
				"token-of-ops": everyone,
			})
		},
		Known: map[string]drivertest.KnownCaller{
			"of two customers": {
				Request: bearer("token-of-ann"),
				Want:    driver.Principal{Subject: "ann", Customers: []string{"alpha", "zeta"}, Roles: []driver.Role{driver.RoleSubmit}},
			},
			"global": {Request: bearer("token-of-ops"), Want: everyone},
		},
		Refused: map[string]driver.AuthenticateRequest{
			"unknown token": bearer("token-of-nobody"),
			"other scheme":  {Header: map[string][]string{"Authorization": {"Basic token-of-ann"}}},
			"two headers":   {Header: map[string][]string{"Authorization": {"Bearer token-of-ann", "Bearer token-of-ops"}}},
		},
	}
}
