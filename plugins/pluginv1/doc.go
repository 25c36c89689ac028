// Package pluginv1 is version 1 of the plugin protocol, generated from plugins/proto. Nothing in it is written by hand, and
// only plugins/host, plugins/sdk and what is internal to them import it.
package pluginv1

//go:generate sh -c "cd ../proto && go tool -modfile=../../tools.mod buf generate"
