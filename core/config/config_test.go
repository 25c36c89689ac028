package config_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/config"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

func TestThePageIsCurrent(t *testing.T) {
	t.Parallel()
	const path = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(path, []byte(config.Docs()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Docs(), string(text)); diff != "" {
		t.Errorf("docs/configuration.md is out of date; run make generate:\n%s", diff)
	}
}

// load loads a configuration from the text of a file.
func load(t *testing.T, text string, env, flags map[string]string) *config.Loaded {
	t.Helper()
	in := config.Input{Getenv: func(name string) string { return env[name] }, Flags: flags, Linked: []string{"oidc"}}
	if text != "" {
		in.File = filepath.Join(t.TempDir(), "pop.yaml")
		if err := os.WriteFile(in.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Load(in)
}

func TestALaterLayerGoesBeforeThoseAboveIt(t *testing.T) {
	t.Parallel()
	file := "server: {addr: '127.0.0.1:1', tokens: file.yaml, data: from-file}"
	tests := map[string]struct {
		file       string
		env, flags map[string]string
		want       map[string]string // the settings that are no defaults
	}{
		"nothing but what is needed": {"", nil, map[string]string{"tokens": "t"}, map[string]string{"server.tokens": "t flag"}},
		"a file": {file, nil, nil, map[string]string{
			"server.addr": "127.0.0.1:1 file", "server.tokens": "file.yaml file", "server.data": "from-file file",
		}},
		"a variable before the file": {file, map[string]string{"POP_DATA": "from-env"}, nil, map[string]string{
			"server.addr": "127.0.0.1:1 file", "server.tokens": "file.yaml file", "server.data": "from-env environment",
		}},
		"a flag before a variable": {file, map[string]string{"POP_DATA": "from-env"}, map[string]string{"data": "from-flag"}, map[string]string{
			"server.addr": "127.0.0.1:1 file", "server.tokens": "file.yaml file", "server.data": "from-flag flag",
		}},
		"an empty variable counts for nothing": {file, map[string]string{"POP_DATA": ""}, nil, map[string]string{
			"server.addr": "127.0.0.1:1 file", "server.tokens": "file.yaml file", "server.data": "from-file file",
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := load(t, tt.file, tt.env, tt.flags)
			if err := l.Err(); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, s := range l.Settings {
				if s.Source != config.Default {
					got[s.Path] = fmt.Sprint(s.Value, " ", s.Source)
				} else if s.Value != s.Default {
					t.Errorf("%s is %q, want the default %q", s.Path, s.Value, s.Default)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEverythingThatIsWrongIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	const file = `
server: {adr: x, addr: 12, logLevel: loud, keepLogs: a week, name: " a", advertise: "10.0.0.7:8080", ownerLease: 10ms}
drivers: {store: fils, queue: [local]}
extra: 1
plugins:
  Files: {path: /bin/files}
  local: {path: /bin/local}
  files:
    path: bin/files
    sha256: abc
    env: [A, A, "B=1"]
    config: {password: "${NO_SUCH}", list: [{secret: "${NOT_THIS}"}]}
  none: {sha: 1, config: [a]}
  both: {linked: oidc, path: /bin/x}
  odd: {linked: ldap}
`
	l := load(t, file, map[string]string{"POP_AUTHORIZER": "ldap"}, map[string]string{"data": ""})
	got := map[string]string{}
	for _, i := range l.Issues {
		if got[i.Path] != "" {
			t.Errorf("%s: two issues", i.Path)
		}
		got[i.Path] = i.Message
	}
	want := map[string]string{
		"server.adr":                          "is not a field; the fields are addr, advertise, data, keepLogs, logLevel, name, ownerLease, tokens",
		"server.addr":                         "must be text, not the number 12; put it in quotes if it is meant as text",
		"server.keepLogs":                     `"a week" is no length of time; an example is 168h`,
		"server.name":                         "\" a\" begins or ends with space; remove it",
		"server.advertise":                    `"10.0.0.7:8080" is no URL of a server; an example is http://10.0.0.7:8080`,
		"server.ownerLease":                   `"10ms" is no length of time from 1s to 1h; an example is 15s`,
		"server.logLevel":                     `must be debug, info, warn or error, not "loud"`,
		"server.data":                         "is empty; name a folder (from the flag --data)",
		"drivers.store":                       `there is no plugin "fils"; there are local (linked in), Files, both, files, local, none, odd`,
		"drivers.queue":                       "must be text, not a list",
		"drivers.authorizer":                  `there is no plugin "ldap"; there are local (linked in), Files, both, files, local, none, odd (from the variable POP_AUTHORIZER)`,
		"extra":                               "is not a field; the fields are drivers, plugins, server",
		"plugins.Files":                       "a plugin is called by a word of lower case letters, digits and dashes, and not local",
		"plugins.local":                       "a plugin is called by a word of lower case letters, digits and dashes, and not local",
		"plugins.files.path":                  `"bin/files" must be absolute, so that it is the same program wherever the server is started`,
		"plugins.files.sha256":                "must be 64 hexadecimal digits, as sha256sum prints them",
		"plugins.files.env[1]":                "A is there twice",
		"plugins.files.env[2]":                `"B=1" is no name of a variable; the value is taken from the server's environment`,
		"plugins.files.config.password":       "the variable NO_SUCH is not set",
		"plugins.files.config.list[0].secret": "the variable NOT_THIS is not set",
		"plugins.none.sha":                    "is not a field; the fields are config, env, linked, path, sha256",
		"plugins.none.path":                   "is missing: name the program",
		"plugins.both.linked":                 "leaves no room for path, sha256 and env: there is no program",
		"plugins.odd.linked":                  `there is no "ldap" in this server; there is oidc`,
		"plugins.none.config":                 "must be an object",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := l.Err(); err == nil || !strings.Contains(err.Error(), l.File) {
		t.Errorf("the error does not name the file: %v", err)
	}
}

func TestAFileThatCannotBeReadIsTheOnlyProblem(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]*config.Loaded{
		"absent":    config.Load(config.Input{File: "/no/such/pop.yaml", Getenv: func(string) string { return "" }}),
		"no YAML":   load(t, "server: [", nil, nil),
		"key twice": load(t, "server: {}\nserver: {}", nil, nil),
	} {
		if len(l.Issues) != 1 || l.Issues[0].Message == "" {
			t.Errorf("%s: %+v", name, l.Issues)
		}
	}
}

func TestTheAuthorizerLocalNeedsTokensAndNoOtherTakesThem(t *testing.T) {
	t.Parallel()
	const file = "drivers: {authorizer: ids}\nplugins: {ids: {path: /bin/ids}}\n"
	for name, tt := range map[string]struct {
		file  string
		flags map[string]string
		want  string
	}{
		"local without": {"", nil, "is missing"},
		"local with":    {"", map[string]string{"tokens": "t"}, ""},
		"plugin with":   {file, map[string]string{"tokens": "t"}, "is for the authorizer local"},
		"plugin":        {file, nil, ""},
	} {
		l := load(t, tt.file, nil, tt.flags)
		if tt.want == "" && len(l.Issues) == 0 {
			continue
		}
		if len(l.Issues) != 1 || l.Issues[0].Path != "server.tokens" || !strings.Contains(l.Issues[0].Message, tt.want) || tt.want == "" {
			t.Errorf("%s: %+v", name, l.Issues)
		}
	}
}

func TestSettingsOfPluginsTakeVariablesAndAreNeverShown(t *testing.T) {
	t.Parallel()
	const file = `
server: {tokens: t}
plugins:
  db: {path: /bin/db, config: {user: pop, password: "${DB_PASSWORD}", text: "costs ${NOTHING}", size: 12345678901234567890, list: ["${DB_PASSWORD}"]}}
`
	l := load(t, file, map[string]string{"DB_PASSWORD": "hush-hush"}, nil)
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	const want = `{"list":["hush-hush"],"password":"hush-hush","size":12345678901234567890,"text":"costs ${NOTHING}","user":"pop"}`
	if got := string([]byte(l.Plugins["db"].Config)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, form := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(form, l.Config); strings.Contains(text, "hush") {
			t.Errorf("%s shows it: %s", form, text)
		}
	}
}
