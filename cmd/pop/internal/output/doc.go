// Package output prints what a command has to say, for people as a table and for programs as JSON or YAML.
//
// It knows nothing of POP's objects and must not import any of its packages.
package output
