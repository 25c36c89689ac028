package main

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

const unlucky = `
customerId: acme
title: Unlucky
linkId: order-1
maximumAttempts: 1
operations:
- {name: count, type: text.count, payload: {text: a b}}
- {name: publish, type: text.publish, payload: {report: "@<count.out::/words>", failures: 1}}
`

func TestWatchInAPipePrintsALineForEachChangeAndExitsWithTheOutcome(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	ok := x.run("", "agenda", "submit", "--template", "words", "--customer", "acme", "--watch")
	if ok.status != 0 {
		t.Errorf("a success exits with %d", ok.status)
	}
	failed := x.run(unlucky, "agenda", "submit", "-", "--watch")
	if failed.status != 1 {
		t.Errorf("a failure exits with %d", failed.status)
	}
	contains(t, failed.stdout, "operation count: succeeded", "operation publish: failed in attempt 1", "the press is jammed", ": failed in ")
	if strings.Contains(ok.stdout+failed.stdout, "\x1b") {
		t.Error("there are escape sequences in a pipe")
	}

	held := x.submit("customerId: acme\nparams: {doNotRun: true}\noperations: [{name: a, type: text.count}]\n")
	watching := x.command(t.Context(), "agenda", "watch", held)
	seen := &syncBuffer{}
	watching.Stdout = seen
	if err := watching.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first line", func() bool { return strings.Contains(seen.String(), "waiting") })
	x.do("agenda", "cancel", held, "--reason", "no need any more")
	if err := watching.Wait(); err == nil || watching.ProcessState.ExitCode() != 3 {
		t.Errorf("a cancelled agenda exits with %d", watching.ProcessState.ExitCode())
	}
	contains(t, seen.String(), "cancelled", "no need any more")

	var last model.AgendaProgress
	for line := range strings.Lines(x.do("agenda", "watch", strings.TrimSpace(x.do("agenda", "submit", "--template", "words", "--customer", "acme")), "-o", "json")) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if last.Outcome != model.Succeeded {
		t.Errorf("the last line of JSON is of an agenda that has %s", last.Outcome)
	}
}

func TestWhatAHandlerPrintedIsShownBelowItsFailure(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.write("talk.sh", "#!/bin/sh\nfor i in $(seq 30); do echo line $i; done\nprintf 'the \\033[31mcause\\n'\nexit 65\n")
	x.dev("--handlers", x.write("mine.yaml", "handlers: {text.count: {command: [./talk.sh]}}\n"))
	id := x.submit("customerId: acme\ntitle: Talk\noperations: [{name: a, type: text.count}]\n")
	watched := x.run("", "agenda", "watch", id)
	if watched.status != 1 {
		t.Errorf("exit status %d", watched.status)
	}
	contains(t, watched.stdout, "operation a: failed in attempt 1: the [31mcause (talk.sh exited with status 65)\n",
		"agenda "+id+" (Talk): failed in ", "attempt 1 of 3, not retried")
	text := x.do("agenda", "get", id)
	contains(t, text, "1 of 3 completed; not retried", `operation "a": the [31mcause (talk.sh exited with status 65)`+"\n    | (11 lines before",
		"    | line 12\n", "    | line 30\n    | the [31mcause\n")
	if strings.Contains(text, "line 11\n") {
		t.Errorf("more than the end is shown:\n%s", text)
	}
}

func TestSeveralAgendasAreWatchedAtATime(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	good := strings.TrimSpace(x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--title", "Good", "--link", "order-1"))
	bad := x.submit(unlucky)
	held := x.submit("customerId: globex\nparams: {doNotRun: true}\noperations: [{name: a, type: text.count}]\n")
	x.do("agenda", "cancel", held)
	for _, c := range []struct {
		args   []string
		status int
		lines  []string
	}{
		{[]string{"agenda", "watch", good, good, held}, 3, []string{"agenda " + good + " (Good): operation count: succeeded", "agenda " + good + " (Good): succeeded", "agenda " + held + " (globex): cancelled"}},
		{[]string{"agenda", "watch", good, bad, held}, 1, []string{"agenda " + good + " (Good): succeeded", "agenda " + bad + " (Unlucky): operation publish: failed", "agenda " + held + " (globex): cancelled"}},
		{[]string{"link", "order-1", "--watch"}, 1, []string{"agenda " + good + " (Good): succeeded", "agenda " + bad + " (Unlucky): failed"}},
	} {
		r := x.run("", c.args...)
		if r.status != c.status {
			t.Errorf("%v: exit status %d, want %d\n%s%s", c.args, r.status, c.status, r.stdout, r.stderr)
		}
		contains(t, r.stdout, c.lines...)
		for _, line := range c.lines {
			if strings.Count(r.stdout, line) != 1 {
				t.Errorf("%v: %q is not there once:\n%s", c.args, line, r.stdout)
			}
		}
	}
	contains(t, x.fail(1, "agenda", "watch", good, "nobody"), "nobody")
}

func TestAPayloadMayBeGivenOnTheCommandLine(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	id := strings.TrimSpace(x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--payload", ` {"text": "one two three"}`))
	x.await(id, model.Complete)
	contains(t, x.do("agenda", "get", id), `{"words":3}`)
	contains(t, x.fail(1, "agenda", "submit", "--template", "words", "--customer", "acme", "--payload", `{"text": `), "--payload cannot be read")
	contains(t, x.fail(1, "agenda", "submit", "--template", "words", "--customer", "acme", "--payload", "nowhere.json"), "nowhere.json", "no such file")
}

func TestWhatAPayloadLacksIsSaidOnceAndTheTemplateSaysWhatItNeeds(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	x.do("template", "put", "-f", x.write("t.yaml", `
id: copy
customerId: acme
agenda:
  operations:
  - {name: a, type: text.count, payload: {text: "@<pop.payload::/outputDir>/a"}}
  - {name: b, type: text.count, payload: {text: "@<pop.payload::/outputDir>/b", size: "@<pop.payload::/size?3>"}}
`))
	said := x.fail(1, "agenda", "submit", "--template", "copy", "--customer", "acme", "--payload", `{}`)
	if want := "pop: fill agenda template\n  payload.outputDir: is missing; used by a, b\n"; said != want {
		t.Errorf("got %q, want %q", said, want)
	}
	contains(t, x.do("template", "get", "copy"), "outputDir  required  a, b\n", "size       optional  b\n")
}

func TestSubmitPrintsTheIDForScriptsAndAnIdempotencyKeyFindsItAgain(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	file := x.write("a.json", `{"customerId": "acme", "operations": [{"name": "a", "type": "text.count", "payload": {"text": "x"}}]}`)
	first := x.run("", "agenda", "submit", file, "--idempotency-key", "k", "--link", "l", "--customer", "globex", "--title", "T")
	again := x.run("", "agenda", "submit", file, "--idempotency-key", "k", "--link", "l", "--customer", "globex", "--title", "T")
	if first.status != 0 || first.stdout != again.stdout {
		t.Fatalf("got %+v, then %+v", first, again)
	}
	if first.stderr != "" { // what only people need is for terminals
		t.Errorf("said to a script: %s", first.stderr)
	}
	contains(t, again.stderr, "submitted before")
	got := x.shown(strings.TrimSpace(first.stdout)).Agenda
	if got.CustomerID != "globex" || got.LinkID != "l" || got.Title != "T" {
		t.Errorf("flags did not take the place of the file's fields: %+v", got.Meta)
	}
	other := x.run("", "agenda", "submit", file, "--idempotency-key", "k", "--customer", "globex")
	if other.status != 1 {
		t.Errorf("another agenda with the same key: %+v", other)
	}
}

func TestWhatIsWrongWithAnAgendaIsToldWithItsPlace(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	for name, c := range map[string]struct {
		agenda string
		want   []string
	}{
		"not YAML":            {`{"operations": [`, []string{"standard input", "line 1"}},
		"unknown field":       {"customerId: acme\noperations: [{name: a, type: text.count, retries: 3}]", []string{"operations[0].retries", "is not a field"}},
		"duplicate names":     {"customerId: acme\noperations: [{name: a, type: text.count}, {name: a, type: text.count}]", []string{"operations[1].name"}},
		"a cycle":             {"customerId: acme\noperations: [{name: a, type: text.count, payload: '@<b.out>'}, {name: b, type: text.count, payload: '@<a.out>'}]", []string{"operations[0]", "wait for each other"}},
		"a dangling ref":      {"customerId: acme\noperations: [{name: a, type: text.count, payload: {x: '@<nobody.out>'}}]", []string{"operations[0].payload", "nobody"}},
		"no insight":          {"customerId: acme\noperations: [{name: a, type: alien}]", []string{"operations", "no insight", "alien"}},
		"an unknown customer": {"customerId: stranger\noperations: [{name: a, type: text.count}]", []string{"customerId", "stranger"}},
		"two at once":         {"customerId: acme\nmaximumAttempts: 99\noperations: [{name: a}]", []string{"maximumAttempts", "operations[0].type"}},
	} {
		r := x.run(c.agenda, "agenda", "submit", "-")
		if r.status != 1 || r.stdout != "" {
			t.Errorf("%s: exit status %d, printed %q", name, r.status, r.stdout)
		}
		contains(t, r.stderr, c.want...)
	}
	if out := x.do("agenda", "list", "-o", "json"); out != "[]\n" {
		t.Errorf("something was accepted: %s", out)
	}
}

func TestRerunGoesOnAtThePointOfFailureUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	id := x.submit(unlucky)
	x.await(id, model.Complete)
	attempts := func() (counts []int) {
		for _, op := range x.shown(id).Progress.Operations {
			counts = append(counts, op.AttemptCount)
		}
		return counts
	}
	steps := []struct {
		args   []string
		status int
		want   []int
	}{
		{[]string{"--watch"}, 0, []int{1, 2}},
		{[]string{"--operation", "publish", "--watch"}, 1, []int{1, 1}}, // forgets that it failed before
		{[]string{"--continue", "--watch"}, 0, []int{1, 2}},
		{[]string{"--all", "--watch"}, 1, []int{1, 1}},
		{[]string{"--all", "--skip-execution"}, 0, []int{0, 0}},
	}
	for _, step := range steps {
		if r := x.run("", append([]string{"agenda", "rerun", id}, step.args...)...); r.status != step.status {
			t.Fatalf("rerun %v: exit status %d\n%s%s", step.args, r.status, r.stdout, r.stderr)
		}
		if diff := cmp.Diff(step.want, attempts()); diff != "" {
			t.Errorf("attempts after rerun %v: %s", step.args, diff)
		}
	}
	contains(t, x.fail(2, "agenda", "rerun", id, "--all", "--continue"), "exclude each other")

	done := x.submit("customerId: acme\noperations: [{name: a, type: text.upper, payload: {text: x}}]\n")
	x.await(done, model.Complete)
	contains(t, x.fail(2, "agenda", "rerun", done), "has succeeded", "--all")
	contains(t, x.fail(1, "agenda", "rerun", done, "--operation", "b"), "operations[0]", `no operation "b"`)
}

func TestAgendasAreListedByWhatTheyAre(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	failed := x.submit(unlucky)
	done := strings.TrimSpace(x.do("agenda", "submit", "--template", "words", "--customer", "globex", "--link", "order-2"))
	x.await(failed, model.Complete)
	x.await(done, model.Complete)
	ids := func(args ...string) string {
		var list []model.AgendaProgress
		if err := json.Unmarshal([]byte(x.do(append([]string{"agenda", "list", "-o", "json"}, args...)...)), &list); err != nil {
			t.Fatal(err)
		}
		names := map[string]string{failed: "failed", done: "done"}
		var got []string
		for _, p := range list {
			got = append(got, names[p.AgendaID])
		}
		return strings.Join(got, " ")
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "failed done"},
		{[]string{"--customer", "globex"}, "done"},
		{[]string{"--link", "order-1"}, "failed"},
		{[]string{"--insight", "text"}, "failed done"},
		{[]string{"--insight", "urgent"}, ""},
		{[]string{"--state", "complete"}, "failed done"},
		{[]string{"--state", "waiting"}, ""},
		{[]string{"--outcome", "failed"}, "failed"},
		{[]string{"--limit", "1"}, "failed"},
	} {
		if got := ids(c.args...); got != c.want {
			t.Errorf("list %v: %q, want %q", c.args, got, c.want)
		}
	}
	contains(t, x.do("agenda", "get", failed), "Unlucky", "failed, 50%", "order-1", `{"words":2}`, "WHAT WENT WRONG")
	if text := x.do("agenda", "get", failed); strings.Count(text, "the press is jammed (publish.sh exited with status 1)") != 1 {
		t.Errorf("why it failed is not said once:\n%s", text)
	}
	contains(t, x.do("agenda", "list", "--outcome", "failed"), `operation "publish": the press is jammed`)

	var s model.Summary
	if err := json.Unmarshal([]byte(x.do("link", "order-1", "-o", "json")), &s); err != nil || s.Outcome != model.Failed || len(s.Agendas) != 1 {
		t.Errorf("got %+v, error %v", s, err)
	}
	x.do("agenda", "delete", failed)
	contains(t, x.fail(1, "agenda", "get", failed), "no agenda", failed)
	contains(t, x.fail(1, "link", "order-1"), "order-1")
}

func TestACommandLineThatCannotBeUnderstoodExitsWith2AndSaysWhereHelpIs(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	for _, args := range [][]string{
		{"nonsense"},
		{"agenda", "nonsense"},
		{"agenda", "get"},
		{"agenda", "get", "a", "b"},
		{"agenda", "list", "--nonsense"},
		{"agenda", "list", "-o", "xml"},
		{"agenda", "submit"},
		{"agenda", "submit", "file", "--template", "t"},
		{"agenda", "submit", "file", "--payload", "p"},
		{"apply"},
		{"customer", "put"},
		{"customer", "get"},
		{"dev", "--slots", "0"},
		{"dev", "--slots", "many"},
		{"dev", "--log-level", "loud"},
		{"serve"},
		{"pull", "--handlers", "h"},
		{"pull", "--insight", "i"},
		{"version", "more"},
		{"agenda", "list", "--limit", "-1"},
		{"token", "--subject", "s", "--role", "read", "--customer", "acme, globex"},
		{"pull", "--handlers", "h", "--insight", "a, b"},
		{"agenda", "list", "--state", "asleep"},
		{"agenda", "list", "--outcome", "great"},
		{"agenda", "list", "--server", "not a url"},
	} {
		contains(t, x.fail(2, args...), "pop: ", "--help")
	}
	x.env = append(x.env, "POP_SLOTS=many")
	contains(t, x.fail(2, "dev"), "POP_SLOTS", "many")
	contains(t, x.fail(2, "agenda", "cancel"), "pop agenda cancel takes ID, and was given nothing")
	contains(t, x.fail(2, "agenda", "get", "a", "b"), "pop agenda get takes ID, and was given a b")
	contains(t, x.fail(2, "agenda", "watch"), "pop agenda watch takes ID..., and was given nothing")
	contains(t, x.fail(2, "agenda", "list", "--state", "asleep"), "--state asleep", "waiting, queued, executing, complete")
}

func TestNoServerIsSaidInOneLine(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	addr := strings.TrimPrefix(x.dev().url, "http://")
	_, port, _ := strings.Cut(addr, ":")
	x.env = append(x.env, "POP_SERVER=http://127.0.0.2:"+port) // where nothing listens
	want := fmt.Sprintf("pop: no server at http://127.0.0.2:%s; start one with `pop dev`, or name another with --server\n", port)
	if got := x.fail(1, "agenda", "list"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestASubmissionWithoutAnAnswerSaysHowToSubmitItOnce(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // a server that dies when it is sent something
		if conn, err := l.Accept(); err == nil {
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		_ = l.Close()
	}()
	file := x.write("agenda.yaml", "customerId: acme\noperations: [{name: a, type: text.count}]\n")
	x.env = append(x.env, "POP_SERVER=http://"+l.Addr().String())
	contains(t, x.fail(1, "agenda", "submit", file), "not known whether the agenda was accepted", "--idempotency-key", "no server at")
	for _, args := range [][]string{{}, {"--idempotency-key", "mine"}} { // now nothing listens
		if said := x.fail(1, append([]string{"agenda", "submit", file}, args...)...); strings.Contains(said, "not known") {
			t.Errorf("%q: %s", args, said)
		}
	}
}

func TestCompletionAndVersionNeedNoServer(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		contains(t, x.do("completion", shell), "pop")
	}
	contains(t, x.do("version"), "pop dev, built with go")
	contains(t, x.do("__complete", "version", "-o", ""), "table", "json", "yaml")
	x.dev()
	contains(t, x.do("__complete", "insight", "get", ""), "text", "urgent")
}
