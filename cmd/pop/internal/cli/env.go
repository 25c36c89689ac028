package cli

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const envAnnotation = "pop-env"

// fromEnv lets the flags with some names, or all that are there, take their values from the environment as well: POP_ and the name
// of the flag. It is not meant for flags that a handler's own variables, such as POP_OPERATION, would set.
func fromEnv(flags *pflag.FlagSet, only ...string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if len(only) > 0 && !slices.Contains(only, f.Name) {
			return
		}
		name := "POP_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		f.Usage += " [$" + name + "]"
		_ = flags.SetAnnotation(f.Name, envAnnotation, []string{name}) // the flag exists
	})
}

// readEnv sets the flags that were not given on the command line.
func (a *app) readEnv(flags *pflag.FlagSet) error {
	var errs []error
	authGiven := credentialsGiven(flags)
	flags.VisitAll(func(f *pflag.Flag) {
		names := f.Annotations[envAnnotation]
		if len(names) == 0 || f.Changed || authGiven && isCredential(f) {
			return
		}
		if value := a.Getenv(names[0]); value != "" {
			if err := flags.Set(f.Name, value); err != nil {
				errs = append(errs, usagef("%s: %w", names[0], err))
			}
		}
	})
	return errors.Join(errs...)
}
