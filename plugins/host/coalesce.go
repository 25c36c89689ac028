package host

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// maxSending is how many calls of Write go on at a time. More that come meanwhile are joined into one call: a call costs the
// processor more than what is in it. The groups of a Write are independent of each other, so that nobody can tell.
const maxSending = 4

// coalescer joins writes.
type coalescer struct {
	send func(context.Context, []driver.Group) ([]driver.WriteResult, error)

	mu      sync.Mutex
	sending int
	waiting []*joined
}

// joined is a write that waits to be sent with others.
type joined struct {
	groups  []driver.Group
	done    chan struct{}
	results []driver.WriteResult
	err     error
}

// write sends groups that fit into one message, at once or with others. A write whose context ends while it waits, or with others
// on the way, has an unknown outcome.
func (c *coalescer) write(ctx context.Context, groups []driver.Group) ([]driver.WriteResult, error) {
	c.mu.Lock()
	if c.sending < maxSending {
		c.sending++
		c.mu.Unlock()
		defer c.next()
		return c.send(ctx, groups)
	}
	j := &joined{groups: groups, done: make(chan struct{})}
	c.waiting = append(c.waiting, j)
	c.mu.Unlock()
	select {
	case <-j.done:
		return j.results, j.err
	case <-ctx.Done():
		return nil, fmt.Errorf("write: %w", ctx.Err())
	}
}

// next sends what waits, if anything does.
func (c *coalescer) next() {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := fitTogether(c.waiting)
	if n == 0 {
		c.sending--
		return
	}
	batch := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	go func() {
		c.flush(batch)
		c.next()
	}()
}

// flush sends writes in one call. If that is refused as a whole, the fault may be another's, so each is sent by itself.
func (c *coalescer) flush(batch []*joined) {
	ctx := context.Background() // nobody's own
	var groups []driver.Group
	for _, j := range batch {
		groups = append(groups, j.groups...)
	}
	results, err := c.send(ctx, groups)
	alone := len(batch) > 1 && err != nil && refused(err)
	for _, j := range batch {
		switch {
		case alone:
			j.results, j.err = c.send(ctx, j.groups)
		case err != nil:
			j.err = err
		default:
			j.results, results = results[:len(j.groups):len(j.groups)], results[len(j.groups):]
		}
		close(j.done)
	}
}

// refused reports whether a call has changed nothing because of what was in it.
func refused(err error) bool {
	var e *driver.Error
	return errors.As(err, &e) && driver.OutcomeOf(err) == driver.NotApplied && e.Code != driver.Unavailable && e.Code != driver.Throttled
}

// fitTogether returns how many of the writes at the beginning can be sent in one call: as many as fit into a message and name no
// key twice.
func fitTogether(waiting []*joined) int {
	keys := map[driver.Key]struct{}{}
	size := 0
	for n, j := range waiting {
		for _, g := range j.groups {
			size += wire.GroupSize(g)
			for i := range g {
				k := g[i].Record.Key
				if _, twice := keys[k]; twice && n > 0 {
					return n
				}
				keys[k] = struct{}{}
			}
		}
		if size > wire.PartBytes && n > 0 {
			return n
		}
	}
	return len(waiting)
}
