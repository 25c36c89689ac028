package apply

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestObjectsOfAFolderComeInAnOrderInWhichTheyCanBeApplied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", `
# only a comment
---
kind: Customer
id: c
title: C
resourcePoolId: p
---
kind: AgendaTemplate
id: t
customerId: c
agenda: {operations: [{name: a, type: b}]}
---
`)
	write(t, dir, "sub/b.json", `{"kind": "Insight", "id": "i", "title": "I", "customerId": "c", "resourcePoolId": "p"}`)
	write(t, dir, "z.yml", "kind: ResourcePool\nid: p\ncustomerId: c\n")
	write(t, dir, ".hidden.yaml", "nonsense")
	write(t, dir, ".git/x.yaml", "nonsense")
	write(t, dir, "README.md", "nonsense")
	manifests, problems, err := Load(dir, nil)
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	var got []string
	for _, m := range manifests {
		file, _ := filepath.Rel(dir, m.File)
		got = append(got, fmt.Sprintf("%s %s %s:%d", m.Kind.Name(), m.ID, file, m.Document))
	}
	want := []string{"ResourcePool p z.yml:1", "Insight i sub/b.json:1", "Customer c a.yaml:2", "AgendaTemplate t a.yaml:3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAllProblemsOfAllFilesAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a.yaml", "kind: Customer\nid: c\nweight: heavy\n---\nkind: Tenant\n---\nid: x\n---\n- list\n")
	write(t, dir, "b.yaml", "kind: ResourcePool\nid: p\ncustomerId: c\n---\nkind: ResourcePool\nid: p\ncustomerId: c\n")
	write(t, dir, "c.yaml", "kind: Customer\nid: [\n")
	_, problems, err := Load(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, strings.ReplaceAll(p.String(), dir+string(filepath.Separator), ""))
	}
	want := []string{
		`a.yaml, document 1: weight: must be a number, not the text "heavy"`,
		`a.yaml, document 2: kind: must be ResourcePool, Insight, Customer, AgendaTemplate, not the text "Tenant"`,
		`a.yaml, document 3: kind: is missing; it must be ResourcePool, Insight, Customer, AgendaTemplate`,
		`a.yaml, document 4: must be an object, not a list`,
		`b.yaml, document 2: id: ResourcePool "p" is described before, in b.yaml, document 1`,
		`c.yaml, document 1: line 2: did not find expected node content`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLineNumbersAreThoseOfTheFile(t *testing.T) {
	t.Parallel()
	_, problems, err := Load(ReadStdin, strings.NewReader("kind: Customer\nid: a\ntitle: A\n---\nkind: Customer\nid: b\nid: c\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) != 1 || problems[0].String() != `-, document 2: line 7: key "id" already set in map` {
		t.Errorf("got %v", problems)
	}
}

func TestNothingToApplyIsAnError(t *testing.T) {
	t.Parallel()
	for _, path := range []string{t.TempDir(), "no/such/folder"} {
		if _, _, err := Load(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
