package host

import "time"

const (
	// firstDelay and maxDelay bound the wait before a process is started again that had served: the first time there is none.
	firstDelay = 25 * time.Millisecond
	maxDelay   = 100 * time.Millisecond
	// settled is how long a process has to live for what came before to be forgotten.
	settled = 10 * time.Second
	// maxFailures is how often in a row a plugin may fail to start, or end without having served, before it counts as broken.
	maxFailures = 5
	// brokenDelay is how long a broken plugin is left alone before it is tried again.
	brokenDelay = 15 * time.Second
)

// history is what is remembered of a plugin's processes to decide when to start the next. The zero value remembers nothing.
type history struct {
	crashes  int // of processes that had served, without a settled one in between
	failures int // to become ready, or to serve anything, in a row
}

// ended remembers the end of a process that was ready for a while.
func (h *history) ended(lived time.Duration, served bool) {
	switch {
	case lived >= settled:
		*h = history{}
	case served:
		h.crashes, h.failures = h.crashes+1, 0
	default:
		h.failures++
	}
}

// failed remembers that a process did not become ready.
func (h *history) failed() { h.failures++ }

// state returns what the plugin is doing while there is no process.
func (h *history) state() State {
	if h.failures >= maxFailures {
		return Broken
	}
	return Restarting
}

// delay returns how long to wait before the next process is started.
func (h *history) delay() time.Duration {
	if h.state() == Broken {
		return brokenDelay
	}
	n := max(h.crashes-1, h.failures)
	if n <= 0 {
		return 0
	}
	return min(firstDelay<<min(n-1, 10), maxDelay)
}
