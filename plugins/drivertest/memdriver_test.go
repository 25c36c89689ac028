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
			return drivertest.StoreFixture{
				Store:  wrap(s),
				Reopen: func(*testing.T) driver.Store { return wrap(s.Open()) },
				Clock:  clock,
			}
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
