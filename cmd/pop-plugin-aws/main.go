// Command pop-plugin-aws is what POP uses of AWS. It is a program of its own, so that the server links no SDK of a cloud.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "token" {
		return token(ctx, os.Args[2:], os.Stdout, os.Stderr, time.Now)
	}
	_, _ = fmt.Fprintln(os.Stderr, "usage: pop-plugin-aws token --audience AUDIENCE")
	return 2
}
