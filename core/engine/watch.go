package engine

import (
	"sync"
)

// watchers lets callers of this process wait for the next change of a run.
type watchers struct {
	mu      sync.Mutex
	waiting map[string]*watch // by agenda id
}

type watch struct {
	changed chan struct{} // closed by the next change
	count   int
}

// watch returns a channel that is closed when the run changes next, and a function to call when that is of no interest any more.
func (w *watchers) watch(id string) (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting == nil {
		w.waiting = map[string]*watch{}
	}
	entry := w.waiting[id]
	if entry == nil {
		entry = &watch{changed: make(chan struct{})}
		w.waiting[id] = entry
	}
	entry.count++
	return entry.changed, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if entry.count--; entry.count == 0 && w.waiting[id] == entry {
			delete(w.waiting, id)
		}
	}
}

func (w *watchers) changed(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if entry := w.waiting[id]; entry != nil {
		close(entry.changed)
		delete(w.waiting, id)
	}
}
