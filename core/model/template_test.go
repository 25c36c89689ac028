package model_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

// rawAsText compares raw JSON readably.
var rawAsText = cmp.Transformer("text", func(raw json.RawMessage) string { return string(raw) })

func TestATemplateIsFilledFromStaticParametersAndThePayload(t *testing.T) {
	t.Parallel()
	template := decode[model.AgendaTemplate](t, `{
		"id": "t", "customerId": "acme", "title": "Transcode",
		"staticParameters": {"sp": {"a": [1, 2]}, "num": 5, "big": 12345678901234567890},
		"agenda": {
			"id": "ignored", "customerId": "@<pop.payload::/customer>", "linkId": "link-@<num>", "cid": "@<<@<big>", "jobId": "@<pop.payload::/nope?>",
			"params": {"tier": "@<pop.payload::/tier>", "doNotRun": null, "plain": "@"},
			"operations": [
				{"name": "probe-@<num>", "type": "@<pop.payload::/type?mediaInfo>", "payload": {"file": "@<pop.payload::/file>", "sp": ["@<sp>", "@<num>", "@<sp::a/1>"]}},
				{"name": "transcode", "type": "transcode", "payload": "@<probe-5.out::/a>@<pop.agendaId> @<num> @<<", "params": {"dependsOn": "@<pop.payload::/after>"}}
			]
		}}`)
	before, err := json.Marshal(template)
	if err != nil {
		t.Fatal(err)
	}
	got, err := template.Instantiate(json.RawMessage(`{"customer": 7, "tier": ["gold"], "file": "x @<probe-5.out> y", "after": ["probe-5"]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := decode[model.Agenda](t, `{
		"customerId": "7", "linkId": "link-5", "cid": "@<12345678901234567890", "title": "Transcode",
		"params": {"tier": ["gold"], "doNotRun": null, "plain": "@"},
		"operations": [
			{"name": "probe-5", "type": "mediaInfo", "payload": {"file": "x @<<probe-5.out> y", "sp": [{"a": [1, 2]}, 5, 2]}},
			{"name": "transcode", "type": "transcode", "payload": "@<probe-5.out::/a>@<pop.agendaId> 5 @<<", "params": {"dependsOn": ["probe-5"]}}
		]}`)
	if diff := cmp.Diff(want, got, rawAsText); diff != "" {
		t.Error(diff)
	}
	if issues := got.Validate(); issues != nil {
		t.Error(issues)
	}
	after, err := json.Marshal(template)
	if err != nil || string(before) != string(after) {
		t.Errorf("the template changed: %s", cmp.Diff(string(before), string(after)))
	}
}

func TestATemplateKeepsItsAgendasTitleAndNeedsNoPayload(t *testing.T) {
	t.Parallel()
	template := decode[model.AgendaTemplate](t, `{"title":"T","agenda":{"title":"@<pop.payload::/t?own>","operations":[{"name":"a","type":"t","payload":"@<pop.payload>"}]}}`)
	got, err := template.Instantiate(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Title != "own" || string(got.Operations[0].Payload) != "{}" {
		t.Errorf("got %+v", got)
	}
}

func TestWhatCannotBeFilledIsReportedAllAtOnce(t *testing.T) {
	t.Parallel()
	template := decode[model.AgendaTemplate](t, `{"staticParameters":{"sp":{}},"agenda":{
		"customerId":"@<pop.payload::/customer>","title":"@<pop.payload>","linkId":"@<a.out>","params":{"p":["@<nope>"]},
		"operations":[{"name":"a","type":"t","payload":["@<unknown>","@<other.out>","@<sp::/x>","@<pop.operationName>","@<open"]}]}}`)
	_, err := template.Instantiate(json.RawMessage(`{}`))
	var got *model.Error
	if !errors.As(err, &got) {
		t.Fatal(err)
	}
	want := &model.Error{Kind: model.Invalid, Detail: "fill agenda template", Issues: []model.Issue{
		{"payload.customer", "is missing; used by customerId"},
		{"agenda.title", "is filled with {}; it must be text"},
		{"agenda.linkId", "reference @<a.out>: there is nothing called a.out"},
		{"agenda.params.p", "reference @<nope> at /0: there is nothing called nope"},
		{"agenda.operations[0].payload", "reference @<sp::/x> at /2: sp has no /x; correct the pointer, or add a fallback as in @<sp::/x?text>"},
		{"agenda.operations[0].payload", "reference @<open at /4: it does not end; close it with >, or write @<< for a literal @<"},
		{"agenda.operations[0].payload", `reference @<unknown> at /0: there is nothing called "unknown"; the template knows sp, pop.payload`},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := template.Instantiate(json.RawMessage(`{"a"`)); model.KindOf(err) != model.Invalid {
		t.Errorf("a payload that is not JSON: %v", err)
	}
}

func TestAFieldThatThePayloadLacksIsReportedOnceWithAllThatUseIt(t *testing.T) {
	t.Parallel()
	template := decode[model.AgendaTemplate](t, `{"agenda":{"title":"for @<pop.payload::/out~1Dir>","operations":[
		{"name":"a","type":"t","payload":["@<pop.payload::/out~1Dir>/a","@<pop.payload::/in/file>","@<pop.payload::/nope"]},
		{"name":"b","type":"t","payload":["@<pop.payload::/out~1Dir>/b","@<pop.payload::/out~1Dir>/c","@<pop.payload::/width?320>","@<a.out>"]},
		{"name":"c","type":"t","payload":["@<pop.payload::/in/file?none>","@<pop.payload>"],"params":{"p":"@<pop.payload::/width?3>"}}]}}`)
	_, err := template.Instantiate(json.RawMessage(`{"in":{}}`))
	var got *model.Error
	if !errors.As(err, &got) {
		t.Fatal(err)
	}
	want := []model.Issue{
		{"payload.out/Dir", "is missing; used by title, a, b"},
		{"payload.in.file", "is missing; used by a"},
		{"agenda.operations[0].payload", "reference @<pop.payload::/nope at /2: it does not end; close it with >, or write @<< for a literal @<"},
	}
	if diff := cmp.Diff(want, got.Issues); diff != "" {
		t.Error(diff)
	}
	fields := []model.PayloadField{
		{"out/Dir", false, []string{"title", "a", "b"}},
		{"in.file", false, []string{"a", "c"}},
		{"width", true, []string{"b", "c"}},
		{"", false, []string{"c"}},
	}
	if diff := cmp.Diff(fields, template.PayloadFields()); diff != "" {
		t.Error(diff)
	}
}

func TestTemplateIssuesAreFoundBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, template string
		want           []model.Issue
	}{
		{"a good one", `{"customerId":"acme","staticParameters":{"sp":1},"agenda":{"customerId":"@<pop.payload::/c>","linkId":"@<sp>","params":{"x":"@<sp>"},
			"operations":[{"name":"a","type":"t","payload":"@<sp>@<pop.payload>"},{"name":"b","type":"t","payload":"@<a.out>@<pop.params::/x>"}]}}`, nil},
		{"one without operations", `{"agenda":{}}`, []model.Issue{
			{"customerId", "is missing; name the customer that owns the agenda template"},
			{"agenda.operations", "the agenda has no operations; give it at least one"},
		}},
		{"static parameters that cannot be named", `{"customerId":"acme","staticParameters":{"pop.payload":1,"a::b":1,"a>b":1,"":1},"agenda":{"operations":[{"name":"a","type":"t"}]}}`, []model.Issue{
			{"staticParameters.", "no reference can name it; give it a name without :: and >"},
			{"staticParameters.a::b", "no reference can name it; give it a name without :: and >"},
			{"staticParameters.a>b", "no reference can name it; give it a name without :: and >"},
			{"staticParameters.pop.payload", "names that begin with pop. are the platform's; choose another"},
		}},
		{"unknown names", `{"customerId":"acme","agenda":{"linkId":"@<a.out>","params":{"k":"@<x>"},"operations":[{"name":"a","type":"t","payload":["@<y>","@<b.out>"],"params":{"k":"@<pop.agendaId>"}}]}}`, []model.Issue{
			{"agenda.linkId", `reference @<a.out>: there is nothing called "a.out"; the template knows pop.payload`},
			{"agenda.params.k", `reference @<x>: there is nothing called "x"; the template knows pop.payload`},
			{"agenda.operations[0].params.k", `reference @<pop.agendaId>: there is nothing called "pop.agendaId"; the template knows pop.payload`},
			{"agenda.operations[0].payload", `reference @<y> at /0: there is nothing called "y"; write @<name.out> for the result of an operation, or one of pop.agendaId, pop.operationName, pop.params, pop.failures, pop.payload`},
			{"agenda.operations[0].payload", `reference @<b.out> at /1: there is no operation "b"`},
		}},
		{"a cycle", `{"customerId":"acme","agenda":{"operations":[{"name":"a","type":"t","payload":"@<b.out>"},{"name":"b","type":"t","params":{"dependsOn":"a"}}]}}`, []model.Issue{
			{"agenda.operations[0]", "operations wait for each other: a → b → a; remove one of these dependencies"},
		}},
		{"names that are filled in later", `{"customerId":"acme","staticParameters":{"n":"x"},"agenda":{"operations":[
			{"name":"a-@<n>","type":"@<pop.payload::/t>","payload":"@<n>@<a-x.out>@<pop.agendaId>"},{"name":"b","type":"t","payload":"@<z>","params":{"dependsOn":["@<n>"]}}]}}`, []model.Issue{
			{"agenda.operations[1].payload", `reference @<z>: there is nothing called "z"; the template knows n, pop.payload`},
		}},
		{"references that cannot be understood", `{"customerId":"acme","agenda":{"title":"@<pop.payload","operations":[{"name":"@<>","type":"t","payload":"@<"}]}}`, []model.Issue{
			{"agenda.title", "reference @<pop.payload: it does not end; close it with >, or write @<< for a literal @<"},
			{"agenda.operations[0].name", "reference @<>: it names nothing; write @<name.out>, or @<< for a literal @<"},
			{"agenda.operations[0].payload", "reference @<: it does not end; close it with >, or write @<< for a literal @<"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			template := decode[model.AgendaTemplate](t, test.template)
			if diff := cmp.Diff(test.want, template.Validate()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
