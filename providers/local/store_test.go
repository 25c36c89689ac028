package local

import (
	"context"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

func harness() drivertest.StoreHarness {
	return drivertest.StoreHarness{
		Capabilities: capabilities,
		Open: func(t *testing.T) drivertest.StoreFixture {
			dir := t.TempDir()
			clock := drivertest.NewClock(time.Now())
			open := func(t *testing.T) driver.Store {
				return openTest(t, StoreOptions{Dir: dir, Now: clock.Now})
			}
			return drivertest.StoreFixture{Store: open(t), Reopen: open, Clock: clock}
		},
	}
}

// openTest opens a store and closes it at the end of the test.
func openTest(t *testing.T, opts StoreOptions) *Store {
	t.Helper()
	s, err := OpenStore(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStoreConforms(t *testing.T) { drivertest.RunStore(t, harness()) }

func TestStoreBehavesLikeTheModel(t *testing.T) { drivertest.RunStoreModel(t, harness()) }
