// Package store is the portable type over a [driver.Store]: it checks capabilities once, retries what is safe to retry, pages
// through ranges and counts calls. The rest of the core reads and writes through it only.
//
// It imports plugins/driver and the standard library.
package store
