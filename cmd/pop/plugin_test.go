package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pop-platform/pop/cmd/internal/addrtest"
	"github.com/pop-platform/pop/cmd/pop/internal/doctor"
)

// buildPlugin builds a plugin of this repository and returns its path.
func buildPlugin(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../"+pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// pluginPID returns the process of the plugin that was last ready, as a server's log tells.
func pluginPID(t *testing.T, d *daemon) int {
	t.Helper()
	found := regexp.MustCompile(`the plugin is ready.* pid=(\d+)`).FindAllStringSubmatch(d.log.String(), -1)
	if len(found) == 0 {
		t.Fatalf("no plugin is ready:\n%s", d.log)
	}
	pid, err := strconv.Atoi(found[len(found)-1][1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

func TestAServerRunsOnThePluginsOfItsConfiguration(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	made := x.run("", "token", "--subject", "admin", "--global", "--role", "read,submit,operate,pull")
	token := strings.TrimSpace(made.stdout)
	addr := addrtest.Free(t)
	file := x.write("pop.yaml", fmt.Sprintf(`
server: {addr: 127.0.0.1:1, data: srv}
drivers: {store: disk, queue: disk, authorizer: disk}
plugins:
  disk:
    path: %s
    config: {dir: "${STORE_DIR}", tokens: %s}
`, buildPlugin(t, "cmd/pop-plugin-local"), x.write("tokens.yaml", "tokens:\n"+made.stderr)))
	x.env = append(x.env, "STORE_DIR="+filepath.Join(x.dir, "records"), "POP_SERVER=http://"+addr, "POP_TOKEN="+token)

	serving := x.background("serve", "--config", file, "--addr", addr)
	c := x.client()
	eventually(t, "the server is ready", func() bool { return c.Ready(t.Context()) == nil })
	x.do("apply", "-f", quickstart+"/objects")
	x.background("pull", "--insight", "text", "--handlers", quickstart+"/handlers.yaml", "--session", "w", "--work", x.dir+"/work")
	contains(t, x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--watch"), "succeeded in")
	if !x.exists("records/CURRENT") && !x.exists("records/PID") {
		t.Error("the records are not where the plugin was told to keep them")
	}
	if x.exists("srv/store") {
		t.Error("the server has opened a store of its own")
	}

	first := pluginPID(t, serving)
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the plugin is started again", func() bool { return pluginPID(t, serving) != first })
	contains(t, x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--link", "again", "--watch"), "succeeded in")

	second := pluginPID(t, serving)
	serving.signal(syscall.SIGHUP)
	eventually(t, "the plugin is replaced", func() bool { return pluginPID(t, serving) != second && gone(second) })
	contains(t, x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--watch"), "succeeded in")
	third := pluginPID(t, serving)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	x.write("pop.yaml", strings.Replace(string(text), "dir:", "folder:", 1))
	serving.signal(syscall.SIGHUP)
	eventually(t, "what is wrong is logged", func() bool { return strings.Contains(serving.log.String(), "plugins.disk.config.folder") })
	x.write("pop.yaml", string(text))
	contains(t, x.do("link", "again"), "succeeded")
	if pid := pluginPID(t, serving); pid != third {
		t.Errorf("process %d was replaced by %d for settings that it does not take", third, pid)
	}

	last := pluginPID(t, serving)
	if status := serving.stop(); status != 0 {
		t.Errorf("the server exits with %d\n%s", status, serving.log)
	}
	eventually(t, "no plugin is left", func() bool { return gone(last) })

	serving = x.background("serve", "--config", file, "--addr", addr)
	eventually(t, "the server is ready again", func() bool { return c.Ready(t.Context()) == nil })
	contains(t, x.do("link", "again"), "succeeded")
	last = pluginPID(t, serving)
	serving.kill()
	eventually(t, "no plugin is left of a server that was killed", func() bool { return gone(last) })
}

func TestAHangupDuringTheStartOfAServerIsSeenToAfterwards(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	begun, goOn := filepath.Join(x.dir, "begun"), filepath.Join(x.dir, "go-on")
	slow := x.write("slow", fmt.Sprintf("#!/bin/sh\n: >%s\nuntil [ -e %s ]; do /bin/sleep 0.02; done\nexec %s\n", begun, goOn, buildPlugin(t, "cmd/pop-plugin-local")))
	addr := addrtest.Free(t)
	config := x.write("pop.yaml", fmt.Sprintf("server: {addr: '%s', data: srv, tokens: %s}\ndrivers: {store: slow}\nplugins: {slow: {path: %s, config: {dir: %s}}}\n",
		addr, x.write("tokens.yaml", "tokens: []\n"), slow, filepath.Join(x.dir, "records")))
	serving := x.background("serve", "--config", config)
	eventually(t, "the plugin is starting", func() bool { return x.exists("begun") })
	serving.signal(syscall.SIGHUP)
	x.write("go-on", "")
	eventually(t, "the plugin is replaced once it is there", func() bool { return strings.Count(serving.log.String(), "the plugin is ready") == 2 })
	if status := serving.stop(); status != 0 {
		t.Errorf("the server exits with %d\n%s", status, serving.log)
	}
}

func TestTheWholeJobRunsOnAPlugin(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	file := x.write("pop.yaml", fmt.Sprintf("drivers: {store: disk, queue: disk}\nplugins: {disk: {path: %s, config: {dir: records}}}\n",
		buildPlugin(t, "cmd/pop-plugin-local")))
	d := x.dev("--config", file)
	contains(t, d.first, "Authentication is OFF")
	contains(t, x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--watch"), "succeeded in")
	if x.exists(".pop/store") || !x.exists("records") {
		t.Error("the records are not with the plugin")
	}
	if status := d.stop(); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.log)
	}
}

func TestAConfigurationIsValidatedWithoutStartingAnything(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	plugin := buildPlugin(t, "cmd/pop-plugin-local")
	write := func(text string, args ...any) string { return x.write("pop.yaml", fmt.Sprintf(text, args...)) }

	good := write("server: {addr: 127.0.0.1:1}\ndrivers: {store: disk}\nplugins:\n  disk: {path: %s, config: {dir: %s}}\n  spare: {linked: oidc}", plugin, x.dir)
	x.env = append(x.env, "POP_TOKENS=t.yaml")
	contains(t, x.do("config", "validate", "--config", good, "--log-level", "warn"),
		"127.0.0.1:1", "file", "t.yaml", "environment", "warn", "flag", ".pop", "default", "spare", "(not used)")
	if entries, err := os.ReadDir(x.dir); err != nil || len(entries) != 1 {
		t.Errorf("validating has left %v, %v", entries, err)
	}
	said := x.fail(1, "config", "validate", "--config", write("server: {port: 1}\ndrivers: {store: disc}\nplugins: {disk: {path: x}}"))
	contains(t, said, "pop.yaml", "server.port: ", "drivers.store: ", "plugins.disk.path: ")

	wrong, status := x.diagnose("--config", "pop.yaml")
	if f := wrong["configuration"]; status != 1 || f.Level != doctor.Fail {
		t.Errorf("pop doctor: exit status %d, %+v", status, f)
	}

	secret := "drivers: {store: disk}\nplugins: {disk: {path: %s, config: {dir: [hush], password: hush-hush}}}"
	for _, command := range [][]string{{"config", "validate"}, {"serve"}} {
		said = x.fail(1, append(command, "--config", write(secret, plugin))...)
		contains(t, said, "plugins.disk.config.password: ", "plugins.disk.config.dir: ")
		if strings.Contains(said, "hush") {
			t.Errorf("a setting of a plugin is shown:\n%s", said)
		}
	}
	said = x.fail(1, "config", "validate", "--config", write("drivers: {store: disk}\nplugins: {disk: {path: /bin/true}}"))
	contains(t, said, "plugins.disk: ", "/bin/true")
	said = x.fail(1, "config", "validate", "--config", write("drivers: {authorizer: ids}\nplugins: {ids: {linked: oidc, config: {issuers: [{name: A}]}}}"), "--tokens", "")
	contains(t, said, "plugins.ids.config.issuers")

	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil || x.do("config", "docs") != string(page) {
		t.Errorf("pop config docs does not print docs/configuration.md (%v)", err)
	}
}
