package strict_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/strict"
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
	for _, issue := range strict.Unmarshal([]byte(doc), &a) {
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

// pace is a type that reads itself.
type pace float64

func (p *pace) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case `"slow"`:
		*p = 1
	case `"fast"`:
		*p = 2
	default:
		return errors.New("must be slow or fast")
	}
	return nil
}

func TestTypesThatReadThemselvesSayWhatTheyTake(t *testing.T) {
	t.Parallel()
	type ride struct {
		Pace  pace    `json:"pace"`
		Paces []*pace `json:"paces"`
		Gear  int8    `json:"gear"`
		Seed  uint64  `json:"seed"`
	}
	var r ride
	if issues := strict.Unmarshal([]byte("{pace: fast, paces: [slow], gear: -3, seed: 7}"), &r); len(issues) > 0 || r.Pace != 2 || *r.Paces[0] != 1 || r.Gear != -3 || r.Seed != 7 {
		t.Errorf("%+v, %v", r, issues)
	}
	want := []model.Issue{
		{Path: "gear", Message: "300 is out of range"},
		{Path: "pace", Message: `must be slow or fast, not the text "steady"`},
		{Path: "paces[1]", Message: "must be slow or fast, not a list"},
		{Path: "seed", Message: "-1 is out of range"},
	}
	if diff := cmp.Diff(want, strict.Unmarshal([]byte("{pace: steady, paces: [slow, []], gear: 300, seed: -1}"), &r)); diff != "" {
		t.Error(diff)
	}
}

func TestADocumentThatIsNotYAMLSaysWhere(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		"a: b\nc: [": "line 2: did not find expected node content",
		"a: 1\na: 2": `line 2: key "a" already set in map`,
	} {
		issues := strict.Unmarshal([]byte(doc), &model.Agenda{})
		if len(issues) != 1 || issues[0].Message != want {
			t.Errorf("%q: got %v, want %q", doc, issues, want)
		}
	}
}

func TestJSONIsReadAsWell(t *testing.T) {
	t.Parallel()
	var a model.Agenda
	if issues := strict.Unmarshal([]byte(`{"title": "t", "operations": [{"name": "a", "type": "b", "payload": {"n": 12345678901234567890}}]}`), &a); issues != nil {
		t.Fatal(issues)
	}
	if got := string(a.Operations[0].Payload); a.Title != "t" || got != `{"n":12345678901234567890}` {
		t.Errorf("got title %q, payload %s", a.Title, got)
	}
}

func TestWhatIsGoodIsStoredThoughSomethingElseIsNot(t *testing.T) {
	t.Parallel()
	var a model.Agenda
	issues := strict.Unmarshal([]byte("title: t\ncolour: red\nmaximumAttempts: many\noperations: [{name: a, type: b, x: 1}]\nparams: {a: b}"), &a)
	if len(issues) != 3 || a.Title != "t" || a.MaximumAttempts != 0 || len(a.Operations) != 0 || string(a.Params["a"]) != `"b"` {
		t.Errorf("%v\n%+v", issues, a)
	}
}
