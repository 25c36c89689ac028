package local

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/pop-platform/pop/plugins/driver"
)

const (
	defaultReserve = 64 << 20

	// layout is the version of the key space and of stored values.
	layout = "1"

	// ceilingStep is how many versions are reserved at once. What is left of them is skipped at a restart.
	ceilingStep = 1 << 20
)

var (
	metaLayout  = []byte{tableMeta, 'l'}
	metaCatalog = []byte{tableMeta, 'c'}
	metaCeiling = []byte{tableMeta, 'v'}
)

// OpenStore opens the store in a data folder, and makes it if it isn't there. The errors it returns name the folder and
// say how to mend what is wrong.
func OpenStore(ctx context.Context, opts StoreOptions) (*Store, error) {
	return openStore(ctx, opts, vfs.Default)
}

func openStore(ctx context.Context, opts StoreOptions, disk vfs.FS) (_ *Store, err error) {
	const op = "local: open store"
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	opts.ReserveBytes = cmp.Or(opts.ReserveBytes, defaultReserve)
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Dir == "" {
		return nil, driver.Errorf(driver.Invalid, op, "no data folder is given")
	}
	if opts.Dir, err = filepath.Abs(opts.Dir); err != nil {
		return nil, openError(op, opts.Dir, err)
	}
	if err := disk.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, openError(op, opts.Dir, err)
	}
	guard := newDiskGuard(disk, opts.Dir, opts.ReserveBytes)
	if err := guard.check(op, 0); err != nil {
		return nil, err
	}
	lock, err := lockDir(op, opts.Dir, disk)
	if err != nil {
		return nil, err
	}
	log := &engineLog{Logger: opts.Logger, dir: opts.Dir, start: time.Now()}
	db, err := pebble.Open(opts.Dir, engineOptions(engineDisk{disk, guard, log}, lock, log))
	if err != nil {
		return nil, errors.Join(openError(op, opts.Dir, err), lock.Close())
	}
	s := &Store{
		db: db, log: log, now: opts.Now, disk: guard, unlock: lock.Close,
		flusher: newFlusher(),
		closing: make(chan struct{}), drained: make(chan struct{}), closed: make(chan struct{}),
	}
	s.eval.db = db
	if err := s.load(); err != nil {
		return nil, errors.Join(openError(op, opts.Dir, err), db.Close(), lock.Close())
	}
	log.running.Store(true)
	s.work.Add(2)
	go s.flushLoop()
	go s.sweepLoop()
	return s, nil
}

// engineOptions are chosen for a process that is small when idle: the memory table starts small and grows under load.
func engineOptions(disk vfs.FS, lock *pebble.Lock, log *engineLog) *pebble.Options {
	o := &pebble.Options{
		FS:                          disk,
		Lock:                        lock,
		FormatMajorVersion:          pebble.FormatNewest,
		CacheSize:                   64 << 20,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold:       24,
		L0CompactionThreshold:       8,
		LBaseMaxBytes:               64 << 20,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		Logger:                      log,
		EventListener: &pebble.EventListener{
			BackgroundError: log.background,
			DataCorruption:  log.damaged,
		},
	}
	o.Experimental.ReadSamplingMultiplier = -1 // no compactions because of reads
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].Compression = func() *block.CompressionProfile { return block.FastestCompression }
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	return o
}

// load reads the meta table, or fills it if the store is new.
func (s *Store) load() error {
	found, err := s.meta(metaLayout)
	if err != nil {
		return err
	}
	if found == nil {
		if err := s.db.Set(metaLayout, []byte(layout), pebble.Sync); err != nil {
			return err
		}
	} else if string(found) != layout {
		return driver.Errorf(driver.Unsupported, "", "the data has layout %q and this program reads %q: use the program that wrote it", found, layout)
	}
	c := &catalog{}
	v, err := s.meta(metaCatalog)
	if err == nil && v != nil {
		err = json.Unmarshal(v, c)
	}
	if err != nil {
		return fmt.Errorf("read catalog: %w", err)
	}
	s.catalog.Store(c)

	v, err = s.meta(metaCeiling)
	switch {
	case err != nil:
		return err
	case len(v) == 8:
		s.ceiling = binary.BigEndian.Uint64(v)
	case v != nil:
		return fmt.Errorf("read version: %w", errShort)
	}
	s.eval.version = s.ceiling
	s.durable.Store(s.ceiling)
	return nil
}

func (s *Store) meta(key []byte) ([]byte, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v = append([]byte{}, v...)
	return v, closer.Close()
}

// pidFile tells a second process who holds the lock.
const pidFile = "PID"

func lockDir(op, dir string, disk vfs.FS) (*pebble.Lock, error) {
	pidPath := disk.PathJoin(dir, pidFile)
	lock, err := pebble.LockDirectory(dir, disk)
	if err == nil {
		if err := writeFile(disk, pidPath, fmt.Sprintln(os.Getpid())); err != nil {
			return nil, errors.Join(openError(op, dir, err), lock.Close())
		}
		return lock, nil
	}
	if errors.Is(err, syscall.EAGAIN) || strings.Contains(err.Error(), "lock held by current process") {
		who := "another process"
		if pid, err := os.ReadFile(pidPath); err == nil {
			who = "process " + strings.TrimSpace(string(pid))
		}
		return nil, &driver.Error{
			Code: driver.Unavailable, Op: op, Err: err,
			Message: fmt.Sprintf("data folder %s is in use by %s: stop it first, or use another data folder", dir, who),
		}
	}
	return nil, openError(op, dir, err)
}

func writeFile(disk vfs.FS, path, text string) error {
	f, err := disk.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return errors.Join(err, f.Close())
}

// openError says what is wrong with a data folder and how to mend it.
func openError(op, dir string, err error) error {
	code, remedy := driver.Internal, ""
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EEXIST):
		code, remedy = driver.Invalid, "it, or what it is in, is a file: use another data folder"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		code, remedy = driver.Denied, "it can't be written: give this user the right to, or use another data folder"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code, remedy = driver.Unavailable, "the disk is full: free some space"
	case pebble.IsCorruptionError(err), errors.Is(err, errShort):
		code, remedy = driver.Corrupt, "it is damaged: restore it from a backup"
	}
	if e, ok := errors.AsType[*driver.Error](err); ok {
		code = e.Code
	}
	message := fmt.Sprintf("data folder %s: %s", dir, err)
	if remedy != "" {
		message = fmt.Sprintf("data folder %s: %s (%s)", dir, remedy, err)
	}
	return &driver.Error{Code: code, Op: op, Message: message, Err: err}
}
