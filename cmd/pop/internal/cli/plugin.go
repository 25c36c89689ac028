package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

func (a *app) pluginCommand() *cobra.Command {
	return group("plugin", "Look at plugins: programs that serve drivers", `  pop plugin list --config pop.yaml
  pop plugin describe ./pop-plugin-local
  pop plugin check files --config pop.yaml`, a.pluginListCommand(), a.pluginDescribeCommand(), a.pluginCheckCommand())
}

// shownPlugin is a plugin as it is printed. Its settings may be secrets, and are not.
type shownPlugin struct {
	Name     string           `json:"name"`
	Path     string           `json:"path,omitempty"`
	Linked   string           `json:"linked,omitempty"`
	SHA256   string           `json:"sha256,omitempty"`
	Plugin   string           `json:"plugin,omitempty"` // what it calls itself
	Version  string           `json:"version,omitempty"`
	Services []driver.Service `json:"services"`
	UsedFor  []driver.Service `json:"usedFor"`
	Settings json.RawMessage  `json:"settingsSchema,omitempty"`
	Problem  string           `json:"problem,omitempty"`
}

func shown(c node.CatalogueEntry) shownPlugin {
	s := shownPlugin{
		Name: c.Name, Path: c.Path, Linked: c.Linked, Plugin: c.Description.Name, Version: c.Description.Version,
		Services: c.Description.Services, UsedFor: c.Services,
	}
	if c.Err != nil {
		s.Problem = c.Err.Error()
	}
	return s
}

func join(services []driver.Service) string {
	words := make([]string, len(services))
	for i, s := range services {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

func (a *app) pluginListCommand() *cobra.Command {
	s := settings{open: true}
	cmd := &cobra.Command{
		Use: "list", Short: "List the plugins of a configuration, and what they say they are",
		Long: `List the plugins of a configuration, in use or not. Each is started for as long as it takes to ask what it is; it is not configured.

The exit status is 1 if one that is in use cannot be started.`,
		Example: `  pop plugin list --config pop.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.catalogue(cmd.Context(), &s)
			if err != nil {
				return err
			}
			rows := output.Rows{Header: []string{"NAME", "PLUGIN", "VERSION", "SERVES", "USED FOR", "PROBLEM"}}
			plugins := []shownPlugin{}
			failed := false
			for _, c := range all {
				p := shown(c)
				plugins = append(plugins, p)
				rows.Add(p.Name, p.Plugin, p.Version, join(p.Services), join(p.UsedFor), p.Problem)
				failed = failed || c.Err != nil && len(c.Services) > 0
			}
			if err := a.printer().Print(plugins, rows); err != nil {
				return err
			}
			if failed {
				return status(exitFailed)
			}
			return nil
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}

// catalogue returns the plugins of a configuration.
func (a *app) catalogue(ctx context.Context, s *settings) ([]node.CatalogueEntry, error) {
	l := a.load(s)
	if err := l.Err(); err != nil {
		return nil, err
	}
	return node.Catalogue(ctx, node.Config{Settings: l.Config})
}

// find returns a plugin of the configuration by its name, or one by the path of its program.
func (a *app) find(ctx context.Context, s *settings, name string) (node.CatalogueEntry, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		path, err := filepath.Abs(name)
		if err != nil {
			return node.CatalogueEntry{}, err
		}
		sum, err := host.Sum(path)
		if err != nil {
			return node.CatalogueEntry{}, fmt.Errorf("plugin %s: %w", name, err)
		}
		c := node.CatalogueEntry{Entry: host.Entry{Name: filepath.Base(path), Path: path, SHA256: sum}}
		c.Description, c.Err = host.Describe(ctx, c.Entry, host.Options{})
		return c, nil
	}
	all, err := a.catalogue(ctx, s)
	if err != nil {
		return node.CatalogueEntry{}, err
	}
	if i := slices.IndexFunc(all, func(c node.CatalogueEntry) bool { return c.Name == name }); i >= 0 {
		return all[i], nil
	}
	return node.CatalogueEntry{}, usagef("the configuration has no plugin %q; name one of it, with --config, or a program by a path such as ./%s", name, name)
}

func (a *app) pluginDescribeCommand() *cobra.Command {
	s := settings{open: true}
	cmd := &cobra.Command{
		Use: "describe NAME|PATH", Short: "Say what a plugin is, and which settings it takes",
		Long: `Say what a plugin is, and which settings it takes: one of a configuration by its name, or a program by a path with a slash in it.
Its checksum is what "sha256" in the configuration has to be.`,
		Example: `  pop plugin describe ./bin/pop-plugin-local
  pop plugin describe files --config pop.yaml -o json`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.find(cmd.Context(), &s, args[0])
			if err == nil {
				err = c.Err
			}
			if err != nil {
				return err
			}
			p := shown(c)
			p.Settings = c.Description.Schema
			if c.Path != "" {
				if p.SHA256, err = host.Sum(c.Path); err != nil {
					return err
				}
			}
			rows := output.Rows{}
			rows.Add("PLUGIN", p.Plugin+" "+p.Version)
			rows.Add("SERVES", join(p.Services))
			rows.Add("SHA256", p.SHA256)
			if err := addSettings(&rows, c.Description.Schema); err != nil {
				return err
			}
			return a.printer().Print(p, rows)
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}

// addSettings adds a row for each setting of a plugin.
func addSettings(rows *output.Rows, schema []byte) error {
	var s struct {
		Properties map[string]struct {
			Type        any    `json:"type"`
			Description string `json:"description"`
			WriteOnly   bool   `json:"writeOnly"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	if err := json.Unmarshal(schema, &s); err != nil {
		return fmt.Errorf("read the plugin's schema: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		text := fmt.Sprint(p.Type)
		if slices.Contains(s.Required, name) {
			text += ", required"
		}
		if p.WriteOnly {
			text += ", secret"
		}
		if p.Description != "" {
			text += ": " + p.Description
		}
		rows.Add("config."+name, text)
	}
	return nil
}

func (a *app) pluginCheckCommand() *cobra.Command {
	s := settings{open: true}
	var file string
	cmd := &cobra.Command{
		Use: "check NAME|PATH", Short: "Try whether a server could use a plugin",
		Long: `Try whether a server could use a plugin: start it, check its settings, open its drivers, ask whether their backends answer, end it.

If a running server uses the same data, and only one process may, the check fails and says so. The exit status is 1 if
a step fails.`,
		Example: `  pop plugin check files --config pop.yaml
  pop plugin check ./bin/pop-plugin-local --settings settings.yaml`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.find(cmd.Context(), &s, args[0])
			if err != nil {
				return err
			}
			if file != "" {
				text, err := os.ReadFile(file)
				if err != nil {
					return fmt.Errorf("read the settings: %w", err)
				}
				if c.Config, err = yaml.YAMLToJSONStrict(text); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			}
			steps := node.TryPlugin(cmd.Context(), node.Config{}, c)
			rows := output.Rows{Header: []string{"STEP", "TOOK", "RESULT"}}
			for _, s := range steps {
				rows.Add(s.Name, s.Took, s.Result)
			}
			if err := a.printer().Print(steps, rows); err != nil {
				return err
			}
			if !steps[len(steps)-1].OK {
				return status(exitFailed)
			}
			return nil
		},
	}
	s.addFlags(cmd.Flags())
	cmd.Flags().StringVar(&file, "settings", "", "file of settings for the plugin, in place of those in the configuration")
	return cmd
}
