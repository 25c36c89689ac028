package host_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/plugins/sdk"
)

// inMemory serves a provider over a connection in memory, for the given service.
func inMemory(t *testing.T, p driver.Provider, service driver.Service) *host.Plugin {
	t.Helper()
	plugin, err := host.InMemory(t.Context(), p, host.Entry{Name: "memory", Services: []driver.Service{service}}, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

// must returns the driver that a plugin was opened for.
func must[D any](t *testing.T, take func() (D, error)) D {
	t.Helper()
	d, err := take()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func storesInMemory(opts memdriver.StoreOptions) drivertest.StoreHarness {
	caps := opts.Capabilities
	if caps == (driver.StoreCapabilities{}) {
		caps = memdriver.FullStore()
	}
	caps.FreshIndexes = opts.IndexLag == 0
	return drivertest.StoreHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.StoreFixture {
			var clock *drivertest.Clock
			opts := opts
			if opts.Now == nil {
				clock = drivertest.NewClock(time.Unix(1_700_000_000, 0))
				opts.Now = clock.Now
			}
			data := memdriver.NewStore(opts)
			open := func(t *testing.T) driver.Store {
				p := sdk.Plugin[noConfig]{Name: "memory", Version: "1", Store: func(context.Context, noConfig, *slog.Logger) (driver.Store, error) {
					return data.Open(), nil
				}}
				return must(t, inMemory(t, p, driver.StoreService).Store)
			}
			return drivertest.StoreFixture{Store: open(t), Reopen: open, Clock: clock}
		},
	}
}

func TestStoreOverAConnectionInMemoryKeepsTheContract(t *testing.T) {
	drivertest.RunStore(t, storesInMemory(memdriver.StoreOptions{}))
}

func TestPoorStoreOverAConnectionInMemoryKeepsTheContract(t *testing.T) {
	drivertest.RunStore(t, storesInMemory(memdriver.StoreOptions{
		Now: time.Now, Capabilities: memdriver.LeastStore(), IndexLag: 50 * time.Millisecond, ShortPages: true,
	}))
}

func TestStoreOverAConnectionInMemoryDoesWhatTheReferenceDoes(t *testing.T) {
	drivertest.RunStoreModel(t, storesInMemory(memdriver.StoreOptions{}))
}

func queuesInMemory(caps driver.QueueCapabilities) drivertest.QueueHarness {
	return drivertest.QueueHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.QueueFixture {
			data := memdriver.NewQueue(memdriver.QueueOptions{Capabilities: caps})
			open := func(t *testing.T) driver.Queue {
				p := sdk.Plugin[noConfig]{Name: "memory", Version: "1", Queue: func(context.Context, noConfig, *slog.Logger) (driver.Queue, error) {
					return data.Open(), nil
				}}
				return must(t, inMemory(t, p, driver.QueueService).Queue)
			}
			fixture := drivertest.QueueFixture{Queue: open(t)}
			if caps.Durable {
				fixture.Reopen = open
			}
			return fixture
		},
	}
}

func TestQueueOverAConnectionInMemoryKeepsTheContract(t *testing.T) {
	drivertest.RunQueue(t, queuesInMemory(memdriver.FullQueue()))
}

func TestPoorQueueOverAConnectionInMemoryKeepsTheContract(t *testing.T) {
	caps := memdriver.LeastQueue()
	caps.MinLease = time.Second // the suite waits for it
	drivertest.RunQueue(t, queuesInMemory(caps))
}

func bearer(token string) driver.AuthenticateRequest {
	return driver.AuthenticateRequest{Header: map[string][]string{"Authorization": {"Bearer " + token}}}
}

// ann is the caller that the authorizers of these tests know.
var ann = driver.Principal{Subject: "ann", Customers: []string{"alpha", "zeta"}, Roles: []driver.Role{driver.RoleSubmit}}

func authorizers(open func(t *testing.T) driver.Authorizer) drivertest.AuthorizerHarness {
	return drivertest.AuthorizerHarness{
		Capabilities: driver.AuthorizerCapabilities{Headers: []string{"Authorization"}, Challenge: "Bearer"},
		Open:         open,
		Known:        map[string]drivertest.KnownCaller{"of two customers": {Request: bearer("token-of-ann"), Want: ann}},
		Refused: map[string]driver.AuthenticateRequest{
			"unknown token": bearer("token-of-nobody"),
			"not UTF-8":     bearer("token-of-\xff\xfe"),
		},
	}
}

func TestAuthorizerOverAConnectionInMemoryKeepsTheContract(t *testing.T) {
	drivertest.RunAuthorizer(t, authorizers(func(t *testing.T) driver.Authorizer {
		return must(t, inMemory(t, memory, driver.AuthorizerService).Authorizer)
	}))
}

// process starts this test binary as a plugin.
func process(t *testing.T, service driver.Service) *host.Plugin {
	t.Helper()
	plugin, err := host.Start(t.Context(), entry(t, service), options("serve"))
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

func TestStoreInAProcessKeepsTheContract(t *testing.T) {
	caps := memdriver.FullStore()
	drivertest.RunStore(t, drivertest.StoreHarness{
		Capabilities: caps, Volatile: true,
		Open: func(t *testing.T) drivertest.StoreFixture {
			return drivertest.StoreFixture{Store: must(t, process(t, driver.StoreService).Store)}
		},
	})
}

func TestQueueInAProcessKeepsTheContract(t *testing.T) {
	caps := memdriver.FullQueue()
	caps.Durable = false
	drivertest.RunQueue(t, drivertest.QueueHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.QueueFixture {
			return drivertest.QueueFixture{Queue: must(t, process(t, driver.QueueService).Queue)}
		},
	})
}

func TestAuthorizerInAProcessKeepsTheContract(t *testing.T) {
	drivertest.RunAuthorizer(t, authorizers(func(t *testing.T) driver.Authorizer {
		return must(t, process(t, driver.AuthorizerService).Authorizer)
	}))
}
