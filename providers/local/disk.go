package local

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pop-platform/pop/plugins/driver"
)

// The disk is asked for its free space when so much was written since, or so much time has passed.
const (
	diskCheckBytes = 8 << 20
	diskCheckTime  = 100 * time.Millisecond
)

// diskGuard refuses writes before the disk is full.
type diskGuard struct {
	fs      vfs.FS
	dir     string
	reserve uint64

	budget atomic.Int64 // bytes that may be written before the next look
	until  atomic.Int64 // when to look again, in nanoseconds since start
	start  time.Time
	mu     sync.Mutex // held while looking
}

func newDiskGuard(fs vfs.FS, dir string, reserve uint64) *diskGuard {
	return &diskGuard{fs: fs, dir: dir, reserve: reserve, start: time.Now()}
}

// check returns an Unavailable error if writing size more bytes would go below the reserve.
func (g *diskGuard) check(op string, size int) error {
	n := int64(size)
	if int64(time.Since(g.start)) < g.until.Load() && g.budget.Add(-n) >= 0 {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	free, err := g.free()
	if err != nil {
		return driver.Errorf(driver.Unavailable, op, "can't tell how much of the disk of %s is free: %w", g.dir, err)
	}
	g.until.Store(int64(time.Since(g.start) + diskCheckTime))
	left := int64(free) - int64(g.reserve) - n
	g.budget.Store(min(left, diskCheckBytes))
	if left >= 0 {
		return nil
	}
	return &driver.Error{
		Code: driver.Unavailable, Op: op, RetryAfter: time.Second,
		Message: fmt.Sprintf("disk full: %d MiB free at %s, need %d: free some space", free>>20, g.dir, g.reserve>>20),
	}
}

func (g *diskGuard) free() (uint64, error) {
	usage, err := g.fs.GetDiskUsage(g.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return math.MaxInt64, nil
	}
	return usage.AvailBytes, err
}

// engineDisk is the disk as the engine sees it. Its background work may use the reserve that writes leave alone, but not
// the last quarter, which is for the engine's log and manifest: it can't go on without them. The work is told that the disk
// is full after a pause, since it is tried again at once.
type engineDisk struct {
	vfs.FS
	guard *diskGuard
	log   *engineLog
}

const fullDiskPause = 250 * time.Millisecond

// Create implements [vfs.FS].
func (d engineDisk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		if free, err := d.guard.free(); err == nil && free < d.guard.reserve/4 {
			<-time.After(fullDiskPause)
			return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.ENOSPC}
		}
	}
	f, err := d.FS.Create(name, category)
	d.needed(name, err)
	return f, err
}

// ReuseForWrite implements [vfs.FS].
func (d engineDisk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(oldname, newname, category)
	d.needed(newname, err)
	return f, err
}

// needed ends the process if a new log could not be had. The engine would do so less clearly.
func (d engineDisk) needed(name string, err error) {
	if err != nil && strings.HasSuffix(name, ".log") && d.log.running.Load() {
		d.log.crash(err)
	}
}
