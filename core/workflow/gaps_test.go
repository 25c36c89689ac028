package workflow_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/workflow"
)

// TestG23_ReferencesDoWhatTheySay tries what is easily done wrong: strings that begin and end with references, values of every
// type, payloads that are strings, escapes, and fallbacks of every type.
func TestG23_ReferencesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`"@<a.out::/x>-@<b.out::/y>"`:                  `"1-2"`,
		`"@<pop.agendaId>/@<pop.operationName>"`:       `"AG/OPN"`,
		`{"k": "@<a.out::/b>"}`:                        `{"k": true}`,
		`{"k": "@<a.out::/z>"}`:                        `{"k": null}`,
		`"@<a.out::/n>"`:                               `5`,
		`"100 % of @<a.out::/x> $1 %s"`:                `"100 % of 1 $1 %s"`,
		`"@<<a.out::/x>"`:                              `"@<a.out::/x>"`,
		`["@<a.out::/nope?95>","@<a.out::/nope??95>"]`: `["95",95]`,
		`["@<a.out::/nope?>","@<gone.out::/x??[]>"]`:   `[null,[]]`,
	} {
		got, err := workflow.Resolve(json.RawMessage(doc), results)
		if err != nil || string(got) != want {
			t.Errorf("%s became %s, %v; want %s", doc, got, err, want)
		}
	}
}

// TestG23_DependenciesAreCheckedBeforeTheStart gives them as a list and as text, with space, to unknown ones and in a circle.
func TestG23_DependenciesAreCheckedBeforeTheStart(t *testing.T) {
	t.Parallel()
	for _, operations := range [][]workflow.Operation{
		{op("a", ``, "nope")},
		{op("a", ``, "a")},
		{op("a", ``, "b"), op("b", `"@<a.out>"`)},
		{op("a", `"@<nope.out::/x?fallback>"`)},
		{op("a", `"@<b>"`), op("b", ``)},
	} {
		if graph, issues := workflow.Compile(operations, workflow.Scope{}); graph != nil || len(issues) != 1 {
			t.Errorf("%+v: %v", operations, issues)
		}
	}
}

func TestG24_WhatIsPutInIsDataAndKeepsItsType(t *testing.T) {
	t.Parallel()
	lookup := lookupIn(map[string]string{"a.out": `{"o": {"ref": "@<b.out>", "n": 1.50}}`, "b.out": `"b"`})
	got, err := workflow.Resolve(json.RawMessage(`["@<a.out::/o>", "x@<a.out::/o/ref>@<b.out>"]`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`[{"ref": "@<b.out>", "n": 1.50}, "x@<b.out>b"]`, string(got)); diff != "" {
		t.Error(diff)
	}
	var failed workflow.ReferenceErrors
	if _, err := workflow.Resolve(json.RawMessage(`"@<a.out::/nope>"`), lookup); !errors.As(err, &failed) {
		t.Errorf("a pointer that finds nothing: %v", err)
	}
}
