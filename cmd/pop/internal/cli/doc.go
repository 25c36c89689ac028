// Package cli is the command line of pop: its commands, their flags, what they print and the status they exit with.
//
// Commands are thin: what they do is done by core/client and by the packages next to this one. The status is 0 for success, 1
// for a failure, 2 for a command line that cannot be understood, and 3 if a watched agenda was cancelled.
package cli
