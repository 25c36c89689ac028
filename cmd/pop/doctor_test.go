package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pop-platform/pop/cmd/internal/addrtest"
	"github.com/pop-platform/pop/cmd/pop/internal/doctor"
)

// diagnose runs pop doctor and returns its findings by check, the worst of each, and its exit status.
func (x *terminal) diagnose(args ...string) (map[string]doctor.Finding, int) {
	x.t.Helper()
	r := x.run("", append([]string{"doctor", "-o", "json"}, args...)...)
	var findings []doctor.Finding
	if err := json.Unmarshal([]byte(r.stdout), &findings); err != nil {
		x.t.Fatalf("%v in %s%s", err, r.stdout, r.stderr)
	}
	worst := map[string]doctor.Finding{}
	for _, f := range findings {
		if f.Level != doctor.OK && f.Remedy == "" {
			x.t.Errorf("no remedy for %+v", f)
		}
		if before, ok := worst[f.Check]; !ok || before.Level == doctor.OK || f.Level == doctor.Fail {
			worst[f.Check] = f
		}
	}
	return worst, r.status
}

func TestDoctorFindsNothingWrongWithDev(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	findings, status := x.diagnose("--data", ".pop")
	for _, check := range []string{"server", "version", "ready", "clock", "authentication", "insights", "owners", "data folder", "disk space", "store", "handlers", "operation types"} {
		f, ok := findings[check]
		if !ok || f.Level == doctor.Fail || f.Level == doctor.Warn && check != "disk space" {
			t.Errorf("%s: %+v", check, f)
		}
	}
	if status != 0 {
		t.Errorf("exit status %d", status)
	}
	contains(t, x.do("doctor"), "ok", "CHECK", "FINDING AND REMEDY")
}

func TestDoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	handlers := x.write("bad.yaml", `handlers:
  missing: {command: [./nowhere.sh]}
  unknown: {command: [no-such-program-anywhere]}
  misspelt: {comand: [x]}
  lost: {command: ['true'], workDir: /no/such/folder}
`)
	file := x.write("a-file", "")
	x.env = append(x.env, "POP_SERVER=http://"+addrtest.Free(t))
	findings, status := x.diagnose("--data", file, "--handlers", handlers)
	if status != 1 {
		t.Errorf("exit status %d", status)
	}
	for _, check := range []string{"server", "data folder", "handlers"} {
		if findings[check].Level != doctor.Fail {
			t.Errorf("%s: %+v", check, findings[check])
		}
	}
	said := x.run("", "doctor", "--handlers", handlers).stdout
	contains(t, said, "nowhere.sh", "no-such-program-anywhere", "misspelt", "/no/such/folder", "pop dev")
}

func TestDoctorTellsOfOperationTypesWithoutAHandler(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	x.gatedSetup()
	x.do("apply", "-f", "gated.yaml")
	findings, status := x.diagnose("--data", ".pop")
	f := findings["operation types"]
	if f.Level != doctor.Warn || status != 0 {
		t.Errorf("%+v, exit status %d", f, status)
	}
	contains(t, f.Detail, "no handler of type gated", "insight gates")
	findings, _ = x.diagnose("--handlers", x.write("all.yaml",
		"handlers: {gated: {command: ['true']}, text.count: {command: ['true']}, text.upper: {command: ['true']}, text.report: {command: ['true']}, text.publish: {command: ['true']}, text.split: {command: ['true']}}\n"))
	if f := findings["operation types"]; f.Level != doctor.OK {
		t.Errorf("with all handlers: %+v", f)
	}
}

func TestDoctorTellsWhenTheClocksDisagreeAndWhenATokenIsMissing(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/version":
			_, _ = fmt.Fprint(w, `{"version": "9.9.9", "go": "go1"}`)
		case "/readyz":
			_, _ = fmt.Fprint(w, `{"status": "ready"}`)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	findings, status := x.diagnose("--server", server.URL)
	if f := findings["clock"]; f.Level != doctor.Warn {
		t.Errorf("clock: %+v", f)
	}
	if f := findings["version"]; f.Level != doctor.Warn {
		t.Errorf("version: %+v", f)
	}
	if f := findings["authentication"]; f.Level != doctor.Fail || status != 1 {
		t.Errorf("authentication: %+v, exit status %d", f, status)
	}
}

func TestDoctorChangesNothing(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.run("", "doctor", "--data", "new")
	if x.exists("new") {
		t.Error("doctor made a data folder")
	}
	d := x.dev()
	d.stop()
	damaged, err := filepath.Glob(filepath.Join(x.dir, ".pop", "store", "MANIFEST-*"))
	if err != nil || len(damaged) == 0 {
		t.Fatal("no manifest", err)
	}
	for _, file := range damaged {
		if err := os.WriteFile(file, []byte("nonsense"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	findings, status := x.diagnose("--data", ".pop")
	if f := findings["store"]; f.Level != doctor.Fail || status != 1 {
		t.Errorf("a damaged store: %+v, exit status %d", f, status)
	}
}
