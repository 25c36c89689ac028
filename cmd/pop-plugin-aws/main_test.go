package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

// asPlugin makes this test binary the plugin.
const asPlugin = "POP_TEST_AS_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(asPlugin) != "" {
		main()
	}
	os.Exit(m.Run())
}

// environment is what the plugin gets of it.
var environment = map[string]string{asPlugin: "1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}

func start(t *testing.T, cfg aws.Config, service driver.Service) (*host.Plugin, error) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range environment {
		names = append(names, name)
	}
	return host.Start(t.Context(),
		host.Entry{Name: "aws", Path: path, Env: names, Services: []driver.Service{service}, Config: text},
		host.Options{LookupEnv: func(name string) (string, bool) { v, ok := environment[name]; return v, ok }})
}

func config(t *testing.T) aws.Config {
	return aws.Config{Region: "us-east-1", Endpoint: awstest.New(awstest.Options{}).Start(t)}
}

func TestStoreInAProcessKeepsTheContract(t *testing.T) {
	linked, err := aws.OpenStore(t.Context(), config(t), aws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	caps, err := linked.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	drivertest.RunStore(t, drivertest.StoreHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.StoreFixture {
			cfg := config(t)
			var process int
			open := func(t *testing.T) driver.Store {
				p, err := start(t, cfg, driver.StoreService)
				if err != nil {
					t.Fatal(err)
				}
				process = p.Status().PID
				s, err := p.Store()
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			return drivertest.StoreFixture{
				Store: open(t), Reopen: open,
				Kill: func(t *testing.T) {
					if err := syscall.Kill(process, syscall.SIGKILL); err != nil {
						t.Error(err)
					}
				},
			}
		},
	})
}

func TestQueueInAProcessKeepsTheContract(t *testing.T) {
	linked, err := aws.OpenQueue(t.Context(), config(t), aws.Options{})
	if err != nil {
		t.Fatal(err)
	}
	caps, err := linked.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	drivertest.RunQueue(t, drivertest.QueueHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.QueueFixture {
			cfg := config(t)
			open := func(t *testing.T) driver.Queue {
				p, err := start(t, cfg, driver.QueueService)
				if err != nil {
					t.Fatal(err)
				}
				q, err := p.Queue()
				if err != nil {
					t.Fatal(err)
				}
				return q
			}
			return drivertest.QueueFixture{Queue: open(t), Reopen: open}
		},
	})
}

func TestConfigurationThatIsWrongNamesEveryProblem(t *testing.T) {
	p, err := start(t, aws.Config{
		Region: "Frankfurt", Store: aws.StoreConfig{Table: "a b"}, Queue: aws.QueueConfig{Prefix: "ä"},
	}, driver.StoreService)
	if err == nil {
		_ = p.Close(context.WithoutCancel(t.Context()))
		t.Fatal("it was taken")
	}
	for _, path := range []string{"region:", "store.table:", "queue.prefix:"} {
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%v: does not name %q", err, path)
		}
	}
}
