// Package scheduling decides which customer's agenda is next.
//
// One engine serves every algorithm: the customer with the smallest rank is served, its first agenda is taken and its rank is
// raised. Only the rank differs. [State.Plan] is a pure function of the state, and [State.Commit] applies what was planned, so a
// preview is a plan without the commit.
//
// The package is pure: no clock, no I/O, standard library only.
package scheduling
