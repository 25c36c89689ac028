// Package node puts the parts of POP together that run in one process: the server over its data folder, and the pullers next
// to it in `pop dev`.
//
// It is the only part of the command line that imports the server and a provider.
package node
