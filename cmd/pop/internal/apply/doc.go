// Package apply makes a server hold the objects that files describe. Applying the same files again changes nothing.
//
// It imports core/client and the command line's objects, and nothing of a server.
package apply
