// Package credential is where the command line gets its tokens from: a file that is replaced from time to time, or a program that
// fetches them. Identities of every cloud come in by the program, so that none of their SDKs has to be linked here.
package credential
