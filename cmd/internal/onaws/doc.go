// Package onaws runs the platform on the drivers of providers/aws: what an agenda costs there, how many calls a pass makes, and that
// nothing is lost when servers are killed.
//
// It holds nothing but tests.
package onaws
