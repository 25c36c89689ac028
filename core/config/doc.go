// Package config is the configuration of a server: what can be set, in which file, variable or flag, and what is wrong with
// what was set.
//
// It knows neither the drivers nor what runs plugins: cmd turns what it holds into them. It must not import plugins/host, a
// provider, or the rest of the core but core/model and core/strict.
package config
