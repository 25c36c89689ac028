package local

import (
	"errors"
	"sync"
	"sync/atomic"
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
	usage, err := g.fs.GetDiskUsage(g.dir)
	switch {
	case errors.Is(err, vfs.ErrUnsupported):
		usage.AvailBytes = 1 << 62
	case err != nil:
		return driver.Errorf(driver.Unavailable, op, "can't tell how much of the disk of %s is free: %w", g.dir, err)
	}
	g.until.Store(int64(time.Since(g.start) + diskCheckTime))
	left := int64(usage.AvailBytes) - int64(g.reserve) - n
	g.budget.Store(min(left, diskCheckBytes))
	if left >= 0 {
		return nil
	}
	return &driver.Error{
		Code: driver.Unavailable, Op: op, RetryAfter: time.Second,
		Message: diskFull(g.dir, usage.AvailBytes, g.reserve).Error(),
	}
}
