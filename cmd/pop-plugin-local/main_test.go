package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/providers/local"
)

// asPlugin makes this test binary the plugin.
const asPlugin = "POP_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
	}
	os.Exit(m.Run())
}

func start(t *testing.T, cfg config, service driver.Service) *host.Plugin {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p, err := host.Start(t.Context(),
		host.Entry{Name: "local", Path: path, Env: []string{asPlugin}, Services: []driver.Service{service}, Config: text},
		host.Options{LookupEnv: func(name string) (string, bool) { return "1", name == asPlugin }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func startStore(t *testing.T, dir string) driver.Store {
	t.Helper()
	s, err := start(t, config{Dir: dir}, driver.StoreService).Store()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// storeCapabilities are those of the store that is linked in: the process must have the same.
func storeCapabilities(t *testing.T) driver.StoreCapabilities {
	t.Helper()
	s, err := local.OpenStore(t.Context(), local.StoreOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	caps, err := s.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return caps
}

func TestStoreInAProcessKeepsTheContract(t *testing.T) {
	drivertest.RunStore(t, drivertest.StoreHarness{
		Capabilities: storeCapabilities(t),
		Open: func(t *testing.T) drivertest.StoreFixture {
			dir := t.TempDir()
			return drivertest.StoreFixture{
				Store:  startStore(t, dir),
				Reopen: func(t *testing.T) driver.Store { return startStore(t, dir) },
			}
		},
	})
}

func TestQueueInAProcessKeepsTheContract(t *testing.T) {
	linked := local.NewQueue(local.QueueOptions{})
	caps, err := linked.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := linked.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	drivertest.RunQueue(t, drivertest.QueueHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.QueueFixture {
			q, err := start(t, config{}, driver.QueueService).Queue()
			if err != nil {
				t.Fatal(err)
			}
			return drivertest.QueueFixture{Queue: q}
		},
	})
}

func TestAuthorizerInAProcessKeepsTheContract(t *testing.T) {
	tokens := filepath.Join(t.TempDir(), "tokens.yaml")
	text := fmt.Sprintf("tokens:\n- {token: %q, subject: ann, customers: [acme], roles: [read]}\n", local.HashToken("token-of-ann"))
	if err := os.WriteFile(tokens, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	bearer := func(token string) driver.AuthenticateRequest {
		return driver.AuthenticateRequest{Header: map[string][]string{"Authorization": {"Bearer " + token}}}
	}
	drivertest.RunAuthorizer(t, drivertest.AuthorizerHarness{
		Capabilities: driver.AuthorizerCapabilities{Headers: []string{"Authorization"}, Challenge: "Bearer"},
		Open: func(t *testing.T) driver.Authorizer {
			a, err := start(t, config{Tokens: tokens}, driver.AuthorizerService).Authorizer()
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Known: map[string]drivertest.KnownCaller{"ann": {
			Request: bearer("token-of-ann"),
			Want:    driver.Principal{Subject: "ann", Customers: []string{"acme"}, Roles: []driver.Role{driver.RoleRead}},
		}},
		Refused: map[string]driver.AuthenticateRequest{"unknown token": bearer("token-of-nobody")},
	})
}
