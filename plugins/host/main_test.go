package host_test

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/plugins/sdk"
)

// modeEnv makes this test binary a plugin that behaves in some way.
const modeEnv = "POP_TEST_MODE"

// modes are what this test binary can be instead of a test.
var modes = map[string]func(){
	"serve": func() { sdk.Serve(memory) },
}

func TestMain(m *testing.M) {
	if mode, ok := modes[os.Getenv(modeEnv)]; ok {
		mode()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

type noConfig struct{}

// memory are the reference drivers.
var memory = sdk.Plugin[noConfig]{
	Name: "memory", Version: "1.2.3",
	Store: func(context.Context, noConfig, *slog.Logger) (driver.Store, error) {
		return memdriver.NewStore(memdriver.StoreOptions{}), nil
	},
	Queue: func(context.Context, noConfig, *slog.Logger) (driver.Queue, error) {
		caps := memdriver.FullQueue()
		caps.Durable = false
		return memdriver.NewQueue(memdriver.QueueOptions{Capabilities: caps}), nil
	},
	Authorizer: func(context.Context, noConfig, *slog.Logger) (driver.Authorizer, error) {
		return memdriver.NewAuthorizer(map[string]driver.Principal{"token-of-ann": ann}), nil
	},
}

// entry returns the catalogue's entry for this test binary as a plugin. The options say which.
func entry(t *testing.T, services ...driver.Service) host.Entry {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return host.Entry{Name: "test", Path: path, Env: []string{modeEnv}, Services: services}
}

// options returns options under which an [entry] has a mode.
func options(mode string) host.Options {
	return host.Options{LookupEnv: func(name string) (string, bool) { return mode, name == modeEnv }}
}
