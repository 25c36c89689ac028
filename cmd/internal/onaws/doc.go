// Package onaws runs the platform on the drivers of providers/aws: that the main job is done there, what an agenda costs, how many calls
// a pass makes, and that nothing is lost when servers are killed.
//
// It holds nothing but tests.
package onaws
