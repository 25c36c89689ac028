package node

import (
	"context"
	"errors"
	"strings"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/providers/oidc"
)

// CheckPlugins starts each plugin that is in use for as long as it takes to ask what it is, and returns what is wrong with it
// and with its settings.
func CheckPlugins(ctx context.Context, cfg Config) (issues []model.Issue) {
	o, err := hostOptions(cfg.Log, nil)
	if err != nil {
		return []model.Issue{{Path: host.ReattachEnv, Message: err.Error()}}
	}
	for _, e := range cfg.entries() {
		if err := cfg.checkPlugin(ctx, e, o); err != nil {
			issues = append(issues, pluginIssues(e.Name, err)...)
		}
	}
	return issues
}

func (cfg Config) checkPlugin(ctx context.Context, e host.Entry, o host.Options) error {
	if cfg.Settings.Plugins[e.Name].Linked != "" {
		p, err := cfg.startPlugin(ctx, e, o)
		if err != nil {
			return err
		}
		return p.Close(ctx)
	}
	d, err := host.Describe(ctx, e, o)
	if err != nil {
		return err
	}
	return host.CheckConfig(e, d)
}

// pluginError is an error about a plugin that could not be started, with the places in the configuration that are to be mended.
func pluginError(name string, err error) error {
	return &model.Error{Kind: model.Unavailable, Detail: "plugin " + name + " cannot be used", Issues: pluginIssues(name, err)}
}

func pluginIssues(name string, err error) (issues []model.Issue) {
	path := "plugins." + name
	note := func(at, message string) {
		issues = append(issues, model.Issue{Path: strings.TrimSuffix(path+".config."+at, "."), Message: message})
	}
	if wrong, ok := errors.AsType[*host.ConfigError](err); ok {
		for _, p := range wrong.Problems {
			note(p.Path, p.Message)
		}
		return issues
	}
	if wrong, ok := errors.AsType[oidc.ConfigError](err); ok {
		for _, p := range wrong {
			note(p.Path, p.Message)
		}
		return issues
	}
	message := err.Error()
	if e, ok := errors.AsType[*driver.Error](err); ok && e.Message != "" {
		message = e.Message
	}
	return []model.Issue{{Path: path, Message: message}}
}
