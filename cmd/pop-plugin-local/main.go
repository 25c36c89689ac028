// Command pop-plugin-local serves the drivers of providers/local as a plugin process. They are linked into the server as well,
// which is faster; a process keeps what goes wrong in them away from it, and is what plugins of other backends look like.
package main

import (
	"context"
	"log/slog"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/sdk"
	"github.com/pop-platform/pop/providers/local"
)

// version is set by the linker.
var version = "dev"

type config struct {
	Dir    string `json:"dir,omitempty" jsonschema:"folder that the store is kept in; needed for a store"`
	Tokens string `json:"tokens,omitempty" jsonschema:"file of tokens; needed for an authorizer"`
}

func main() {
	sdk.Serve(sdk.Plugin[config]{
		Name: "local", Version: version,
		Store: func(ctx context.Context, cfg config, log *slog.Logger) (driver.Store, error) {
			return local.OpenStore(ctx, local.StoreOptions{Dir: cfg.Dir, Logger: log})
		},
		Queue: func(context.Context, config, *slog.Logger) (driver.Queue, error) {
			return local.NewQueue(local.QueueOptions{}), nil
		},
		Authorizer: func(_ context.Context, cfg config, log *slog.Logger) (driver.Authorizer, error) {
			return local.NewAuthorizer(local.AuthorizerOptions{File: cfg.Tokens, Logger: log})
		},
	})
}
