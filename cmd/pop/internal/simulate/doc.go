// Package simulate runs the planner of a server over a scenario, under a clock of its own, and measures what each customer gets.
//
// It must not import anything that reaches a server, a store or a queue.
package simulate
