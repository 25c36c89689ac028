// Package server answers the plugin protocol from a [driver.Provider]. The SDK serves it from a process; tests serve it over a
// connection in memory.
//
// It imports plugins/driver, the packages internal to plugins and gRPC, and must not import the core, a provider or go-plugin.
package server
