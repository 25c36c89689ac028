// Package driver is the contract between POP and its backends: a [Store] of versioned records, a [Queue] of hints and an
// [Authorizer] that says who a caller is.
//
// A driver is used linked in or as a plugin process; it cannot tell which. Drivers do not retry, do not cache and know
// nothing of agendas or insights: the portable types in core/store, core/queue and core/authz add what every backend needs.
//
// All methods are safe for concurrent use and honour their context. Values passed to a driver belong to the caller again
// once the call returns; values returned by a driver belong to the caller. Any failure that the core may act upon is an
// [*Error]; a context error may be returned as it is.
//
// The package imports the standard library only.
package driver
