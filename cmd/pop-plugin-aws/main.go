// Command pop-plugin-aws is what POP uses of AWS. It is a program of its own, so that the server links no SDK of a cloud.
//
// Started by a server it serves the drivers of providers/aws: a store on DynamoDB and a queue on SQS. How to set it up is in
// docs/aws.md. With the argument token it writes one.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/sdk"
	"github.com/pop-platform/pop/providers/aws"
)

// version is set by the linker.
var version = "dev"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "token" {
		os.Exit(writeToken(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "policy" {
		os.Exit(policy(os.Args[2:], os.Stdout, os.Stderr))
	}
	serve()
}

func writeToken(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return token(ctx, args, os.Stdout, os.Stderr, time.Now)
}

func serve() {
	sdk.Serve(sdk.Plugin[aws.Config]{
		Name: "aws", Version: version,
		Store: func(ctx context.Context, cfg aws.Config, _ *slog.Logger) (driver.Store, error) {
			return aws.OpenStore(ctx, cfg, aws.Options{})
		},
		Queue: func(ctx context.Context, cfg aws.Config, _ *slog.Logger) (driver.Queue, error) {
			return aws.OpenQueue(ctx, cfg, aws.Options{})
		},
	})
}
