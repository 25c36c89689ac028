// Package objects is how the command line sees the objects that configure the platform: it reads them from YAML or JSON with
// every mistake and its place, and knows for each kind where the server keeps it and what of it goes into a table.
//
// It imports core/model and core/client, and nothing of a server.
package objects
