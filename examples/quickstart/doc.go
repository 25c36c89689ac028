// Package quickstart holds the files of the quickstart, so that `pop dev` can start with them. It imports nothing of POP.
package quickstart
