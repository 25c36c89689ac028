// Package tree draws the progress of an agenda: as a tree of its operations for a terminal, and as lines that tell what has
// changed for everything else.
//
// It is pure text: it writes nothing, reads no clock, and imports core/model and the command line's output only.
package tree
