package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pop-platform/pop/core/model"
)

func TestWhatOperationsPrintIsShownAndFollowed(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.write("chatty.sh", "#!/bin/sh\necho \"$POP_OPERATION begins\"\nprintf 'red\\033[31m\\n' >&2\nuntil [ -e \"$DIR/go\" ]; do sleep 0.02; done\necho done\n[ \"$POP_ATTEMPT\" = 2 ] || [ \"$POP_OPERATION\" = one ]\n")
	handlers := x.write("chatty.yaml", fmt.Sprintf("handlers:\n  chatty: {command: [./chatty.sh], env: {DIR: %q}}\n", x.dir))
	x.dev("--handlers", handlers)
	x.do("apply", "-f", x.write("insight.yaml", "kind: Insight\nid: chatty\ntitle: Chatty\ncustomerId: operator\nisGlobal: true\nresourcePoolId: local\nmappers: {operationType: [chatty]}\n"))
	id := x.submit("customerId: acme\noperations:\n- {name: one, type: chatty}\n- {name: two, type: chatty, params: {dependsOn: one}}\n")

	following := x.background("agenda", "logs", id, "-f")
	eventually(t, "it is there while it runs", func() bool {
		return strings.Contains(x.do("agenda", "logs", id, "--operation", "one"), "one begins\n")
	})
	x.write("go", "")
	if p := x.await(id, model.Complete); p.Outcome != model.Succeeded {
		t.Fatalf("%s: %s", p.Outcome, p.Message)
	}
	following.wait()
	var all string
	eventually(t, "what was printed last is there", func() bool {
		all = x.do("agenda", "logs", id)
		return strings.Contains(all, "two (attempt 2) | done\n")
	})
	contains(t, all, "one | one begins\n", "one | done\n", "two | two begins\n", "two (attempt 2) | two begins\n")
	if strings.Contains(all, "\x1b") {
		t.Errorf("what could upset a terminal is printed: %q", all)
	}
	contains(t, x.do("agenda", "logs", id, "--operation", "one", "-o", "json"), `"text"`, `"offset"`)
	contains(t, x.fail(1, "agenda", "logs", "00000000-0000-0000-0000-000000000000"), "no agenda")
	contains(t, x.fail(1, "agenda", "logs", id, "--operation", "three"), `no operation "three"`, "one, two")
}
