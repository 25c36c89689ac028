package local

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// engineLog gives the engine's messages to the store's logger.
type engineLog struct {
	*slog.Logger
	dir   string
	start time.Time

	running atomic.Bool  // the store is open: what fails is no longer the result of OpenStore
	next    atomic.Int64 // when to log a failure of background work again, in nanoseconds since start
}

// background logs a failure of background work. The engine tries again at once and may fail again and again.
func (l *engineLog) background(err error) {
	now, next := int64(time.Since(l.start)), l.next.Load()
	if now >= next && l.next.CompareAndSwap(next, now+int64(10*time.Second)) {
		l.Error("the store's background work fails and is retried", "dir", l.dir, "error", err.Error())
	}
}

// damaged logs stored data that can't be read.
func (l *engineLog) damaged(i pebble.DataCorruptionInfo) {
	l.Error("stored data is damaged: restore the data folder from a backup", "dir", l.dir, "file", i.Path, "error", i.Details.Error())
}

// Infof implements [pebble.Logger].
func (l *engineLog) Infof(format string, args ...any) {
	if l.Enabled(context.Background(), slog.LevelDebug) {
		l.Debug(fmt.Sprintf(format, args...))
	}
}

// Errorf implements [pebble.Logger].
func (l *engineLog) Errorf(format string, args ...any) { l.Error(fmt.Sprintf(format, args...)) }

// Fatalf implements [pebble.Logger].
func (l *engineLog) Fatalf(format string, args ...any) { l.crash(fmt.Sprintf(format, args...)) }

// crash ends the process, as a power failure would: the engine can't go on, and what was acknowledged is on disk. It does
// so on a goroutine of its own, since a server that recovers from panics would go on with the engine's locks held.
func (l *engineLog) crash(why any) {
	message := fmt.Sprintf("data folder %s: the store can't go on, nothing acknowledged is lost; mend the disk, then restart: %v", l.dir, why)
	l.Error(message)
	go func() {
		panic(message) //nolint:forbidigo // nobody may go on from here
	}()
	select {}
}

// crashOnPanic is deferred around calls of the engine that panic when its log can't be changed for a new one.
func (l *engineLog) crashOnPanic() {
	if why := recover(); why != nil {
		l.crash(why)
	}
}
