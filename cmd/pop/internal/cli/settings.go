package cli

import (
	"errors"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/config"
	"github.com/pop-platform/pop/core/model"
)

// settings are the flags for a server's configuration.
type settings struct {
	open  bool // the server lets everyone do everything
	file  string
	flags *pflag.FlagSet
}

// addFlags adds a flag for each setting that a server of this kind has.
func (s *settings) addFlags(flags *pflag.FlagSet) {
	s.flags = flags
	for _, k := range config.Keys() {
		if s.open && (k.Flag == "tokens" || k.Flag == "authorizer") {
			continue
		}
		flags.String(k.Flag, k.Default, k.Doc+" [$"+k.Env+"]") // config.Load looks at the variable
	}
	flags.StringVar(&s.file, "config", "", "file of settings, as \"pop config docs\" describes it")
	fromEnv(flags, "config")
}

// load puts the configuration together, with all that is wrong with it.
func (a *app) load(s *settings) *config.Loaded {
	in := config.Input{File: s.file, Getenv: a.Getenv, Flags: map[string]string{}, Linked: node.Linked(), Open: s.open}
	for _, k := range config.Keys() {
		if f := s.flags.Lookup(k.Flag); f != nil && f.Changed {
			in.Flags[k.Flag] = f.Value.String()
		}
	}
	return config.Load(in)
}

// nodeConfig returns what a server is started with. Without a file, what is wrong is in the command line.
func (a *app) nodeConfig(s *settings) (node.Config, error) {
	l := a.load(s)
	err := l.Err()
	if wrong, ok := errors.AsType[*model.Error](err); ok && s.file == "" {
		return node.Config{}, usageError{errors.New(a.refusal(wrong))}
	}
	if err != nil {
		return node.Config{}, err
	}
	return node.Config{Settings: l.Config, Open: s.open, Version: a.Version}, nil
}

func (a *app) configCommand() *cobra.Command {
	docs := &cobra.Command{
		Use: "docs", Short: "Print the reference of all settings, in Markdown",
		Example: `  pop config docs`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := io.WriteString(a.Stdout, config.Docs())
			return err
		},
	}
	return group("config", "Look at the configuration of a server", `  pop config validate --config pop.yaml
  pop config docs`, a.validateCommand(), docs)
}

// shownSetting is a setting as it is printed.
type shownSetting struct {
	Key    string        `json:"key"`
	Value  string        `json:"value"`
	Source config.Source `json:"source"`
}

func (a *app) validateCommand() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use: "validate", Short: "Say what pop serve would run with, or all that is wrong with it",
		Long: `Say what "pop serve" would run with, given the same file, environment and flags, or all that is wrong with it.

Each plugin that is in use is started for as long as it takes to ask which settings it takes; it is not configured, and nothing of it
touches its backend. Settings of plugins are checked and not shown, for they may be secrets.`,
		Example: `  pop config validate --config pop.yaml
  pop config validate --config pop.yaml -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l := a.load(&s)
			if len(l.Issues) == 0 {
				l.Issues = node.CheckPlugins(cmd.Context(), node.Config{Settings: l.Config})
			}
			if err := l.Err(); err != nil {
				return err
			}
			rows := output.Rows{Header: []string{"SETTING", "VALUE", "FROM"}}
			var shown []shownSetting
			add := func(key, value string, from config.Source) {
				shown = append(shown, shownSetting{key, value, from})
				rows.Add(key, value, string(from))
			}
			for _, setting := range l.Settings {
				add(setting.Path, setting.Value, setting.Source)
			}
			for name, p := range l.Plugins {
				value := p.Path
				if p.Linked != "" {
					value = p.Linked + " (linked in)"
				}
				if !slices.Contains([]string{l.Drivers.Store, l.Drivers.Queue, l.Drivers.Authorizer}, name) {
					value += " (not used)"
				}
				add("plugins."+name, value, config.File)
			}
			return a.printer().Print(shown, rows)
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}
