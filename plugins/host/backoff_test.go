package host

import (
	"testing"
	"time"
)

func TestDelayBeforeTheNextProcess(t *testing.T) {
	t.Parallel()
	crash := func(h *history) { h.ended(time.Second, true) }
	idle := func(h *history) { h.ended(time.Second, false) }
	fail := func(h *history) { h.failed() }
	settle := func(h *history) { h.ended(settled, true) }
	times := func(n int, f func(*history)) (all []func(*history)) {
		for range n {
			all = append(all, f)
		}
		return all
	}
	tests := []struct {
		name   string
		events []func(*history)
		delay  time.Duration
		state  State
	}{
		{"none after the first crash of a process that served", times(1, crash), 0, Restarting},
		{"a little after the second", times(2, crash), firstDelay, Restarting},
		{"doubled after the third", times(3, crash), 2 * firstDelay, Restarting},
		{"bounded, and never broken, however often one that served crashes", times(1000, crash), maxDelay, Restarting},
		{"forgotten after one that lived for long", append(times(50, crash), settle), 0, Restarting},
		{"a little after a process that served nothing", times(1, idle), firstDelay, Restarting},
		{"a little after a failure to start", times(1, fail), firstDelay, Restarting},
		{"broken after failures in a row", append(times(2, idle), times(maxFailures-2, fail)...), brokenDelay, Broken},
		{"not broken once one has served", append(times(maxFailures-1, fail), crash, fail), firstDelay, Restarting},
		{"mended by one that lived for long", append(times(maxFailures, fail), settle), 0, Restarting},
	}
	for _, tt := range tests {
		var h history
		for _, event := range tt.events {
			event(&h)
		}
		if h.delay() != tt.delay || h.state() != tt.state {
			t.Errorf("%s: %s, %s; want %s, %s", tt.name, h.delay(), h.state(), tt.delay, tt.state)
		}
	}
}
