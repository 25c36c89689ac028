// Package memdriver is the reference driver: a [Store], a [Queue] and an [Authorizer] in memory, as simple as the contract
// of package driver allows. The conformance suite compares other drivers with it, and the core is tested on it, with a
// clock of the test's own, stale indexes, poor capabilities and, by [FaultyStore] and [FaultyQueue], failures at any call.
//
// It is for tests. It imports the standard library, a B-tree and package driver, and must not import the core or a
// provider.
package memdriver
