package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/pop-platform/pop/providers/aws"
)

// policy writes the policy that the role of a server needs.
func policy(args []string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("policy", flag.ContinueOnError)
	flags.SetOutput(errOut)
	file := flags.String("config", "", "`file` with the plugin's configuration as JSON; by default nothing is configured")
	account := flags.String("account", "*", "`number` of the account")
	region := flags.String("region", "", "`name` of the region, if the configuration has none")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	var config aws.Config
	if *file != "" {
		text, err := os.ReadFile(*file)
		if err == nil {
			err = json.Unmarshal(text, &config)
		}
		if err != nil {
			_, _ = fmt.Fprintf(errOut, "pop-plugin-aws policy: %s: %v\n", *file, err)
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
