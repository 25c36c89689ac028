// Package soak kills the real program at random moments, for as long as it takes to believe that nothing is lost.
//
// It holds nothing but tests.
package soak
