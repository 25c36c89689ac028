package doctor

import (
	"context"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/core/config"
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
}
