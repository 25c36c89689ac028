// Command plugin-template is a plugin that keeps records in files: a beginning for a plugin of your own. The README says how to
// make it one.
package main

import (
	"context"
	"log/slog"

	"github.com/pop-platform/pop/examples/plugin-template/files"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/sdk"
)

// version is set by the linker.
var version = "dev"

// config is what the plugin takes. Hosts check it against the schema that the tags make, before the plugin sees it.
type config struct {
	Dir string `json:"dir" jsonschema:"folder that the records are kept in"`
}

func main() {
	sdk.Serve(sdk.Plugin[config]{
		Name: "files", Version: version,
		Store: func(_ context.Context, cfg config, log *slog.Logger) (driver.Store, error) {
			return files.Open(files.Options{Dir: cfg.Dir, Log: log})
		},
	})
}
