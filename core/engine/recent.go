package engine

import (
	"context"
	"sync"

	"github.com/pop-platform/pop/plugins/driver"
)

// recentRuns bounds half of what [recent] holds.
const recentRuns = 4096

// recent remembers the runs that this process wrote last, so that the next step of an agenda's life need not read what the one
// before has written. It may be behind: what is read from it is used only where the state fits, and written only over the version that
// it names. It forgets in generations.
type recent struct {
	mu         sync.Mutex
	young, old map[string]stored
}

func (c *recent) put(r *run, version driver.Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.live() {
		delete(c.young, r.ID)
		delete(c.old, r.ID)
		return
	}
	if c.young == nil || len(c.young) >= recentRuns {
		c.old, c.young = c.young, make(map[string]stored, recentRuns)
	}
	c.young[r.ID] = stored{r, version}
}

func (c *recent) get(id string) (stored, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.young[id]; ok {
		return s, true
	}
	s, ok := c.old[id]
	return s, ok
}

func (c *recent) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, id)
	delete(c.old, id)
}

// fitting returns runs, from memory where what it holds fits, and otherwise from the store.
func (e *Engine) fitting(ctx context.Context, ids []string, fits func(i int, r *run) bool) ([]stored, error) {
	runs := make([]stored, len(ids))
	var missing []string
	var at []int
	for i, id := range ids {
		if s, ok := e.recent.get(id); ok && fits(i, s.run) {
			runs[i] = s
		} else {
			missing, at = append(missing, id), append(at, i)
		}
	}
	read, err := e.readRuns(ctx, missing)
	for n, s := range read {
		runs[at[n]] = s
	}
	return runs, err
}
