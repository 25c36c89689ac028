package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pop-platform/pop/core/config"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

// CatalogueEntry is a plugin of the configuration, and what it says it is.
type CatalogueEntry struct {
	host.Entry
	Linked      string // the provider, for one that is linked in
	Description driver.Description
	Err         error // why it could not be asked
}

// Catalogue starts each plugin of the configuration, in use or not, for as long as it takes to ask what it is.
func Catalogue(ctx context.Context, cfg Config) ([]CatalogueEntry, error) {
	o, err := hostOptions(cfg.Log, nil)
	if err != nil {
		return nil, err
	}
	used := cfg.entries()
	var all []CatalogueEntry
	for _, name := range slices.Sorted(maps.Keys(cfg.Settings.Plugins)) {
		c := CatalogueEntry{Entry: entryOf(name, cfg.Settings.Plugins[name]), Linked: cfg.Settings.Plugins[name].Linked}
		if i := slices.IndexFunc(used, func(e host.Entry) bool { return e.Name == name }); i >= 0 {
			c.Services = used[i].Services
		}
		if c.Linked != "" {
			c.Description = linked[c.Linked].Describe()
		} else {
			c.Description, c.Err = host.Describe(ctx, c.Entry, o)
		}
		all = append(all, c)
	}
	return all, nil
}

func entryOf(name string, p config.Plugin) host.Entry {
	return host.Entry{Name: name, Path: p.Path, SHA256: p.SHA256, Env: p.Env, Config: p.Config}
}

// Step is a part of the way to a plugin that is ready.
type Step struct {
	Name   string `json:"step"`
	Took   string `json:"took"`
	Result string `json:"result"` // "ok", or what is wrong
	OK     bool   `json:"ok"`
}

// TryPlugin takes a plugin all the way that a server would: it starts it, checks its settings, opens its drivers, asks for their
// health, ends it. It stops at the first step that fails.
func TryPlugin(ctx context.Context, cfg Config, c CatalogueEntry) (steps []Step) {
	step := func(name string, f func() error) bool {
		start := time.Now()
		err := f()
		s := Step{Name: name, Took: time.Since(start).Round(time.Millisecond).String(), Result: "ok", OK: err == nil}
		if err != nil {
			s.Result = problems(c.Name, err)
		}
		steps = append(steps, s)
		return err == nil
	}
	o, err := hostOptions(cfg.Log, nil)
	if !step("launch and describe", func() error {
		if err == nil && c.Linked == "" {
			c.Description, err = host.Describe(ctx, c.Entry, o)
		}
		return err
	}) || !step("check settings", func() error { return host.CheckConfig(c.Entry, c.Description) }) {
		return steps
	}
	if len(c.Services) == 0 {
		c.Services = c.Description.Services
	}
	var p *host.Plugin
	if !step(fmt.Sprintf("open %v and check health", c.Services), func() (err error) {
		if c.Linked == "" {
			p, err = host.Start(ctx, c.Entry, o)
			return err
		}
		if p, err = host.Link(ctx, linked[c.Linked], c.Entry, o); err != nil { // which looks at no backend
			return err
		}
		if err = p.CheckHealth(ctx); err != nil {
			err = errors.Join(err, p.Close(context.WithoutCancel(ctx)))
		}
		return err
	}) {
		return steps
	}
	step("shut down", func() error { return p.Close(context.WithoutCancel(ctx)) })
	return steps
}

// problems is what is wrong with a plugin, in one line.
func problems(name string, err error) string {
	var all []string
	for _, issue := range pluginIssues(name, err) {
		all = append(all, issue.Path+": "+issue.Message)
	}
	return strings.Join(all, "; ")
}
