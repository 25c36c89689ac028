package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pop-platform/pop/cmd/internal/addrtest"
	"github.com/pop-platform/pop/cmd/pop/internal/doctor"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// replace puts a new file in the place of an old one at once, as Kubernetes does.
func (x *terminal) replace(name, text string) {
	x.t.Helper()
	if err := os.Rename(x.write(name+".new", text), filepath.Join(x.dir, name)); err != nil {
		x.t.Fatal(err)
	}
}

func TestAPullerGoesOnWhenItsTokenIsReplaced(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	entries := func(worker string) string {
		return fmt.Sprintf(`tokens:
- {token: %q, subject: admin, global: true, roles: [read, submit, operate]}
- {token: %q, subject: worker, global: true, roles: [pull]}
`, hash("admin-token"), hash(worker))
	}
	x.write("tokens.yaml", entries("first-token"))
	addr := addrtest.Free(t)
	serving := x.background("serve", "--addr", addr, "--data", "srv", "--tokens", "tokens.yaml")
	admin := &terminal{t: t, dir: x.dir, env: append(append([]string{}, x.env...), "POP_SERVER=http://"+addr, "POP_TOKEN=admin-token")}
	c := admin.client()
	eventually(t, "the server is ready", func() bool { return c.Ready(t.Context()) == nil })
	admin.do("apply", "-f", quickstart+"/objects")

	x.write("worker-token", "first-token\n")
	pull := func(session, insight string, args ...string) *daemon {
		return x.background(append([]string{
			"pull", "--server", "http://" + addr, "--insight", insight, "--handlers", quickstart + "/handlers.yaml", "--session", session, "--work", x.dir + "/" + session,
		}, args...)...)
	}
	byFile := pull("by-file", "text", "--token-file", "worker-token")
	byCommand := pull("by-command", "urgent", "--token-command", `sh -c 'echo run >> runs; cat worker-token'`)
	submit := func() {
		t.Helper()
		contains(t, admin.do("agenda", "submit", "--template", "words", "--customer", "acme", "--watch"), "succeeded in")
	}
	submit()

	x.replace("worker-token", "second-token\n")
	x.replace("tokens.yaml", entries("second-token"))
	withdrawn, err := client.New("http://"+addr, client.Options{Token: "first-token"})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first token is refused", func() bool {
		_, err := withdrawn.Insights.List(t.Context(), client.Filter{}, client.Page{})
		return model.KindOf(err) == model.Unauthenticated
	})
	submit()
	for name, puller := range map[string]*daemon{"file": byFile, "command": byCommand} {
		if text := puller.log.String(); strings.Contains(text, "failed") && strings.Contains(text, "not known") {
			t.Errorf("the puller with a token of a %s was refused:\n%s", name, text)
		}
	}
	eventually(t, "the command has run twice", func() bool {
		text, err := os.ReadFile(filepath.Join(x.dir, "runs"))
		return err == nil && strings.Count(string(text), "run") >= 2
	})
	for _, secret := range []string{"first-token", "second-token"} {
		if strings.Contains(serving.log.String()+byFile.log.String()+byCommand.log.String(), secret) {
			t.Errorf("the token %s is in a log", secret)
		}
	}
}

func TestWhereTokensComeFrom(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	addr := addrtest.Free(t)
	x.background("serve", "--addr", addr, "--tokens", x.write("tokens.yaml", fmt.Sprintf("tokens:\n- {token: %q, subject: a, global: true, roles: [read]}\n", hash("right"))))
	x.env = append(x.env, "POP_SERVER=http://"+addr)
	c := x.client()
	eventually(t, "the server is ready", func() bool { return c.Ready(t.Context()) == nil })
	x.write("right", "right")
	with := func(env ...string) *terminal {
		return &terminal{t: t, dir: x.dir, env: append(append([]string{}, x.env...), env...)}
	}
	list := []string{"insight", "list"}

	with("POP_TOKEN_FILE=right").do(list...)
	with("POP_TOKEN_COMMAND=cat right").do(list...)
	with("POP_TOKEN=wrong").do(append(list, "--token-file", "right")...) // a flag goes before the environment
	contains(t, with("POP_TOKEN=right", "POP_TOKEN_FILE=right").fail(2, list...), "only one of")
	contains(t, x.fail(2, append(list, "--token", "right", "--token-command", "cat right")...), "only one of")
	contains(t, x.fail(2, append(list, "--token-command", "cat right | head")...), "--token-command", "without a shell")
	contains(t, x.fail(1, append(list, "--token-file", "nowhere")...), "get a token", "nowhere")
	contains(t, x.fail(1, append(list, "--token-command", "sh -c 'echo log in first >&2; exit 1'")...), "the token command sh", "log in first")
	contains(t, x.fail(1, list...), "--token-file", "--token-command")

	for name, tc := range map[string]struct {
		args []string
		says []string
	}{
		"a command that fails": {[]string{"--token-command", "sh -c 'echo log in first >&2; exit 1'"}, []string{"token", "log in first"}},
		"a token that ended":   {[]string{"--token", "e30.eyJpc3MiOiJodHRwczovL2kiLCJhdWQiOiJwb3AiLCJzdWIiOiJtZSIsImV4cCI6MX0.x"}, []string{"token", "issuer https://i, audience \"pop\", subject me; it ended at 1970"}},
	} {
		findings, status := x.diagnose(tc.args...)
		if f := findings[tc.says[0]]; status != 1 || f.Level != doctor.Fail || !strings.Contains(f.Detail, tc.says[1]) {
			t.Errorf("%s: exit status %d, %+v", name, status, f)
		}
	}
	if findings, status := with("POP_TOKEN_COMMAND=cat right").diagnose(); status != 0 || findings["authentication"].Level != doctor.OK {
		t.Errorf("exit status %d, %+v", status, findings)
	}
}
