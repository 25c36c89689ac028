package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pop-platform/pop/cmd/internal/addrtest"
	"github.com/pop-platform/pop/core/model"
)

func hash(token string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(token))) }

// background starts a command that runs until it is told to stop.
func (x *terminal) background(args ...string) *daemon {
	x.t.Helper()
	d := &daemon{t: x.t, log: &syncBuffer{}, ended: make(chan struct{})}
	d.cmd = x.command(context.Background(), args...)
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	x.t.Cleanup(func() {
		d.kill()
		if x.t.Failed() {
			x.t.Logf("pop %s:\n%s", strings.Join(args, " "), d.log)
		}
	})
	return d
}

// fetch returns the status and the body of an answer; 0 if there is none.
func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestG32_AServerAndAPullerApartRunAgendasOfThoseWhoHaveATokenForIt(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	tokens := x.write("tokens.yaml", fmt.Sprintf(`tokens:
- {token: %q, subject: admin, global: true, roles: [read, submit, operate, pull]}
- {token: %q, subject: alice, customers: [acme], roles: [read, submit]}
- {token: %q, subject: bob, customers: [globex], roles: [read, submit]}
- {token: %q, subject: worker, global: true, roles: [pull]}
`, hash("admin-token"), hash("alice-token"), hash("bob-token"), hash("worker-token")))
	addr := addrtest.Free(t)
	env := x.env
	as := func(token string) *terminal {
		return &terminal{t: t, dir: x.dir, env: append(append([]string{}, env...), "POP_SERVER=http://"+addr, "POP_TOKEN="+token)}
	}
	admin, alice, bob, worker, nobody := as("admin-token"), as("alice-token"), as("bob-token"), as("worker-token"), as("")

	// Flags of serve come from the environment as well.
	server := &terminal{t: t, dir: x.dir, env: append(append([]string{}, env...), "POP_ADDR="+addr, "POP_DATA=srv", "POP_TOKENS="+tokens)}
	serving := server.background("serve")
	c := admin.client()
	eventually(t, "the server is ready", func() bool { return c.Ready(t.Context()) == nil })

	contains(t, nobody.fail(1, "agenda", "list"), "--token", "POP_TOKEN")
	contains(t, as("wrong").fail(1, "agenda", "list"), "token")
	contains(t, alice.fail(1, "apply", "-f", quickstart+"/objects"), "operate")
	admin.do("apply", "-f", quickstart+"/objects")

	health := addrtest.Free(t)
	puller := worker.background("pull", "--insight", "text", "--insight", "urgent", "--handlers", quickstart+"/handlers.yaml",
		"--session", "w1", "--work", x.dir+"/work", "--slots", "4", "--health", health)
	eventually(t, "the puller is ready", func() bool { status, _ := fetch(t, "http://"+health+"/readyz"); return status == http.StatusOK })
	contains(t, alice.do("agenda", "submit", "--template", "words", "--customer", "acme", "--link", "l", "--watch"), "succeeded in")
	contains(t, alice.fail(1, "agenda", "submit", "--template", "words", "--customer", "globex"), "globex")
	contains(t, bob.fail(1, "link", "l"), `"l"`) // invisible equals absent

	// A killed puller's agenda is run again by the next one of the same name.
	handlers, objects := x.gatedSetup()
	admin.do("apply", "-f", objects)
	_, metrics := fetch(t, "http://"+health+"/metrics")
	contains(t, metrics, "pop_puller_ready 1\n", `pop_puller_ended_agendas_total{outcome="succeeded"} 1`)
	puller.stop()
	contains(t, puller.log.String(), "session opened")
	pull := func() *daemon {
		return worker.background("pull", "--insight", "gates", "--handlers", handlers, "--session", "w2", "--work", x.dir+"/work2")
	}
	puller = pull()
	id := alice.submit(gatedAgenda)
	eventually(t, "it runs", func() bool { return len(x.starts()) == 1 })
	puller.kill()
	pull()
	eventually(t, "it runs again", func() bool { return len(x.starts()) == 2 })
	x.write("go", "")
	if p := alice.await(id, model.Complete); p.Outcome != model.Succeeded {
		t.Errorf("got %s: %s", p.Outcome, p.Message)
	}

	serving.signal(syscall.SIGTERM)
	serving.wait()
	if status := serving.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("the server exits with %d\n%s", status, serving.log)
	}
	for _, secret := range []string{"admin-token", "alice-token", "worker-token"} {
		if strings.Contains(serving.log.String()+puller.log.String(), secret) {
			t.Errorf("the token %s is in a log", secret)
		}
	}
}

func TestATokenIsMadeWithItsEntryForTheServer(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	tokens, file := map[string]string{}, "tokens:\n"
	for subject, args := range map[string][]string{
		"admin": {"--global", "--role", "read,operate"},
		"alice": {"--customer", "acme", "--role", "read", "--role", "submit", "--valid", "1h"},
	} {
		made := x.run("", append([]string{"token", "--subject", subject}, args...)...)
		tokens[subject] = strings.TrimSpace(made.stdout)
		file += made.stderr
		if made.status != 0 || len(tokens[subject]) < 40 || strings.Contains(made.stderr, tokens[subject]) {
			t.Fatalf("got %+v", made)
		}
	}
	addr := addrtest.Free(t)
	x.background("serve", "--addr", addr, "--tokens", x.write("tokens.yaml", file))
	x.env = append(x.env, "POP_SERVER=http://"+addr)
	c := x.client()
	eventually(t, "the server is ready", func() bool { return c.Ready(t.Context()) == nil })
	as := func(subject string) *terminal {
		return &terminal{t: t, dir: x.dir, env: append(append([]string{}, x.env...), "POP_TOKEN="+tokens[subject])}
	}
	as("admin").do("apply", "-f", quickstart+"/objects")
	contains(t, as("alice").do("customer", "list"), "acme")
	contains(t, as("alice").fail(1, "customer", "delete", "acme"), "operate")

	for _, args := range [][]string{
		{"token", "--subject", "x", "--role", "read"},
		{"token", "--subject", "x", "--role", "read", "--global", "--customer", "acme"},
		{"token", "--subject", "x", "--global"},
		{"token", "--role", "read", "--global"},
	} {
		contains(t, x.fail(2, args...), "pop: say", "--help")
	}
}

// quickstart is the folder of the quickstart's files.
var quickstart = func() string {
	dir, err := filepath.Abs("../../examples/quickstart")
	if err != nil {
		panic(err)
	}
	return dir
}()
