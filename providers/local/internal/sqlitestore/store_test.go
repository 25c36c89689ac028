package sqlitestore

import (
	"context"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

func TestConforms(t *testing.T) {
	h := drivertest.StoreHarness{
		Capabilities: Capabilities,
		Open: func(t *testing.T) drivertest.StoreFixture {
			dir := t.TempDir()
			clock := drivertest.NewClock(time.Now())
			open := func(t *testing.T) driver.Store {
				s, err := Open(t.Context(), dir, clock.Now)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = s.Close(context.Background()) })
				return s
			}
			return drivertest.StoreFixture{Store: open(t), Reopen: open, Clock: clock}
		},
	}
	drivertest.RunStore(t, h)
	drivertest.RunStoreModel(t, h)
}
