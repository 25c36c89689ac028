package cli

import (
	"io"
	"os"

	"github.com/pop-platform/pop/core/client"
)

// client returns a client of the server that the flags name.
func (a *app) client() (*client.Client, error) {
	c, err := client.New(a.server, client.Options{Token: a.auth.token, Tokens: a.auth.source(), UserAgent: "pop/" + a.Version})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

const fromStdin = "-"

// read reads a file, or standard input if its name is a hyphen.
func (a *app) read(file string) ([]byte, error) {
	if file == fromStdin {
		return io.ReadAll(a.Stdin)
	}
	return os.ReadFile(file)
}

// fileName is what messages call a file that read reads.
func fileName(file string) string {
	if file == fromStdin {
		return "standard input"
	}
	return file
}

// again returns how to call this program again so that it talks to the same server.
func (a *app) again() string {
	if a.server == defaultServer || a.server == a.Getenv("POP_SERVER") {
		return self()
	}
	return self() + " --server " + a.server
}
