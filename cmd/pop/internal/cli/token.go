package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/plugins/driver"
)

var roles = []string{string(driver.RoleRead), string(driver.RoleSubmit), string(driver.RoleOperate), string(driver.RolePull)}

// tokenEntry is an entry of the file of tokens. The names are those of the file.
type tokenEntry struct {
	Token     string    `json:"token"`
	Subject   string    `json:"subject"`
	Customers []string  `json:"customers,omitempty"`
	Global    bool      `json:"global,omitempty"`
	Roles     []string  `json:"roles"`
	NotAfter  time.Time `json:"notAfter,omitzero"`
}

func (a *app) tokenCommand() *cobra.Command {
	var entry tokenEntry
	var valid time.Duration
	cmd := &cobra.Command{
		Use: "token --subject NAME --role ROLE... {--customer ID... | --global}", Short: `Make a token, and its entry for the tokens file of "pop serve"`,
		Long: `Make a random token, and its entry for the file of tokens of "pop serve".

Standard output gets the token, which is shown this once and kept nowhere; standard error gets the entry, which holds only its hash.
A server reads the file again when it changes.`,
		Example: `  pop token --subject admin --global --role read,submit,operate,pull
  TOKEN=$(pop token --subject alice --customer acme --role read,submit 2>>tokens.yaml)`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			switch {
			case strings.TrimSpace(entry.Subject) == "":
				return usagef("say whose token it is with --subject")
			case len(entry.Roles) == 0:
				return usagef("say what it may do with --role: %s", strings.Join(roles, ", "))
			case entry.Global == (len(entry.Customers) > 0):
				return usagef("say for whom it acts: either --customer or --global")
			case valid < 0:
				return usagef("--valid must not be negative")
			}
			for _, role := range entry.Roles {
				if !slices.Contains(roles, role) {
					return usagef("there is no role %q; the roles are %s", role, strings.Join(roles, ", "))
				}
			}
			if err := names("customer", entry.Customers); err != nil {
				return err
			}
			var token string
			token, entry.Token = node.NewToken()
			if valid > 0 {
				entry.NotAfter = time.Now().Add(valid).UTC().Truncate(time.Second)
			}
			if a.format != output.Table {
				return a.printer().Value(struct {
					Token string     `json:"token"`
					Entry tokenEntry `json:"entry"`
				}{token, entry})
			}
			text, err := yaml.Marshal([]tokenEntry{entry})
			if err != nil {
				return err
			}
			if _, people := terminal(a.Stderr); people {
				a.note("# Add this to the file of tokens, below \"tokens:\"; the token itself is shown only now.")
			}
			if _, err := a.Stderr.Write(text); err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Stdout, token)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&entry.Subject, "subject", "", "whose it is")
	flags.StringSliceVar(&entry.Customers, "customer", nil, "customers that it acts for")
	flags.BoolVar(&entry.Global, "global", false, "it acts for all customers")
	flags.StringSliceVar(&entry.Roles, "role", nil, "what it may do: "+strings.Join(roles, ", "))
	flags.DurationVar(&valid, "valid", 0, "for how long, such as 720h (default for ever)")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}
