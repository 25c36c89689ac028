// Package scheduling decides which customer's agenda is next.
//
// One engine serves every algorithm: the customer with the smallest rank is served, its first agenda is taken and its rank is
// raised. Only the rank differs. A customer that may not be served now is parked outside the ranking until what holds it ends, so
// that it costs nothing and hides nobody. [State.Plan] decides and [State.Commit] does what was decided, so a preview is a plan
// without the commit.
//
// The package is pure: no clock, no I/O, standard library only. Times are nanoseconds since 1970 and are passed in.
package scheduling
