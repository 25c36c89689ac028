package objects

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

func TestEveryMistakeIsReportedWithItsPath(t *testing.T) {
	t.Parallel()
	const doc = `
title: 12
colour: red
params: [a]
maximumAttempts: 1.5
addedTime: yesterday
agendaInsight: {insightId: yes please, x: 1}
operations:
- name: a
  Type: b
  payload: {anything: [goes, 1, {x: null}]}
- hello
`
	var a model.Agenda
	got := map[string]string{}
	for _, issue := range Decode([]byte(doc), &a) {
		got[issue.Path] = issue.Message
	}
	want := map[string]string{
		"title":              "must be text, not the number 12; put it in quotes if it is meant as text",
		"colour":             "is not a field; the fields are addedTime, agendaInsight, backoff, cid, customerId, failurePolicy, id, jobId, linkId, maximumAttempts, notBefore, operations, parallelism, params, priority, timeoutSeconds, title, updatedTime",
		"params":             "must be an object, not a list",
		"maximumAttempts":    "must be a whole number, not 1.5",
		"addedTime":          `must be a time such as 2030-01-31T12:00:00Z, not the text "yesterday"`,
		"agendaInsight.x":    "is not a field; the fields are insightId, resourcePoolId",
		"operations[0].Type": "is not a field; the fields are backoff, id, maximumAttempts, name, params, payload, timeoutSeconds, type, when",
		"operations[1]":      `must be an object, not the text "hello"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestADocumentThatIsNotYAMLSaysWhere(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"a: b\nc: [": "line 2: did not find expected node content",
		"a: 1\na: 2": `line 2: key "a" already set in map`,
	} {
		issues := Decode([]byte(doc), &model.Agenda{})
		if len(issues) != 1 || issues[0].Message != want {
			t.Errorf("%q: got %v, want %q", doc, issues, want)
		}
	}
}

func TestJSONIsReadAsWell(t *testing.T) {
	t.Parallel()
	var a model.Agenda
	if issues := Decode([]byte(`{"title": "t", "operations": [{"name": "a", "type": "b", "payload": {"n": 12345678901234567890}}]}`), &a); issues != nil {
		t.Fatal(issues)
	}
	if got := string(a.Operations[0].Payload); a.Title != "t" || got != `{"n":12345678901234567890}` {
		t.Errorf("got title %q, payload %s", a.Title, got)
	}
}

func TestAnObjectIsTheSameWhateverTheServerFilledIn(t *testing.T) {
	t.Parallel()
	decode := func(doc string) Object {
		parsed, err := parse([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		o, issues := AgendaTemplate.Decode(parsed.(map[string]any))
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		return o
	}
	const doc = `{id: t, customerId: c, staticParameters: {a: {j: 1, k: 2}}, agenda: {operations: [{name: a, type: b, payload: {p: "@<pop.payload>"}}]}}`
	want := decode(doc)
	stored := want
	v := want.Value.(model.AgendaTemplate)
	v.AddedTime, v.UpdatedTime = time.Now(), time.Now()
	v.StaticParameters = model.Params{"a": []byte(`{"k": 2, "j": 1}`)}
	stored.Value = v
	if !Same(want, stored) {
		t.Error("times and the order of keys made a difference")
	}
	v.Title = "changed"
	stored.Value = v
	if Same(want, stored) {
		t.Error("another title made no difference")
	}
}

func TestAManifestWithoutAnIDIsRefused(t *testing.T) {
	t.Parallel()
	_, issues := Customer.Decode(map[string]any{"title": "t"})
	if len(issues) == 0 || issues[0].Path != "id" {
		t.Errorf("got %v", issues)
	}
}
