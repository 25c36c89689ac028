// Package bench measures the whole product on one machine: a server process on the embedded store, with authentication and an fsync
// before every reply, and a client process that submits, pulls and reports over HTTP. `make bench` runs it; docs/performance.md
// holds figures and says how to read them.
//
// It holds nothing but benchmarks.
package bench
