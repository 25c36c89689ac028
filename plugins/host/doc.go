// Package host runs plugin processes: it launches them, checks what they are, configures and supervises them, and answers
// driver.Store, driver.Queue and driver.Authorizer from them. Drivers that are linked in go through the same [Plugin].
//
// A plugin that ends is started again. Meanwhile calls wait a while for the next process; those that were under way fail, and
// a write among them has an unknown outcome, which whoever made it settles by reading again.
//
// It imports plugins/driver, what is internal to plugins, go-plugin and gRPC, and must not import the core, a provider or
// plugins/sdk.
package host
