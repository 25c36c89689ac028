// Package model holds POP's data objects, their validation and the rules that need nothing but the objects themselves,
// such as which insight an agenda is bound to.
//
// It is pure: no clock, no I/O, no import beyond the standard library and core/workflow.
package model
