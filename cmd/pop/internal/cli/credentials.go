package cli

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/pop-platform/pop/cmd/pop/internal/credential"
	"github.com/pop-platform/pop/core/client"
)

// credentials say where tokens to authenticate with come from: one of the three, or nowhere.
type credentials struct{ token, file, command string }

func (c *credentials) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&c.token, "token", "", "token to authenticate with")
	flags.StringVar(&c.file, "token-file", "", "file that holds the token, and gets a new one before that ends")
	flags.StringVar(&c.command, "token-command", "", "program, with arguments, that writes a token whenever one is needed")
}

func isCredential(f *pflag.Flag) bool {
	return f.Name == "token" || f.Name == "token-file" || f.Name == "token-command"
}

// credentialsGiven reports whether the command line says where tokens come from. Then the environment is not asked.
func credentialsGiven(flags *pflag.FlagSet) bool {
	given := false
	flags.Visit(func(f *pflag.Flag) { given = given || isCredential(f) })
	return given
}

func (c *credentials) check() error {
	switch {
	case c.token != "" && c.file != "", c.token != "" && c.command != "", c.file != "" && c.command != "":
		return usagef("give only one of --token, --token-file and --token-command, or of their variables")
	case c.command != "":
		if _, err := credential.Command(c.command, time.Now); err != nil {
			return usagef("--token-command %w", err)
		}
	}
	return nil
}

// source returns where tokens come from that end, and nil if they don't.
func (c *credentials) source() client.TokenSource {
	switch {
	case c.file != "":
		return credential.File(c.file)
	case c.command != "":
		source, _ := credential.Command(c.command, time.Now) // was checked
		return source
	}
	return nil
}

// remedy says what helps when the server refuses a token, or has got none.
func (c *credentials) remedy() string {
	switch {
	case c.file != "":
		return "the token is that of " + c.file
	case c.command != "":
		return "the token is that of --token-command; see \"pop doctor\""
	}
	return "give a token with --token or POP_TOKEN, --token-file or --token-command"
}
