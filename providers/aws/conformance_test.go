package aws_test

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

// options are those of a driver in tests: with credentials, so that none are looked for.
func options() aws.Options {
	return aws.Options{Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}
}

// at is the configuration for an endpoint.
func at(endpoint string) aws.Config {
	return aws.Config{Region: "us-east-1", Endpoint: endpoint}
}

func openStore(t testing.TB, c aws.Config, o aws.Options) *aws.Store {
	t.Helper()
	s, err := aws.OpenStore(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s
}

func openQueue(t testing.TB, c aws.Config, o aws.Options) *aws.Queue {
	t.Helper()
	q, err := aws.OpenQueue(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.Close(context.WithoutCancel(t.Context())) })
	return q
}

func storeCapabilities(t *testing.T) driver.StoreCapabilities {
	t.Helper()
	caps, err := openStore(t, at("http://localhost"), options()).Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return caps
}

func queueCapabilities(t *testing.T) driver.QueueCapabilities {
	t.Helper()
	caps, err := openQueue(t, at("http://localhost"), options()).Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return caps
}

// stores returns a harness of stores, each on a server of its own.
func stores(t *testing.T, lag time.Duration, configure func(*aws.Config)) drivertest.StoreHarness {
	return drivertest.StoreHarness{
		Capabilities: storeCapabilities(t),
		Open: func(t *testing.T) drivertest.StoreFixture {
			clock := drivertest.NewClock(time.Now())
			config := at("http://aws.test")
			if configure != nil {
				configure(&config)
			}
			opts := options()
			opts.Now, opts.Transport = clock.Now, awstest.New(awstest.Options{IndexLag: lag})
			open := func(t *testing.T) driver.Store { return openStore(t, config, opts) }
			return drivertest.StoreFixture{Store: open(t), Reopen: open, Clock: clock}
		},
	}
}

func TestStoreConforms(t *testing.T) { drivertest.RunStore(t, stores(t, 30*time.Millisecond, nil)) }

func TestStoreConformsWithSpreadIndexesAndSplitTables(t *testing.T) {
	drivertest.RunStore(t, stores(t, 0, func(c *aws.Config) {
		c.Store.Spread = map[string]int{"one": 4}
		c.Store.Tables = map[string]string{"beta": "pop-beta"}
	}))
}

func TestStoreBehavesLikeTheModel(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value
	before := checks.String()
	if err := checks.Set("20"); err != nil { // each call is an HTTP request
		t.Fatal(err)
	}
	defer func() { _ = checks.Set(before) }()
	drivertest.RunStoreModel(t, stores(t, 0, nil))
}

func queues(t *testing.T) drivertest.QueueHarness {
	return drivertest.QueueHarness{
		Capabilities: queueCapabilities(t),
		Open: func(t *testing.T) drivertest.QueueFixture {
			config := at(awstest.New(awstest.Options{}).Start(t))
			open := func(t *testing.T) driver.Queue { return openQueue(t, config, options()) }
			return drivertest.QueueFixture{Queue: open(t), Reopen: open}
		},
	}
}

func TestQueueConforms(t *testing.T) { drivertest.RunQueue(t, queues(t)) }

func BenchmarkStore(b *testing.B) {
	drivertest.BenchmarkStore(b, func(b *testing.B) driver.Store {
		return openStore(b, at(awstest.New(awstest.Options{}).Start(b)), options())
	})
}
