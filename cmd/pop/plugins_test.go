package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pop-platform/pop/plugins/host"
)

// pluginConfig writes a configuration whose store and queue are in a process of pop-plugin-local, and returns the program.
func (x *terminal) pluginConfig() (program string) {
	x.t.Helper()
	program = buildPlugin(x.t, "cmd/pop-plugin-local")
	sum, err := host.Sum(program)
	if err != nil {
		x.t.Fatal(err)
	}
	x.write("pop.yaml", fmt.Sprintf(`
drivers: {store: files, queue: files}
plugins:
  files: {path: %s, sha256: %s, config: {dir: %s}}
  broken: {path: %s}
`, program, sum, filepath.Join(x.dir, "records"), x.write("broken", "#!/bin/sh\necho no luck >&2\n")))
	return program
}

func TestPluginsAreListedDescribedAndChecked(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	program := x.pluginConfig()
	var listed []struct{ Name, Plugin, Problem string }
	if err := json.Unmarshal([]byte(x.do("plugin", "list", "--config", "pop.yaml", "-o", "json")), &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed) != 2 || listed[0].Name != "broken" || !strings.Contains(listed[0].Problem, "no luck") || listed[1].Plugin != "local" {
		t.Errorf("listed %+v", listed)
	}
	for _, name := range []string{program, "files"} {
		contains(t, x.do("plugin", "describe", name, "--config", "pop.yaml"), "local dev", "store, queue, authorizer", "config.dir", "string: folder")
	}
	contains(t, x.do("plugin", "check", "files", "--config", "pop.yaml"), "launch and describe", "check settings", "open [store queue]", "shut down")
	x.write("settings.yaml", "dri: /tmp\n")
	r := x.run("", "plugin", "check", program, "--settings", "settings.yaml")
	if r.status != 1 {
		t.Errorf("wrong settings: exit status %d", r.status)
	}
	contains(t, r.stdout, "config.dri: there is no such setting; there are dir, tokens")
	contains(t, x.fail(2, "plugin", "check", "nothing", "--config", "pop.yaml"), `no plugin "nothing"`)
	if r := x.run("", "plugin", "check", "broken", "--config", "pop.yaml"); r.status != 1 {
		t.Errorf("a plugin that does not start: exit status %d", r.status)
	}
}

func TestAPluginThatIsLinkedInIsCheckedWithItsBackend(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.write("people.yaml", `
plugins:
  people:
    linked: oidc
    config:
      issuers:
      - name: staff
        issuer: http://127.0.0.1:1/nobody-listens-here
        audiences: [pop]
        rules: [{match: [{claim: groups, values: [admins]}], global: true, roles: [read]}]
`)
	r := x.run("", "plugin", "check", "people", "--config", "people.yaml")
	if r.status != 1 {
		t.Errorf("exit status %d\n%s%s", r.status, r.stdout, r.stderr)
	}
	contains(t, r.stdout, "check settings", "open [authorizer] and check health", `the keys of issuer "staff" cannot be read`)
}
