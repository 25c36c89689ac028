package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
)

// gated is a handler that notes each start and ends once the file go is there.
const gated = `#!/bin/sh
echo "$POP_FENCE $POP_OPERATION" >>"$DIR/starts"
until [ -e "$DIR/go" ]; do sleep 0.02; done
echo '{"done": true}' >"$POP_RESULT_FILE"
`

// gatedSetup writes a handler file for operations of type gated, and an insight that takes them.
func (x *terminal) gatedSetup() (handlers, objects string) {
	x.write("gated.sh", gated)
	handlers = x.write("my-handlers.yaml", fmt.Sprintf(
		"defaults: {grace: 1s, env: {DIR: %q}}\nhandlers:\n  gated: {command: [./gated.sh]}\n  text.count: {command: ['true']}\n", x.dir))
	objects = x.write("gated.yaml", `
kind: Insight
id: gates
title: Gates
customerId: operator
isGlobal: true
resourcePoolId: local
mappers: {operationType: [gated]}
`)
	return handlers, objects
}

func (x *terminal) starts() []string {
	text, err := os.ReadFile(filepath.Join(x.dir, "starts"))
	if err != nil {
		return nil
	}
	// None while it is empty: who has made it may be killed before it writes.
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

const gatedAgenda = `
customerId: acme
operations:
- {name: first, type: text.count}
- {name: second, type: gated, params: {dependsOn: first}}
`

func TestG31_DevSaysFirstThatAuthenticationIsOffAndRunsTheSamples(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	d := x.dev()
	contains(t, d.first, "Authentication is OFF", "http://127.0.0.1:", "only this machine can reach it")

	out := x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--link", "l", "--watch")
	contains(t, out, "operation count: succeeded", "operation publish: succeeded", ": succeeded in ")
	contains(t, x.do("link", "l"), "l: succeeded, 100%, agendas: 1")
	if status := d.stop(); status != 0 {
		t.Errorf("exit status %d after SIGTERM\n%s", status, d.log)
	}
	if log := d.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") {
		t.Errorf("an undisturbed run complained:\n%s", log)
	}
}

func TestDevOnlySaysToTryWhatWorks(t *testing.T) {
	t.Parallel()
	const sample, last = "agenda submit --template words", "Reference of the API"
	x := newTerminal(t)
	said := func(args ...string) string {
		d := x.dev(args...)
		eventually(t, "all is said", func() bool { return strings.Contains(d.said.String(), last) })
		d.stop()
		return d.said.String()
	}
	contains(t, said(), sample, "doctor --handlers .pop/handlers.yaml")
	mine := x.write("mine.yaml", "handlers: {text.count: {command: ['true']}}\n")
	own := said("--handlers", mine)
	contains(t, own, "mine.yaml has no handlers of its operation types text.publish, text.report, text.upper")
	for name, text := range map[string]string{"with other handlers": own, "without samples": said("--data", "empty", "--no-samples")} {
		if strings.Contains(text, sample) {
			t.Errorf("%s it says to try the sample:\n%s", name, text)
		}
	}
}

func TestDevLogsOperationTypesWithoutAHandler(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	d := x.dev("--handlers", x.write("mine.yaml", "handlers: {}\n"))
	for range 2 {
		x.await(x.submit("customerId: acme\noperations: [{name: a, type: text.count}]\n"), model.Complete)
	}
	if log := d.log.String(); strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "type=text.count") {
		t.Errorf("logged:\n%s", log)
	}
}

func TestDevGoesOnAfterItWasKilled(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	handlers, objects := x.gatedSetup()
	d := x.dev("--handlers", handlers)
	x.do("apply", "-f", objects)
	id := x.submit(gatedAgenda)
	eventually(t, "the second operation runs", func() bool { return len(x.starts()) == 1 })

	// That the first operation has succeeded is reported a moment later.
	c := x.client()
	eventually(t, "the first operation is reported", func() bool {
		op, err := c.OperationProgress(t.Context(), model.OperationProgressID(id, "first"))
		return err == nil && op.Outcome == model.Succeeded
	})
	watching := x.command(t.Context(), "agenda", "watch", id)
	if err := watching.Start(); err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(d.url, "http://")
	d.kill()
	killed := time.Now()
	d = x.dev("--handlers", handlers, "--addr", addr)
	eventually(t, "the second operation runs again", func() bool { return len(x.starts()) == 2 })
	// A heartbeat has been sent in the last third of the lease.
	if took := time.Since(killed); took > engine.DefaultLease*2/3 {
		t.Errorf("it took %s: the lease of the killed process was waited for", took)
	}
	x.write("go", "")
	p := x.await(id, model.Complete)
	if p.Outcome != model.Succeeded || p.AttemptsCompleted != 2 {
		t.Errorf("got %s after %d attempts: %s", p.Outcome, p.AttemptsCompleted, p.Message)
	}
	if err := watching.Wait(); err != nil {
		t.Errorf("who watched all the while was told: %v", err)
	}
	if got, want := x.starts(), []string{"1 second", "2 second"}; strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("fences and operations that were started: %v, want %v", got, want)
	}
	if first := p.Operations[0]; first.AttemptCount != 1 {
		t.Errorf("the operation that had succeeded was run %d times", first.AttemptCount)
	}
	if log := d.log.String(); !strings.Contains(log, "agenda reclaimed") {
		t.Errorf("the agenda of the killed process was not taken from it:\n%s", log)
	}
}

func TestASecondProcessOnTheSameDataFolderIsRefused(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	d := x.dev("--data", "data")
	for _, args := range [][]string{
		{"dev", "--addr", "127.0.0.1:0", "--data", "data"},
		{"serve", "--addr", "127.0.0.1:0", "--data", "data", "--tokens", x.write("tokens.yaml", "tokens: []\n")},
	} {
		said := x.fail(1, args...)
		contains(t, said, filepath.Join(x.dir, "data"), fmt.Sprintf("in use by process %d", d.cmd.Process.Pid), "use another data folder")
	}
	contains(t, x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--watch"), "succeeded in")
}

func TestAnAddressThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	addr := strings.TrimPrefix(x.dev("--data", "a").url, "http://")
	contains(t, x.fail(1, "dev", "--data", "b", "--addr", addr), addr, "in use", "--addr")
}

func TestWhatKeepsAStartFromSucceedingIsNamedWithTheFlagThatMendsIt(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	taken := strings.TrimPrefix(x.dev().url, "http://")
	good, bad := x.write("good.yaml", "handlers: {}\n"), x.write("bad.yaml", "handlers: [")
	for _, tt := range []struct {
		args []string
		says []string
	}{
		{[]string{"dev", "--data", "other", "--addr", "127.0.0.1:0", "--handlers", "nowhere.yaml"}, []string{"nowhere.yaml", "no such file", "--handlers"}},
		{[]string{"pull", "--insight", "i", "--handlers", "nowhere.yaml"}, []string{"nowhere.yaml", "no such file", "--handlers"}},
		{[]string{"pull", "--insight", "i", "--handlers", bad}, []string{bad, "line 1"}},
		{[]string{"pull", "--insight", "i", "--handlers", good, "--work", good}, []string{good, "not a directory", "--work"}},
		{[]string{"pull", "--insight", "i", "--handlers", good, "--work", "w", "--health", taken}, []string{taken, "in use", "--health"}},
		{[]string{"pull", "--insight", "i", "--handlers", good, "--work", "w", "--health", "nonsense"}, []string{"nonsense", "missing port", "such as", "--health"}},
		{[]string{"serve", "--addr", "127.0.0.1:0", "--tokens", "nowhere.yaml", "--data", "other"}, []string{"nowhere.yaml", "no such file", "--tokens"}},
	} {
		said := x.fail(1, tt.args...)
		contains(t, said, tt.says...)
		if strings.Contains(said, "listening") || strings.Count(said, "nowhere.yaml") > 1 {
			t.Errorf("%q says %q", tt.args, said)
		}
	}
}

func TestDevListensOnlyWhereThisMachineCanReachItUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "10.0.0.1:8080", "example.com:80"} {
		contains(t, x.fail(2, "dev", "--addr", addr), "authentication is off", "--insecure-listen")
	}
	if x.exists(".pop") {
		t.Error("a refused start left a data folder")
	}
	d := x.dev("--addr", "0.0.0.0:0", "--insecure-listen")
	contains(t, d.first, "Authentication is OFF", "WHOEVER CAN REACH IT")
}

func TestSIGTERMLetsAgendasEndThatDoSoSoonAndHandsBackTheOthers(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	handlers, objects := x.gatedSetup()
	d := x.dev("--handlers", handlers)
	x.do("apply", "-f", objects)
	id := x.submit(gatedAgenda)
	eventually(t, "it runs", func() bool { return len(x.starts()) == 1 })

	d.signal(syscall.SIGTERM)
	eventually(t, "it says that it stops", func() bool { return strings.Contains(d.log.String(), "stopping") })
	if p, _, err := x.client().Progress(t.Context(), id); err != nil || p.State != model.Executing {
		t.Errorf("while draining the agenda is %s, error %v", p.State, err)
	}
	x.write("go", "")
	d.wait()
	if status := d.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.log)
	}
	if err := os.Remove(filepath.Join(x.dir, "go")); err != nil {
		t.Fatal(err)
	}
	d = x.dev("--handlers", handlers)
	if p := x.await(id, model.Complete); p.Outcome != model.Succeeded || p.AttemptsCompleted != 1 {
		t.Errorf("the agenda that ended while draining is %s after %d attempts", p.Outcome, p.AttemptsCompleted)
	}

	// One that does not end is stopped and handed back, which costs it no attempt.
	id = x.submit(gatedAgenda)
	eventually(t, "it runs", func() bool { return len(x.starts()) == 2 })
	if status := d.stop(); status != 0 {
		t.Errorf("exit status %d\n%s", status, d.log)
	}
	x.write("go", "")
	x.dev("--handlers", handlers)
	if p := x.await(id, model.Complete); p.Outcome != model.Succeeded || p.AttemptsCompleted != 1 {
		t.Errorf("the agenda that was handed back is %s after %d attempts: %s", p.Outcome, p.AttemptsCompleted, p.Message)
	}
}

func TestASecondSignalEndsDevAtOnce(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	handlers, objects := x.gatedSetup()
	d := x.dev("--handlers", handlers)
	x.do("apply", "-f", objects)
	x.submit(gatedAgenda)
	eventually(t, "it runs", func() bool { return len(x.starts()) == 1 })
	d.signal(os.Interrupt)
	eventually(t, "it says that it stops", func() bool { return strings.Contains(d.log.String(), "stopping") })
	d.signal(os.Interrupt)
	d.wait()
	if ws, ok := d.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
		t.Errorf("it ended by itself with %v, rather than by the second signal", d.cmd.ProcessState)
	}
}

func TestAnInsightThatComesLaterIsPulledForAsWell(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	handlers, objects := x.gatedSetup()
	x.write("go", "")
	x.dev("--handlers", handlers)
	contains(t, x.fail(1, "agenda", "submit", x.write("a.yaml", "customerId: acme\noperations: [{name: a, type: gated}]\n")), "no insight", "gated")
	x.do("apply", "-f", objects)
	x.do("agenda", "submit", "a.yaml", "--watch")
}

func TestWhatAUserHasMadeOfTheSamplesSurvivesARestart(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	d := x.dev()
	x.do("customer", "put", "-f", x.write("c.yaml", "id: acme\ntitle: Acme and Sons\nresourcePoolId: local\n"))
	handlers := filepath.Join(x.dir, ".pop", "handlers.yaml")
	own := []byte("handlers: {mine: {command: ['true']}}\n")
	if err := os.WriteFile(handlers, own, 0o600); err != nil {
		t.Fatal(err)
	}
	d.kill()
	x.dev()
	contains(t, x.do("customer", "get", "acme"), "Acme and Sons")
	if got, err := os.ReadFile(handlers); err != nil || !bytes.Equal(got, own) {
		t.Errorf("the handlers are now %q, error %v", got, err)
	}
}

func TestWithoutSamplesThereIsNothing(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev("--no-samples")
	for _, noun := range []string{"customer", "pool", "insight", "template"} {
		if out := x.do(noun, "list", "-o", "json"); out != "[]\n" {
			t.Errorf("%s list: %s", noun, out)
		}
	}
	if !x.exists(".pop/handlers.yaml") {
		t.Error("there is no file to name handlers in")
	}
}

func TestAPageOfTheWebCannotReachDevByANameOfItsOwn(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	d := x.dev()
	for host, want := range map[string]int{"localhost:8080": http.StatusOK, "[::1]": http.StatusOK, "evil.example:8080": http.StatusForbidden, "127.0.0.1.evil.example": http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, d.url+"/v1/insights", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a request to %s is answered with %s", host, resp.Status)
		}
	}
}
