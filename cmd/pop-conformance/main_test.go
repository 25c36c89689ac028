package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
	"github.com/pop-platform/pop/plugins/sdk"
)

// flawEnv makes this test binary a plugin with a flaw.
const flawEnv = "POP_CONFORMANCE_FLAW"

type noConfig struct{}

// forgetful is a store that forgets the second of the entries of an index.
type forgetful struct{ driver.Store }

func (s forgetful) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	for _, g := range req.Groups {
		for i := range g {
			g[i].Record.Index = g[i].Record.Index[:min(1, len(g[i].Record.Index))]
		}
	}
	return s.Store.Write(ctx, req)
}

func TestMain(m *testing.M) {
	if job, ok := os.LookupEnv(jobEnv); ok {
		runJob(job)
		return
	}
	if os.Getenv(flawEnv) != "" {
		sdk.Serve(sdk.Plugin[noConfig]{
			Name: "forgetful", Version: "1.0.0",
			Store: func(context.Context, noConfig, *slog.Logger) (driver.Store, error) {
				return forgetful{memdriver.NewStore(memdriver.StoreOptions{})}, nil
			},
		})
	}
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait for disks and for plugins more than they compute
		panic(err)
	}
	os.Exit(m.Run())
}

// build builds a program of this repository.
func build(t *testing.T, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../"+pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// conform runs the command.
func conform(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestTheTemplateIsCertified(t *testing.T) {
	t.Parallel()
	junit := filepath.Join(t.TempDir(), "out.xml")
	status, out, errs := conform(t, build(t, "examples/plugin-template"), "--config", "../../examples/plugin-template/conformance.yaml", "--junit", junit)
	want := len(drivertest.Clauses()["store"]) + 1 // and the model
	if status != 0 || !strings.Contains(out, fmt.Sprintf(": %d clauses hold, 0 fail", want)) {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	text, err := os.ReadFile(junit)
	if err != nil {
		t.Fatal(err)
	}
	var suites junitSuites
	if err := xml.Unmarshal(text, &suites); err != nil || len(suites.Suites) != 1 || suites.Suites[0].Tests != want || suites.Suites[0].Failures != 0 {
		t.Errorf("%v in:\n%s", err, text)
	}
}

func TestLocalIsCertifiedAsAProcess(t *testing.T) {
	t.Parallel()
	const config = `
config: {dir: "${dir}/store", tokens: "${dir}/tokens.yaml"}
files:
  tokens.yaml: |
    tokens:
    - {token: "sha256:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90", subject: alice, customers: [acme], roles: [read]}
authorizer:
  known:
    alice: {headers: {Authorization: Bearer alice}, principal: {subject: alice, customers: [acme], roles: [read]}}
  refused:
    an unknown token: {Authorization: Bearer nobody-has-this}
`
	// The suite runs on it directly in its own package; here it is enough that each kind of driver gets through a process.
	status, out, errs := conform(t, build(t, "cmd/pop-plugin-local"), "--config", write(t, "c.yaml", config), "--clauses", "capabilities|kill|restart|known|refused|lease|Close")
	if status != 0 || !strings.Contains(out, "(store, queue, authorizer)") || !strings.Contains(out, "ok    authorizer") || !strings.Contains(out, "ok    queue") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
}

func TestAFlawIsNamedWithWhatIsWrong(t *testing.T) {
	t.Setenv(flawEnv, "1")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	junit := filepath.Join(t.TempDir(), "out.xml")
	status, out, errs := conform(t, self, "--config", write(t, "c.yaml", "store: {volatile: true}"), "--env", flawEnv,
		"--clauses", "Get returns what|Scan returns whole|Get of no keys", "--junit", junit)
	if status != exitFailed || !strings.Contains(out, "1 clauses hold, 2 fail") || !strings.Contains(out, "-want +got") ||
		!strings.Contains(errs, "Get returns what Put wrote fails") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
	text, err := os.ReadFile(junit)
	var suites junitSuites
	if err != nil || xml.Unmarshal(text, &suites) != nil || suites.Suites[0].Failures != 2 {
		t.Errorf("%v in:\n%s", err, text)
	}
	status, out, errs = conform(t, self, "--env", flawEnv, "--clauses", "Get of no keys",
		"--config", write(t, "c.yaml", "store: {volatile: true, capabilities: {MaxScanLimit: 5}}"))
	if status != 0 {
		t.Errorf("a clause that does not look at capabilities: exit status %d\n%s%s", status, out, errs)
	}
}

func TestWhatCannotBeTestedSaysWhy(t *testing.T) {
	t.Parallel()
	template, local := build(t, "examples/plugin-template"), build(t, "cmd/pop-plugin-local")
	good := "../../examples/plugin-template/conformance.yaml"
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no plugin":               {nil, "name one plugin"},
		"not there":               {[]string{"/no/such/plugin"}, "/no/such/plugin"},
		"a folder":                {[]string{t.TempDir()}, "is no file"},
		"not executable":          {[]string{good}, "chmod +x"},
		"another program":         {[]string{"/bin/echo"}, "is it a plugin"},
		"one that never answers":  {[]string{write(t, "hang", "#!/bin/sh\nexec sleep 300\n")}, "is it a plugin"},
		"no configuration":        {[]string{template}, "dir: it is missing"},
		"a wrong configuration":   {[]string{template, "--config", write(t, "c.yaml", "config: {dir: [1]}")}, "dir: it must be of type string"},
		"a key that there is not": {[]string{template, "--config", write(t, "c.yaml", "confg: {}")}, `unknown field "confg"`},
		"no such file":            {[]string{template, "--config", "/no/such.yaml"}, "/no/such.yaml"},
		"callers are missing":     {[]string{local, "--config", write(t, "c.yaml", "config: {}")}, "whom it knows"},
		"a service that it lacks": {[]string{template, "--services", "queue"}, `serves no "queue", but store`},
		"no clause":               {[]string{template, "--config", good, "--clauses", "nonsense"}, "no clause matches"},
		"no expression":           {[]string{template, "--config", good, "--clauses", "("}, "--clauses"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			status, out, errs := conform(t, tt.args...)
			if status != exitBroken || !strings.Contains(errs, tt.want) {
				t.Errorf("exit status %d after %s, want %q\n%s%s", status, time.Since(start), tt.want, out, errs)
			}
		})
	}
}

func TestTheClausesAreListed(t *testing.T) {
	t.Parallel()
	status, out, _ := conform(t, "--list")
	if n := strings.Count(out, "\n"); status != 0 || n < 100 || !strings.Contains(out, "queue       a stale receipt is ignored") {
		t.Errorf("exit status %d, %d lines\n%s", status, n, out)
	}
}

func TestAStoreIsMeasured(t *testing.T) {
	t.Parallel()
	status, out, errs := conform(t, build(t, "examples/plugin-template"), "--config", "../../examples/plugin-template/conformance.yaml", "--bench", "--benchtime", "1x")
	if status != 0 || !strings.Contains(out, "BenchmarkStore/submit/writers=128") || !strings.Contains(out, "ops/s") {
		t.Errorf("exit status %d\n%s%s", status, out, errs)
	}
}
