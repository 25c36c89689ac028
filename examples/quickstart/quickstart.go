package quickstart

import "embed"

// Files are the objects to begin with, in objects, and the handlers of their operations: handlers.yaml and handlers.
//
//go:embed objects handlers.yaml handlers
var Files embed.FS
