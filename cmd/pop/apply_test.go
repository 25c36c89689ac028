package main

import (
	"strings"
	"testing"
)

const manifests = `
kind: Customer
id: initech
title: Initech
resourcePoolId: lab
---
kind: Insight
id: lab-text
title: Text in the lab
customerId: initech
resourcePoolId: lab
mappers: {operationType: [text.count]}
---
kind: AgendaTemplate
id: lab-words
customerId: initech
agenda: {operations: [{name: count, type: text.count, payload: {text: "@<pop.payload::/text>"}}]}
`

func TestApplyingASecondTimeChangesNothing(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	x.write("lab/a.yaml", manifests)
	x.write("lab/sub/pool.json", `{"kind": "ResourcePool", "id": "lab", "customerId": "initech"}`)
	words := func(out string) string { return strings.Join(strings.Fields(out), " ") }

	if got, want := words(x.do("apply", "-f", "lab", "--dry-run")),
		"ResourcePool lab would be created Insight lab-text would be created Customer initech would be created AgendaTemplate lab-words would be created"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	x.fail(1, "pool", "get", "lab") // the dry run has made nothing
	if got, want := words(x.do("apply", "-f", "lab")),
		"ResourcePool lab created Insight lab-text created Customer initech created AgendaTemplate lab-words created"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	before := x.do("insight", "get", "lab-text", "-o", "json")
	if got, want := words(x.do("apply", "-f", "lab")),
		"ResourcePool lab unchanged Insight lab-text unchanged Customer initech unchanged AgendaTemplate lab-words unchanged"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if after := x.do("insight", "get", "lab-text", "-o", "json"); after != before {
		t.Errorf("an unchanged object was written: %s", after)
	}
	x.write("lab/a.yaml", strings.Replace(manifests, "title: Initech", "title: Initech and Sons", 1))
	if got, want := words(x.do("apply", "-f", "lab")),
		"ResourcePool lab unchanged Insight lab-text unchanged Customer initech updated AgendaTemplate lab-words unchanged"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	x.write("payload.yaml", "text: a b c\n")
	x.do("agenda", "submit", "--template", "lab-words", "--customer", "initech", "--payload", "payload.yaml", "--watch")

	// What get prints can be applied as it is.
	r := x.run("kind: Insight\n"+x.do("insight", "get", "lab-text", "-o", "yaml"), "apply", "-f", "-")
	if got := words(r.stdout); r.status != 0 || got != "Insight lab-text unchanged" {
		t.Errorf("exit status %d: %s%s", r.status, got, r.stderr)
	}
}

func TestBadFilesAreReportedTogetherAndNothingIsApplied(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	x.write("lab/a.yaml", "kind: Customer\nid: good\ntitle: Good\n---\nkind: Customer\nid: bad\nwait: 3\nweight: x\n")
	x.write("lab/b.json", `{"kind": "Insight", "id": "i", "title": "I", "customerId": "c", "resourcePoolId": "nowhere", "queueSize": -1}`)
	x.write("lab/c.yaml", "kind: Insight\nid: j\ntitle: J\ncustomerId: c\nresourcePoolId: nowhere\n")
	said := x.fail(1, "apply", "-f", "lab")
	contains(t, said,
		"lab/a.yaml, document 2: wait: is not a field",
		"lab/a.yaml, document 2: weight: must be a number",
		"lab/b.json, document 1: queueSize: ",
		`lab/b.json, document 1: resourcePoolId: there is no resource pool "nowhere"`,
		`lab/c.yaml, document 1: resourcePoolId: there is no resource pool "nowhere"`,
		"nothing was applied; problems: 5")
	x.fail(1, "customer", "get", "good")
	contains(t, x.fail(1, "apply", "-f", "nowhere"), "no file or folder nowhere")
}

func TestObjectsArePutReadAndDeleted(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	for _, c := range []struct{ noun, object string }{
		{"pool", "id: one\ncustomerId: acme\ntitle: First\n"},
		{"insight", "id: one\ncustomerId: acme\ntitle: First\nresourcePoolId: local\n"},
		{"customer", "id: one\ntitle: First\n"},
		{"template", "id: one\ncustomerId: acme\ntitle: First\nagenda: {operations: [{name: a, type: b}]}\n"},
	} {
		put := func(object string) string {
			r := x.run(object, c.noun, "put", "-f", "-")
			if r.status != 0 {
				t.Fatalf("%s put: %s", c.noun, r.stderr)
			}
			return r.stdout
		}
		contains(t, put(c.object), c.noun+" one created")
		contains(t, put(strings.Replace(c.object, "First", "Second", 1)), c.noun+" one replaced")
		contains(t, x.do(c.noun, "get", "one"), "ID", "TITLE", "one", "Second")
		contains(t, x.do(c.noun, "list"), "one", "Second")
		contains(t, x.do(c.noun, "list", "--title", "Second", "-o", "yaml"), "- ", "id: one", "title: Second")
		if out := x.do(c.noun, "list", "--title", "Nobody's", "-o", "json"); out != "[]\n" {
			t.Errorf("%s list: %s", c.noun, out)
		}
		x.do(c.noun, "delete", "one")
		contains(t, x.fail(1, c.noun, "get", "one"), "one")
		contains(t, x.fail(1, c.noun, "delete", "one"), "one")
	}
	r := x.run("kind: Customer\nid: x\ntitle: X\n", "pool", "put", "-f", "-")
	if r.status != 1 {
		t.Errorf("a customer was taken for a pool: %+v", r)
	}
	contains(t, r.stderr, "kind", "ResourcePool")
}
