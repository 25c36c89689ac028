// Command pop is POP on the command line: the server, the puller, and the client of both.
package main

import (
	"context"
	"os"

	"github.com/pop-platform/pop/cmd/pop/internal/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], cli.Process{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Version: version,
	}))
}
