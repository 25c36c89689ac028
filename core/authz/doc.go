// Package authz is the portable type over a [driver.Authorizer], and the rules of who may see and change what.
//
// A driver says who the caller is. What the caller may do with that is decided here, the same for every driver: by its roles
// which calls it may make, by its customers which objects they work on. An object that a caller may not read is treated as
// absent.
//
// It imports plugins/driver, core/model and the standard library.
package authz
