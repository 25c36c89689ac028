package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/webidentity"
)

// policy writes the policy that the role of a server needs, or, with an audience, the one that the role of a caller needs.
func policy(args []string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("policy", flag.ContinueOnError)
	flags.SetOutput(errOut)
	file := flags.String("config", "", "`file` with what is below config in the plugin's settings; by default nothing is configured")
	account := flags.String("account", "*", "`number` of the account")
	region := flags.String("region", "", "`name` of the region, if the configuration has none")
	audience := flags.String("audience", "", "write the policy of a caller instead, which gets tokens for this `audience`, as with pop-plugin-aws token")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *audience != "" {
		_, _ = fmt.Fprintln(out, aws.PolicyForCaller(*audience, webidentity.DefaultLifetime))
		return 0
	}
	var config aws.Config
	if *file != "" {
		text, err := os.ReadFile(*file)
		if err == nil {
			if err = yaml.UnmarshalStrict(text, &config); err != nil {
				err = fmt.Errorf("%s: %w; it must hold what is below config in the plugin's settings", *file, err)
			}
		}
		if err != nil {
			_, _ = fmt.Fprintf(errOut, "pop-plugin-aws policy: %v\n", err)
			return 1
		}
	}
	if config.Region == "" {
		config.Region = *region
	}
	p, err := aws.PolicyFor(config, *account)
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "pop-plugin-aws policy: %v\n", err)
		return 1
	}
	_, _ = fmt.Fprintln(out, p)
	return 0
}
