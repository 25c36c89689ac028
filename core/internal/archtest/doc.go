// Package archtest proves that the dependency arrows between POP's packages point one way.
//
// It holds only tests. The rules, each with its reason, are in rules_test.go; they are checked over the real import graph of
// the module, and against made-up graphs that break each of them. It imports the standard library and go-cmp only, and
// nothing imports it.
package archtest
