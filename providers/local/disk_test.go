package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/pop-platform/pop/plugins/driver"
)

var plainSchema = driver.Schema{Kinds: []driver.KindSchema{{Kind: "k", Indexes: []string{"i", "j"}}}}

// openOn opens a store with plainSchema on a disk.
func openOn(t *testing.T, disk vfs.FS, opts StoreOptions) *Store {
	t.Helper()
	opts.Dir = "/data"
	s, err := openStore(t.Context(), opts, disk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: plainSchema}); err != nil {
		t.Fatal(err)
	}
	return s
}

func plainKey(sort string) driver.Key { return driver.Key{Kind: "k", Part: "p", Sort: sort} }

func putPlain(ctx context.Context, s *Store, sort string, body []byte) error {
	resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{{{Record: driver.Record{Key: plainKey(sort), Body: body}}}}})
	return errors.Join(err, resultError(resp))
}

func resultError(resp driver.WriteResponse) error {
	if len(resp.Results) == 0 {
		return nil
	}
	return resp.Results[0].Err
}

func getPlain(ctx context.Context, s *Store, sort string) (string, error) {
	resp, err := s.Get(ctx, driver.GetRequest{Keys: []driver.Key{plainKey(sort)}})
	if err != nil || resp.Records[0] == nil {
		return "", err
	}
	return string(resp.Records[0].Body), nil
}

// smallDisk says how much of it is free.
type smallDisk struct {
	vfs.FS
	free atomic.Uint64
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free.Load()}, nil
}

func TestWritesAreRefusedBeforeTheDiskIsFullAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &smallDisk{FS: vfs.NewMem()}
		disk.free.Store(100 << 20)
		s := openOn(t, disk, StoreOptions{ReserveBytes: 64 << 20})
		defer s.Close(t.Context())
		if err := putPlain(t.Context(), s, "a", []byte("x")); err != nil {
			t.Fatal(err)
		}
		disk.free.Store(63 << 20)
		<-time.After(diskCheckTime)
		err := putPlain(t.Context(), s, "b", []byte("x"))
		if driver.CodeOf(err) != driver.Unavailable || driver.OutcomeOf(err) != driver.NotApplied {
			t.Fatalf("error %v, want unavailable and not applied", err)
		}
		for _, want := range []string{"disk full", "63 MiB free at /data", "need 64"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not say %q", err, want)
			}
		}
		if body, err := getPlain(t.Context(), s, "a"); err != nil || body != "x" {
			t.Errorf("read on a full disk: %q, %v", body, err)
		}
		disk.free.Store(65 << 20)
		if err := putPlain(t.Context(), s, "b", []byte("x")); err != nil {
			t.Errorf("with space again: %v", err)
		}
	})
}

func TestTheDiskIsLookedAtAgainAfterSoManyBytes(t *testing.T) {
	t.Parallel()
	disk := &smallDisk{FS: vfs.NewMem()}
	disk.free.Store(1 << 30)
	g := newDiskGuard(disk, "/", 64<<20)
	if err := g.check("", 0); err != nil {
		t.Fatal(err)
	}
	disk.free.Store(0)
	for range 1000 {
		if g.check("", diskCheckBytes/100) != nil {
			return
		}
	}
	t.Error("so many writes went on without a look at the disk")
}

func TestAFullDiskOrABadFolderIsAnErrorThatSaysHowToMendIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failing := func(kind errorfs.OpKind, err error) vfs.FS {
		return errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == kind {
				return &os.PathError{Op: "test", Path: op.Path, Err: err}
			}
			return nil
		}))
	}
	full := &smallDisk{FS: vfs.NewMem()}
	for name, tc := range map[string]struct {
		dir  string
		disk vfs.FS
		code driver.Code
		want string
	}{
		"no folder":              {"", vfs.Default, driver.Invalid, "no data folder is given"},
		"a file":                 {file, vfs.Default, driver.Invalid, file + ": it, or what it is in, is a file"},
		"in a file":              {filepath.Join(file, "x"), vfs.Default, driver.Invalid, "is a file"},
		"may not be made":        {"/data", failing(errorfs.OpMkdirAll, syscall.EACCES), driver.Denied, "/data: it can't be written: give this user the right"},
		"may not be written":     {"/data", failing(errorfs.OpLock, syscall.EACCES), driver.Denied, "/data: it can't be written"},
		"read-only disk":         {"/data", failing(errorfs.OpLock, syscall.EROFS), driver.Denied, "/data: it can't be written"},
		"full":                   {"/data", full, driver.Unavailable, "disk full: 0 MiB free at /data, need 64: free some space"},
		"filled while it opened": {"/data", failing(errorfs.OpCreate, syscall.ENOSPC), driver.Unavailable, "/data: the disk is full: free some space"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := openStore(t.Context(), StoreOptions{Dir: tc.dir}, tc.disk)
			if err == nil || driver.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %v and %q", err, tc.code, tc.want)
			}
		})
	}
}

func TestWhenTheLogFailsNothingAcknowledgedIsLostAndNothingElseIsAcknowledged(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]errorfs.OpKind{"write": errorfs.OpFileWrite, "sync": errorfs.OpFileSyncData} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			memory := vfs.NewCrashableMem()
			var broken atomic.Bool
			disk := errorfs.Wrap(memory, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && op.Kind == kind && strings.HasSuffix(op.Path, ".log") {
					return syscall.ENOSPC
				}
				return nil
			}))
			var log bytes.Buffer
			s := openOn(t, disk, StoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err := putPlain(t.Context(), s, "a", []byte("x")); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			err := putPlain(t.Context(), s, "b", []byte("x"))
			if driver.CodeOf(err) != driver.Unavailable || driver.OutcomeOf(err) != driver.Unknown || !strings.Contains(err.Error(), "mend the disk, then restart") {
				t.Errorf("the write that met the failure: %v", err)
			}
			broken.Store(false)
			err = putPlain(t.Context(), s, "c", []byte("x"))
			if driver.CodeOf(err) != driver.Unavailable || driver.OutcomeOf(err) != driver.NotApplied {
				t.Errorf("a later write: %v", err)
			}
			if body, err := getPlain(t.Context(), s, "a"); body != "x" || err != nil {
				t.Errorf("what was acknowledged: %q, %v", body, err)
			}
			if body, err := getPlain(t.Context(), s, "b"); err == nil {
				t.Errorf("what may be lost can be read: %q", body)
			}
			if n := strings.Count(log.String(), "writes are refused until a restart"); n != 1 {
				t.Errorf("logged %d times: %s", n, &log)
			}
			after := memory.CrashClone(vfs.CrashCloneCfg{})
			_ = s.Close(t.Context()) // its log is broken

			s = openOn(t, after, StoreOptions{})
			defer s.Close(t.Context())
			if body, err := getPlain(t.Context(), s, "a"); body != "x" || err != nil {
				t.Errorf("after a restart: %q, %v", body, err)
			}
			if err := putPlain(t.Context(), s, "c", []byte("x")); err != nil {
				t.Errorf("a write after a restart: %v", err)
			}
		})
	}
}

func TestBackgroundWorkLeavesTheEndOfTheDiskAndGoesOnWhenThereIsSpace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &smallDisk{FS: vfs.NewMem()}
		disk.free.Store(1 << 30)
		var log bytes.Buffer
		s := openOn(t, disk, StoreOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		defer s.Close(t.Context())
		if err := putPlain(t.Context(), s, "a", make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		disk.free.Store(15 << 20)
		flushed, err := s.db.AsyncFlush()
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-flushed:
			t.Error("a table was written to a disk with next to no space")
		case <-time.After(15 * time.Second):
		}
		if n := strings.Count(log.String(), "no space left"); n != 2 {
			t.Errorf("logged %d times in 15 seconds: %s", n, &log)
		}
		disk.free.Store(17 << 20)
		select {
		case <-flushed:
		case <-time.After(time.Second):
			t.Error("no table was written a second after there was space")
		}
	})
}

// heldDisk holds up flushes of the log.
type heldDisk struct {
	vfs.FS
	mu   sync.Mutex
	gate chan struct{} // nil lets flushes through
}

func newHeldDisk() *heldDisk {
	d := &heldDisk{}
	d.FS = errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && strings.HasSuffix(op.Path, ".log") {
			d.mu.Lock()
			gate := d.gate
			d.mu.Unlock()
			if gate != nil {
				<-gate
			}
		}
		return nil
	}))
	return d
}

// hold holds up flushes until the function it returns is called.
func (d *heldDisk) hold() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	gate := make(chan struct{})
	d.gate = gate
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.gate = nil
		close(gate)
	}
}

func TestReadersWaitForWhatIsNotOnDiskAndForNothingElse(t *testing.T) {
	for name, change := range map[string]driver.Op{
		"overwritten": {Record: driver.Record{Key: plainKey("a"), Body: []byte("new")}},
		"deleted":     {Type: driver.Delete, Record: driver.Record{Key: plainKey("a")}},
		"created":     {Record: driver.Record{Key: plainKey("new"), Body: []byte("new")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newHeldDisk()
				s := openOn(t, disk, StoreOptions{})
				defer s.Close(t.Context())
				for _, k := range []string{"a", "b"} {
					if err := putPlain(t.Context(), s, k, []byte("old")); err != nil {
						t.Fatal(err)
					}
				}
				release := disk.hold()
				var returned sync.Map
				call := func(name string, f func() error) {
					go func() {
						if err := f(); err != nil {
							t.Errorf("%s: %v", name, err)
						}
						returned.Store(name, true)
					}()
					synctest.Wait()
				}
				call("write", func() error {
					resp, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{change}}})
					return errors.Join(err, resultError(resp))
				})
				call("get of the record", func() error {
					_, err := getPlain(t.Context(), s, change.Record.Key.Sort)
					return err
				})
				call("get of another", func() error {
					_, err := getPlain(t.Context(), s, "b")
					return err
				})
				call("scan", func() error {
					_, err := s.Scan(t.Context(), driver.ScanRequest{Kind: "k", Part: "p"})
					return err
				})
				call("conflict", func() error {
					resp, err := s.Write(t.Context(), driver.WriteRequest{Groups: []driver.Group{{{
						Type: driver.Check, Record: change.Record, Cond: driver.IfVersion, Version: "none",
					}}}})
					if !driver.IsConflict(resultError(resp)) {
						return fmt.Errorf("result %v", resp)
					}
					return err
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				call("given up", func() error {
					if _, err := getPlain(ctx, s, change.Record.Key.Sort); !errors.Is(err, context.DeadlineExceeded) {
						return fmt.Errorf("error %w", err)
					}
					return nil
				})
				<-time.After(time.Minute)
				synctest.Wait()
				for _, name := range []string{"write", "get of the record", "scan", "conflict"} {
					if _, ok := returned.Load(name); ok {
						t.Errorf("%s did not wait for the disk", name)
					}
				}
				for _, name := range []string{"get of another", "given up"} {
					if _, ok := returned.Load(name); !ok {
						t.Errorf("%s waited for the disk", name)
					}
				}
				release()
				synctest.Wait()
				for _, name := range []string{"write", "get of the record", "scan", "conflict"} {
					if _, ok := returned.Load(name); !ok {
						t.Errorf("%s still waits", name)
					}
				}
			})
		})
	}
}

func TestWritersShareAFlushAndALoneOneNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newHeldDisk()
		s := openOn(t, disk, StoreOptions{})
		defer s.Close(t.Context())
		write := func(writers int) (flushes uint64, took time.Duration) {
			before, start := s.Stats().Flushes, time.Now()
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() {
					if err := putPlain(t.Context(), s, fmt.Sprint(i), nil); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return s.Stats().Flushes - before, time.Since(start)
		}
		for range 10 {
			if flushes, took := write(1); flushes != 1 || took != 0 {
				t.Errorf("a lone writer took %d flushes and %v", flushes, took)
			}
		}

		release := disk.hold()
		go write(1)
		synctest.Wait()
		before := s.Stats().Flushes
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { write(1) })
		}
		synctest.Wait()
		release()
		wg.Wait()
		if flushes := s.Stats().Flushes - before; flushes != 2 {
			t.Errorf("1 writer and 20 that came during its flush took %d flushes, want 2", flushes)
		}

		if flushes, took := write(20); flushes != 1 || took != 0 {
			t.Errorf("20 writers after 20 writers took %d flushes and %v", flushes, took)
		}
		if flushes, took := write(1); flushes != 1 || took != gatherTime {
			t.Errorf("one writer after 20 took %d flushes and %v, want to wait for the others for %v", flushes, took, gatherTime)
		}
		if _, took := write(1); took != 0 {
			t.Errorf("the next one took %v", took)
		}
	})
}
