// Package client is the Go client of POP's REST API, /v1.
//
// Errors that the server reports come back as [*model.Error], so that [model.KindOf] works on both sides of the wire. Any other
// error means that the answer is not known. Calls that may safely be repeated are, when the server cannot be reached or asks for
// patience.
//
// It imports core/model, core/api/wire and the standard library, never the engine, so that executors and other programs that
// only talk to POP stay small.
package client
