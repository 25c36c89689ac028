package aws

import (
	"errors"
	"sync"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// maxWait bounds what [calm] asks for.
const maxWait = 5 * time.Second

// calm makes the callers of a table wait longer the longer it is throttled: each refusal in a row doubles what the next one asks for,
// beginning at what its reason says. The waiting is done by the portable store, for the same call and no other.
type calm struct {
	mu      sync.Mutex
	refused map[string]refusals
}

// refusals are a row of them.
type refusals struct {
	factor int
	last   time.Time
}

// after returns err, which may be nil, of a call on a table.
func (c *calm) after(table string, err error) error {
	var e *driver.Error
	throttled := errors.As(err, &e) && e.Code == driver.Throttled
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.refused[table]
	if !throttled {
		if err == nil && known {
			delete(c.refused, table)
		}
		return err
	}
	now := time.Now()
	next := refusals{factor: 1, last: now}
	// The calls of one batch are refused together, and count once.
	switch wait := times(e.RetryAfter, before.factor); {
	case known && now.Sub(before.last) < wait/2:
		next = before
	case known && now.Sub(before.last) < 4*maxWait:
		next.factor = min(2*before.factor, 64)
	}
	if c.refused == nil {
		c.refused = map[string]refusals{}
	}
	c.refused[table] = next
	e.RetryAfter = min(times(e.RetryAfter, next.factor), maxWait)
	return err
}

func times(d time.Duration, n int) time.Duration { return time.Duration(n) * d }
