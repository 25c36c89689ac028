package files_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pop-platform/pop/examples/plugin-template/files"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

func harness() drivertest.StoreHarness {
	return drivertest.StoreHarness{
		Capabilities: driver.StoreCapabilities{
			MaxRecordBytes: 1 << 20, MaxGroupOps: 1, MaxScanLimit: 1000, FreshIndexes: true, ReturnsCurrent: true, ExpiryLag: time.Hour,
		},
		Open: func(t *testing.T) drivertest.StoreFixture {
			dir, clock := t.TempDir(), drivertest.NewClock(time.Now())
			open := func(t *testing.T) driver.Store { return openStore(t, dir, clock.Now) }
			return drivertest.StoreFixture{Store: open(t), Reopen: open, Clock: clock}
		},
	}
}

func openStore(t *testing.T, dir string, now func() time.Time) *files.Store {
	t.Helper()
	s, err := files.Open(files.Options{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s
}

func TestStoreConforms(t *testing.T) { drivertest.RunStore(t, harness()) }

func TestStoreDoesWhatTheReferenceDoes(t *testing.T) { drivertest.RunStoreModel(t, harness()) }

func BenchmarkStore(b *testing.B) {
	drivertest.BenchmarkStore(b, func(b *testing.B) driver.Store {
		s, err := files.Open(files.Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		return s
	})
}

func TestAFolderThatCannotBeUsedSaysWhy(t *testing.T) {
	t.Parallel()
	taken, damaged := t.TempDir(), t.TempDir()
	openStore(t, taken, nil)
	file := filepath.Join(damaged, "00.record")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]driver.Code{
		"": driver.Invalid, taken: driver.Unavailable, damaged: driver.Corrupt, file: driver.Invalid,
	} {
		if _, err := files.Open(files.Options{Dir: dir}); driver.CodeOf(err) != want || err == nil {
			t.Errorf("%q: %v, want %s", dir, err, want)
		}
	}
}
