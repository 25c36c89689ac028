// Package engine leads agendas through their lives: submit, schedule, claim, report, retry, reclaim, cancel, rerun.
//
// The run record of an agenda is the only authority on its state, and moves only by a compare-and-set on its version. What the
// engine keeps in memory about the insights it owns is rebuilt from the store, and a message on the queue is only a hint.
// The order of writes is described in docs/adr/0004 and 0006.
//
// It imports the portable types core/store and core/queue, never a driver implementation.
package engine
