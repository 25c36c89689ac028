// Package local holds the drivers that need nothing installed: a durable [Store] on an embedded key-value engine, a [Queue]
// of hints in memory, and an [Authorizer] that reads tokens from a file.
//
// The package imports plugins/driver, never core and never another provider.
package local
