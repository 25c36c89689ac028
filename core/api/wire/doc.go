// Package wire holds the bodies of requests and responses of /v1 that are not data objects of core/model, and the problem
// document that every error is sent as. The server and the Go client share it.
//
// It imports core/model and the standard library only.
package wire
