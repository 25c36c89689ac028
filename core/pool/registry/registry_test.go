package registry

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

func TestParseFillsAnEntryFromTheDefaults(t *testing.T) {
	t.Parallel()
	set, err := Parse("/etc/pop", []byte(`
defaults:
  timeout: 5m
  passEnv: [HOME]
  env: {A: default, B: default}
  limits: {memory: 512MiB, openFiles: 64}
  secrets: {KEY: {env: KEY}, COMMON: {file: /run/common}}
handlers:
  bare: {command: [run]}
  full:
    command: [./tools/run.sh, --fast]
    env: {B: own, C: own}
    passEnv: [LANG]
    timeout: 90s
    grace: 1s
    workDir: data
    limits: {memory: 2 GiB, cpu: 90s, fileSize: 1TiB}
    secrets: {KEY: {file: keys/own}}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Handler{
		"bare": {
			Command: []string{"run"}, Env: map[string]string{"A": "default", "B": "default"}, PassEnv: []string{"HOME"},
			Timeout: 5 * time.Minute, Grace: DefaultGrace, Limits: Limits{Memory: 512 << 20, OpenFiles: 64},
			Secrets: map[string]Source{"KEY": {Env: "KEY"}, "COMMON": {File: "/run/common"}},
		},
		"full": {
			Command: []string{"/etc/pop/tools/run.sh", "--fast"},
			Env:     map[string]string{"A": "default", "B": "own", "C": "own"}, PassEnv: []string{"HOME", "LANG"},
			Timeout: 90 * time.Second, Grace: time.Second, WorkDir: "/etc/pop/data",
			Limits:  Limits{Memory: 2 << 30, CPU: 90 * time.Second, OpenFiles: 64, FileSize: 1 << 40},
			Secrets: map[string]Source{"KEY": {File: "/etc/pop/keys/own"}, "COMMON": {File: "/run/common"}},
		},
	}
	for _, name := range set.Types() {
		got, err := set.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want[name], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if diff := cmp.Diff([]string{"bare", "full"}, set.Types()); diff != "" {
		t.Error(diff)
	}
}

func TestParseReadsJSON(t *testing.T) {
	t.Parallel()
	set, err := Parse("/", []byte(`{"handlers": {"x": {"command": ["a"]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if h, err := set.Lookup("x"); err != nil || h.Timeout != DefaultTimeout {
		t.Errorf("Lookup = %+v, %v; want the default timeout", h, err)
	}
}

func TestG26_BadEntriesSpoilOnlyThemselves(t *testing.T) {
	t.Parallel()
	set, err := Parse("/", []byte(`
handlers:
  good: {command: [ok]}
  typo: {comand: [x], timeout: 0s}
  none: {}
  text: {command: ls -l}
  blank: {command: []}
  time: {command: [x], timeout: 5, grace: soon}
  env: {command: [x], env: {POP_TOKEN: x, "A-B": v}, passEnv: [POP_HOME, ""]}
  "null":
  "no": 3
  bool: {command: [x], env: {FAST: yes}}
  limit: {command: [x], limits: {memory: 1000m, cpu: 0s, openFiles: 3, disk: 1GiB}}
  secret: {command: [x], secrets: {A: {}, B: {file: x, env: VAR}, C: {env: "1"}, "../D": {env: D}, E: plain}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, issue := range set.Issues() {
		got = append(got, issue.Path+" "+issue.Message)
	}
	want := []string{
		`handlers["blank"].command must name a program`,
		`handlers["bool"].env must be an object of strings; quote numbers and words such as yes`,
		`handlers["env"].env "A-B" is not the name of a variable`,
		`handlers["env"].env POP_TOKEN: names that begin with POP_ are POP's own`,
		`handlers["env"].passEnv[0] POP_HOME: names that begin with POP_ are POP's own`,
		`handlers["env"].passEnv[1] "" is not the name of a variable`,
		`handlers["limit"].limits.cpu must be a duration above zero such as 90s or 5m, not "0s"`,
		`handlers["limit"].limits.disk is unknown; known are cpu, fileSize, memory, openFiles`,
		`handlers["limit"].limits.memory must be a size such as 512MiB or 2GiB, not "1000m"`,
		`handlers["limit"].limits.openFiles must be at least 16: a shell that starts needs as many`,
		`handlers["no"] must be an object`,
		`handlers["none"].command is required: the program and its arguments`,
		`handlers["null"] must be an object`,
		`handlers["secret"].secrets "../D" cannot name a secret; use letters, digits and underscores`,
		`handlers["secret"].secrets.A must have either a file or an env`,
		`handlers["secret"].secrets.B must have either a file or an env`,
		`handlers["secret"].secrets.C.env "1" is not the name of a variable`,
		`handlers["secret"].secrets.E must be an object`,
		`handlers["text"].command must be a list: the program and its arguments`,
		`handlers["time"].grace must be a duration above zero such as 90s or 5m, not "soon"`,
		`handlers["time"].timeout must be a duration such as 90s or 5m`,
		`handlers["typo"].comand is unknown; known are command, env, grace, limits, passEnv, secrets, timeout, workDir`,
		`handlers["typo"].timeout must be a duration above zero such as 90s or 5m, not "0s"`,
		`handlers["typo"].command is required: the program and its arguments`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("issues (-want +got):\n%s", diff)
	}
	if _, err := set.Lookup("good"); err != nil {
		t.Errorf("the good entry is spoilt: %v", err)
	}
	if _, err := set.Lookup("typo"); model.KindOf(err) != model.Invalid || !strings.Contains(err.Error(), "comand") {
		t.Errorf("Lookup of a bad entry = %v; want its problems", err)
	}
	if _, err := set.Lookup("other"); model.KindOf(err) != model.NotFound || !strings.Contains(err.Error(), `"other"`) {
		t.Errorf("Lookup of an unknown type = %v; want one that names it", err)
	}
}

func TestParseRefusesAFileThatIsWrongAsAWhole(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, want string }{
		"not YAML":          {"handlers: [", "yaml"},
		"empty":             {"", "must be an object"},
		"unknown key":       {"handler: {}", "handler: is unknown"},
		"handlers a list":   {"handlers: []", "handlers: must be an object"},
		"a type twice":      {"handlers: {a: {command: [x]}, a: {command: [other]}}", "already"},
		"bad defaults":      {"defaults: {timeout: -1s}", "defaults.timeout: must be a duration above zero"},
		"a default command": {"defaults: {command: [x]}", "defaults.command: each handler names its own command"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Parse("/", []byte(tc.file))
			if model.KindOf(err) != model.Malformed || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse = %v; want Malformed with %q", err, tc.want)
			}
		})
	}
}

func TestG26_RunReadsAChangedFileAndKeepsTheOldOneIfTheNewOneIsBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "handlers.yaml")
		replace(t, path, `handlers: {a: {command: [x]}}`)
		var logged strings.Builder
		r, err := Open(path, slog.New(slog.NewTextHandler(&logged, nil)))
		if err != nil {
			t.Fatal(err)
		}
		go r.Run(t.Context())

		look := func(text string, want ...string) {
			t.Helper()
			if text != "" {
				replace(t, path, text)
			}
			<-time.After(2 * pollInterval)
			synctest.Wait()
			if diff := cmp.Diff(want, r.Types()); diff != "" {
				t.Errorf("types after %q (-want +got):\n%s", text, diff)
			}
		}
		look("", "a")
		look(`handlers: {a: {command: [x]}, b: {command: [other]}}`, "a", "b")
		look(`handlers: {broken`, "a", "b")
		if !strings.Contains(logged.String(), "the one before stays in use") {
			t.Errorf("a broken file is not logged:\n%s", logged.String())
		}
		look(`handlers: {c: {command: [z]}}`, "c")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		look("", "c")
		look(`handlers: {a: {command: [x]}, d: {}}`, "a")
		if issues := r.Issues(); len(issues) != 1 || !strings.Contains(logged.String(), `handlers[\"d\"].command`) {
			t.Errorf("issues = %v and the log:\n%s\nwant the problem of d in both", issues, logged.String())
		}
	})
}

func TestOpenSaysWhichFileIsMissing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "absent.yaml")
	if _, err := Open(path, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Open = %v; want an error that names %s", err, path)
	}
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestATypeThatWasJustAddedIsFoundWithoutWaitingForTheNextLook(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "handlers.yaml")
	write := func(content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("handlers: {first: {command: [sh]}}")
	r, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lookup("second"); err == nil {
		t.Fatal("a type that is not there was found")
	}
	write("handlers: {first: {command: [sh]}, second: {command: [sh]}}")
	if _, err := r.Lookup("second"); err != nil {
		t.Error(err)
	}
}
