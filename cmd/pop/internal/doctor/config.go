package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/config"
	"github.com/pop-platform/pop/plugins/driver"
)

// checkConfig looks at a server's configuration, and asks the plugins in use what they take.
func checkConfig(ctx context.Context, r *report, l *config.Loaded) {
	const check = "configuration"
	issues := l.Issues
	if len(issues) == 0 {
		issues = node.CheckPlugins(ctx, node.Config{Settings: l.Config})
	}
	for _, issue := range issues {
		path := l.File
		if issue.Path != "" {
			path += ": " + issue.Path
		}
		r.fail(check, "mend it; the server does not start with it", "%s: %s", path, issue.Message)
	}
	if len(issues) > 0 {
		return
	}
	r.ok(check, "%s can be used; %s keeps the records, %s the hints, %s says who calls", l.File, l.Drivers.Store, l.Drivers.Queue, l.Drivers.Authorizer)
	for name, p := range l.Plugins {
		if p.Linked == "" && p.SHA256 == "" {
			r.warn(check, "add its sha256, as sha256sum prints it", "%s: plugins.%s has no sha256, so whatever is at %s will be run", l.File, name, p.Path)
		}
	}
	checkBackends(ctx, r, node.Config{Settings: l.Config})
}

// checkBackends asks what is behind the plugins in use: a cloud's tables, an issuer's keys.
func checkBackends(ctx context.Context, r *report, cfg node.Config) {
	const check = "backends"
	ctx, cancel := context.WithTimeout(ctx, backendTimeout)
	defer cancel()
	for _, b := range node.CheckBackends(ctx, cfg) {
		text := output.Clean(strings.TrimPrefix(fmt.Sprint(b.Err), "plugin "+b.Plugin+": "))
		switch code := driver.CodeOf(b.Err); {
		case b.Err == nil && len(b.Todo) > 0:
			r.warn(check, "start a server, if that is what it should do; if its records should be there, mend the plugin's settings that say where",
				"plugin %s: a server would do this at its start: %s", b.Plugin, strings.Join(b.Todo, "; "))
		case b.Err == nil:
			r.ok(check, "what is behind plugin %s answers, and allows what was tried", b.Plugin)
		case b.InUse:
			r.warn(check, "if the server is running, this says nothing: it may have the data for itself", "plugin %s: %s", b.Plugin, text)
		case code == driver.Denied:
			r.fail(check, "give the server the rights and credentials that the plugin's page lists", "plugin %s: %s", b.Plugin, text)
		case code == driver.Unavailable:
			r.fail(check, "mend what the finding says, or the plugin's settings, or the network in between", "plugin %s: %s", b.Plugin, text)
		default:
			r.fail(check, "mend what the finding says, or the plugin's settings", "plugin %s: %s", b.Plugin, text)
		}
	}
}

// backendTimeout is how long plugins may take to start and to ask.
const backendTimeout = time.Minute
