package emulatortest

import (
	"fmt"
	"testing"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/providers/aws"
)

func TestStoreOnMoto(t *testing.T) {
	config := aws.Config{Region: "us-east-1", Endpoint: start(t, "bin/python3", "moto_server.py")}
	open := func(t *testing.T, c aws.Config) driver.Store {
		t.Helper()
		s, err := aws.OpenStore(t.Context(), c, options)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := open(t, config)
	caps, err := one.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	drivertest.RunStore(t, drivertest.StoreHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.StoreFixture {
			c := config
			c.Store.Table = fmt.Sprintf("pop-%d", number.Add(1))
			reopen := func(t *testing.T) driver.Store { return open(t, c) }
			return drivertest.StoreFixture{Store: reopen(t), Reopen: reopen}
		},
	})
}
