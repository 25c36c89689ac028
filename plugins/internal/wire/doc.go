// Package wire turns the values of package driver into messages of pluginv1 and back, errors included, and holds what host
// and SDK must agree on. A difference between a driver that is linked in and the same driver as a process is a fault in
// here.
//
// It imports plugins/driver, plugins/pluginv1 and gRPC, and must not import the core, a provider or go-plugin.
package wire
