// Package sdk serves drivers as a plugin process. A whole main:
//
//	func main() {
//		sdk.Serve(sdk.Plugin[Config]{
//			Name: "files", Version: version,
//			Store: func(ctx context.Context, cfg Config, log *slog.Logger) (driver.Store, error) {
//				return files.Open(ctx, cfg.Dir, log)
//			},
//		})
//	}
//
//	type Config struct {
//		Dir string `json:"dir" jsonschema:"folder that the records are kept in"`
//	}
//
// The SDK takes care of everything between the driver and the host: the handshake and its encryption, limits of messages,
// logs, panics, shutting down, and ending when the host is gone.
//
// It imports plugins/driver, what is internal to plugins, go-plugin and gRPC, and must not import the core, a provider or
// plugins/host.
package sdk
