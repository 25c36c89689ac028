package pool

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// backoff is how long to wait after so many failures in a row: twice as long after each, and never in step with others.
func backoff(failures int) time.Duration {
	d := min(minBackoff<<min(failures-1, 10), maxBackoff)
	return jitter(d/2, d)
}

// jitter returns a random duration in [from, to).
func jitter(from, to time.Duration) time.Duration {
	return from + rand.N(max(to-from, 1))
}

// chance returns a random number in [0, 1).
func chance() float64 { return rand.Float64() }

// sleep waits until d has passed, or ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// signal wakes a receiver, unless enough signals are waiting.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
