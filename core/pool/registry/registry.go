package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// pollInterval is how often a file is looked at. Polling sees every way of replacing a file, also those of editors and of
// config maps, on every file system.
const pollInterval = time.Second

// Registry is a registry file that is read again when it changes.
type Registry struct {
	path string
	log  *slog.Logger
	set  atomic.Pointer[Set]

	mu      sync.Mutex  // of what follows
	seen    os.FileInfo // of the file when it was read last
	lastErr string      // of the look before, so that a file that stays away is one event
}

// Open reads a registry file. Bad entries are logged and are not an error.
func Open(path string, log *slog.Logger) (*Registry, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("handler registry: %w", err)
	}
	r := &Registry{path: path, log: log.With("registry", path)}
	if r.seen, err = os.Stat(path); err == nil {
		err = r.load()
	}
	if bad, ok := errors.AsType[*model.Error](err); ok { // of which people see the detail
		bad.Detail = path + ": " + bad.Detail
		return nil, bad
	}
	if err != nil {
		return nil, fmt.Errorf("handler registry: %w", err)
	}
	return r, nil
}

// Lookup returns the handler of an operation type, as [Set.Lookup]. Before it fails it looks at the file once more.
func (r *Registry) Lookup(operationType string) (Handler, error) {
	h, err := r.set.Load().Lookup(operationType)
	if err != nil && r.refresh() {
		return r.set.Load().Lookup(operationType)
	}
	return h, err
}

// Types returns the operation types that have a handler, in order.
func (r *Registry) Types() []string { return r.set.Load().Types() }

// Issues returns what is wrong with the bad entries of the file.
func (r *Registry) Issues() []model.Issue { return r.set.Load().Issues() }

// Run reads the file again each time it changes, until ctx is done. If it cannot be read or parsed, what was read before stays.
func (r *Registry) Run(ctx context.Context) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.refresh()
		}
	}
}

// refresh reads the file if it has changed, and reports whether it did.
func (r *Registry) refresh() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now, err := os.Stat(r.path)
	if err == nil {
		if same(now, r.seen) {
			return false
		}
		err = r.load()
		r.seen = now
	}
	if err != nil {
		if err.Error() != r.lastErr {
			r.log.Error("handler registry not read; the one before stays in use", "error", err)
		}
		r.lastErr = err.Error()
		return false
	}
	r.lastErr = ""
	r.log.Info("handler registry read again", "types", len(r.Types()))
	return true
}

func (r *Registry) load() error {
	data, err := os.ReadFile(r.path)
	if err != nil {
		return err
	}
	set, err := Parse(filepath.Dir(r.path), data)
	if err != nil {
		return err
	}
	for _, issue := range set.Issues() {
		r.log.Warn("bad handler entry; operations of its type will fail", "path", issue.Path, "problem", issue.Message)
	}
	r.set.Store(set)
	return nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
