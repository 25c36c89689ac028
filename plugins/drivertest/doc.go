// Package drivertest is the conformance suite of package driver: what it passes is a driver. [RunStore], [RunQueue] and
// [RunAuthorizer] check the contract clause by clause, each subtest named after its clause; [RunStoreModel] compares a
// store with the reference driver under random operations; [BenchmarkStore] measures one under POP's load, and [BenchmarkQueue]
// a queue. The command pop-conformance runs all of it on a plugin's program, with the help of [ReadResults].
//
// A driver declares what it can't do in its harness and the suite holds it to that: what it declares must be what it
// reports, and what it does not have must fail as the contract says. Nothing is skipped.
//
// Call the suite from tests that are not parallel: its last subtest looks for goroutines that Close left behind.
//
// The package imports the standard library, test libraries, package driver and the reference driver, and must not import
// the core or a provider.
package drivertest
