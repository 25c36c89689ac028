package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pop-platform/pop/providers/aws/webidentity"
)

const usage = `usage: pop-plugin-aws token --audience AUDIENCE [flags]

Writes a token that says which AWS role or user this process is, as the answer of an OAuth 2.0 token endpoint. It is for pop:

  pop pull --token-command "pop-plugin-aws token --audience https://pop.example.com" ...

`

// token writes a token to standard output, and returns the status to exit with.
func token(ctx context.Context, args []string, stdout, stderr io.Writer, now func() time.Time) int {
	var o webidentity.Options
	flags := flag.NewFlagSet("token", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&o.Audience, "audience", "", "whom the token is for: what the server's configuration has in audiences")
	flags.StringVar(&o.Region, "region", "", "AWS `region` of the STS endpoint (default that of the environment or the profile)")
	flags.DurationVar(&o.Lifetime, "lifetime", webidentity.DefaultLifetime, "how long the token is good, from 1m to 1h")
	flags.StringVar(&o.Algorithm, "algorithm", webidentity.Algorithms[0], "signature of the token: "+strings.Join(webidentity.Algorithms, " or "))
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	err := o.Check()
	if flags.NArg() > 0 {
		err = fmt.Errorf("%q is not a flag", flags.Arg(0))
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "pop-plugin-aws token: %v\n", err)
		return 2
	}
	t, err := webidentity.Fetch(ctx, o)
	if err == nil {
		//nolint:gosec // to write the token is what this is for
		err = json.NewEncoder(stdout).Encode(struct {
			Token string `json:"access_token"`
			Type  string `json:"token_type"`
			Life  int    `json:"expires_in"` // seconds
		}{t.Value, "Bearer", int(t.Expiry.Sub(now()).Seconds())})
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "pop-plugin-aws token: %v\n", err)
		return 1
	}
	return 0
}
