package model_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

func decode[T any](t testing.TB, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestAgendaIssuesSayWhatIsWrongWhereAndHowToMendIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, agenda string
		want         []model.Issue
	}{
		{"a good one", `{"customerId":"account/3131523765","linkId":"l","operations":[{"name":"a","type":"log","payload":{"x":1}},{"name":"b","type":"log","payload":"@<a.out>","params":{"dependsOn":["a"]}}]}`, nil},
		{"nothing", `{}`, []model.Issue{
			{"customerId", "is missing; name the customer that owns the agenda"},
			{"operations", "the agenda has no operations; give it at least one"},
		}},
		{"an empty operation", `{"customerId":"c","operations":[null]}`, []model.Issue{
			{"operations[0].type", "the operation has no type; name the type of handler that performs it"},
			{"operations[0].name", "the operation has no name; give it one that no other operation of the agenda has"},
		}},
		{"names that cannot be told apart", `{"customerId":"c","operations":[{"name":"a","type":"t"},{"name":"A","type":"t"}]}`, []model.Issue{
			{"operations[1].name", `operations[0] is called "a" already, and case does not matter; rename one of them`},
		}},
		{"names that cannot be seen", `{"id":"\u0000","customerId":"c\u200b","linkId":"l\n","operations":[{"name":" a","type":"t\t","id":"\u001b"}]}`, []model.Issue{
			{"id", `"\x00" holds the invisible character U+0000 at byte 0; remove it`},
			{"customerId", `"c\u200b" holds the invisible character U+200B at byte 1; remove it`},
			{"linkId", `"l\n" begins or ends with space; remove it`},
			{"operations[0].name", `" a" begins or ends with space; remove it`},
			{"operations[0].type", `"t\t" begins or ends with space; remove it`},
			{"operations[0].id", `"\x1b" holds the invisible character U+001B at byte 0; remove it`},
		}},
		{"attempts beyond the limit", `{"customerId":"c","maximumAttempts":21,"operations":[{"name":"a","type":"t"}]}`, []model.Issue{
			{"maximumAttempts", "is 21; it must be 1 to 20, or absent for 3"},
		}},
		{"attempts below zero", `{"customerId":"c","maximumAttempts":-1,"operations":[{"name":"a","type":"t"}]}`, []model.Issue{
			{"maximumAttempts", "is -1; it must be 1 to 20, or absent for 3"},
		}},
		{"dependencies of a wrong type", `{"customerId":"c","operations":[{"name":"a","type":"t","params":{"dependsOn":{"b":1}}},{"name":"b","type":"t","params":{"dependsOn":["a",7]}}]}`, []model.Issue{
			{"operations[0].params.dependsOn", `{"b":1} is neither a list of operation names nor a string of them with commas in between`},
			{"operations[1].params.dependsOn", `["a",7] is neither a list of operation names nor a string of them with commas in between`},
		}},
		{"dependencies that do not exist", `{"customerId":"c","operations":[{"name":"a","type":"t","params":{"dependsOn":"x , y"}}]}`, []model.Issue{
			{"operations[0].params.dependsOn", `there is no operation "x"`},
			{"operations[0].params.dependsOn", `there is no operation "y"`},
		}},
		{"a cycle through references and dependsOn", `{"customerId":"c","operations":[{"name":"a","type":"t","payload":{"x":"@<b.out>"}},{"name":"b","type":"t","params":{"dependsOn":"a"}}]}`, []model.Issue{
			{"operations[0]", `operations wait for each other: a → b → a; remove one of these dependencies`},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			agenda := decode[model.Agenda](t, test.agenda)
			if diff := cmp.Diff(test.want, agenda.Validate()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnAgendaWithinEveryLimitIsAccepted(t *testing.T) {
	t.Parallel()
	agenda := model.Agenda{MaximumAttempts: 20, JobID: strings.Repeat("é", 200)}
	agenda.CustomerID, agenda.LinkID, agenda.Title = strings.Repeat("c", 200), strings.Repeat("é", 100), strings.Repeat("字", 400)
	for i := range model.MaxOperations {
		agenda.Operations = append(agenda.Operations, model.Operation{Name: fmt.Sprintf("%0200d", i), Type: strings.Repeat("t", 200)})
	}
	if issues := agenda.Validate(); issues != nil {
		t.Error(issues)
	}

	beyond := agenda
	beyond.CustomerID, beyond.LinkID, beyond.Title, beyond.JobID = agenda.CustomerID+"c", agenda.LinkID+"l", agenda.Title+"字", agenda.JobID+"é"
	beyond.Operations = slices.Concat(agenda.Operations, []model.Operation{{}})
	want := []model.Issue{
		{"customerId", "is 201 bytes long, more than 200; shorten it"},
		{"title", "is 401 characters long, more than 400; shorten it"},
		{"linkId", "is 201 bytes long, more than 200; shorten it"},
		{"jobId", "is 201 characters long, more than 200; shorten it"},
		{"operations", "there are 10001 operations, more than the 10000 that an agenda may have; split it into several agendas"},
	}
	if diff := cmp.Diff(want, beyond.Validate()); diff != "" {
		t.Error(diff)
	}
}

func TestNamesThatAreNotUTF8AreRefused(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a\xff", "a\ufffd"} { // as it was sent, and as a JSON decoder hands it on
		pool := model.ResourcePool{Meta: model.Meta{ID: id, CustomerID: "acme", Title: id}}
		if issues := pool.Validate(); len(issues) == 0 || issues[0].Path != "id" {
			t.Errorf("%q: %v", id, issues)
		}
	}
}

func TestAgendaIssuesAreBounded(t *testing.T) {
	t.Parallel()
	agenda := model.Agenda{Operations: make([]model.Operation, model.MaxOperations)}
	if issues := agenda.Validate(); len(issues) != 100 {
		t.Errorf("%d issues", len(issues))
	}
}

func TestDependsOnIsAListOrAStringWithCommas(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		params string
		want   []string
	}{
		{`{}`, nil},
		{`{"dependsOn":null}`, []string{}},
		{`{"dependsOn":""}`, []string{}},
		{`{"dependsOn":"a"}`, []string{"a"}},
		{`{"dependsOn":" a ,b,, c d "}`, []string{"a", "b", "c d"}},
		{`{"dependsOn":["a"," b ",""]}`, []string{"a", "b"}},
		{`{"dependsOn":["a,b"]}`, []string{"a,b"}},
	} {
		operation := model.Operation{Params: decode[model.Params](t, test.params)}
		got, err := operation.DependsOn()
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %s %v", test.params, diff, err)
		}
	}
}

func TestConfigurationIssuesSayWhatIsWrongWhereAndHowToMendIt(t *testing.T) {
	t.Parallel()
	customer := func(text string) []model.Issue {
		v := decode[model.Customer](t, text).WithDefaults()
		return v.Validate()
	}
	pool := func(text string) []model.Issue { v := decode[model.ResourcePool](t, text); return v.Validate() }
	insight := func(text string) []model.Issue {
		v := decode[model.Insight](t, text).WithDefaults()
		return v.Validate()
	}
	for _, test := range []struct {
		name     string
		validate func(string) []model.Issue
		object   string
		want     []model.Issue
	}{
		{"a good customer", customer, `{"id":"acme","title":"Acme","weight":2.5}`, nil},
		{"a customer without title", customer, `{"id":"acme","title":" "}`, []model.Issue{{"title", "is missing; give the customer a title"}}},
		{"a customer owned by another", customer, `{"id":"acme","customerId":"other","title":"Acme"}`, []model.Issue{
			{"customerId", `is "other", but a customer owns itself; leave it out, or make it the id, "acme"`},
		}},
		{"a negative weight", customer, `{"id":"acme","title":"Acme","weight":-1}`, []model.Issue{{"weight", "is -1; it must be 0.001 to 1000000, or absent for 1"}}},
		{"a weight that would break fairness", customer, `{"id":"acme","title":"Acme","weight":1e-300}`, []model.Issue{{"weight", "is 1e-300; it must be 0.001 to 1000000, or absent for 1"}}},

		{"a good pool", pool, `{"id":"p","customerId":"acme"}`, nil},
		{"a pool without owner", pool, `{"id":"p"}`, []model.Issue{{"customerId", "is missing; name the customer that owns the resource pool"}}},

		{"a good insight", insight, `{"id":"i","customerId":"acme","title":"I","resourcePoolId":"p","mappers":{"params":["k=","k=a=b"]},"schedulingAlgorithm":"RoundRobin"}`, nil},
		{"an empty insight", insight, `{"id":"i"}`, []model.Issue{
			{"customerId", "is missing; name the customer that owns the insight"},
			{"title", "is missing; give the insight a title"},
			{"resourcePoolId", "is missing; name the resource pool that runs what the insight takes"},
		}},
		{"an insight with bad values", insight, `{"id":"i","customerId":"acme","title":"I","resourcePoolId":"p","queueSize":-5,"schedulingAlgorithm":"Random","queueName":"q\n",
			"allowedCustomerIds":["ok","a\u0007b"],"mappers":{"params":["k","=v","k=v"],"operationName":["a"," "],"operationType":[""]}}`, []model.Issue{
			{"allowedCustomerIds[0]", `"a\ab" holds the invisible character U+0007 at byte 1; remove it`},
			{"queueName", `"q\n" begins or ends with space; remove it`},
			{"queueSize", "is -5; it must be at least 1, or absent for 100"},
			{"schedulingAlgorithm", `is "Random"; it must be FirstInFirstOut, RoundRobin, Priority or WeightedFair`},
			{"mappers.operationName[1]", "is blank; remove it"},
			{"mappers.operationType[0]", "is blank; remove it"},
			{"mappers.params[0]", `is "k"; write it as key=value`},
			{"mappers.params[1]", `is "=v"; write it as key=value`},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, test.validate(test.object)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for path, v := range map[string]string{
		"weight":                  `"weight": 0`,
		"maxInFlight":             `"maxInFlight": 0`,
		"rateLimit.count":         `"rateLimit": {"count": -1, "periodSeconds": 1}`,
		"rateLimit.periodSeconds": `"rateLimit": {"count": 1, "periodSeconds": 0}`,
		"rateLimit.burst":         `"rateLimit": {"count": 1, "periodSeconds": 1, "burst": -1}`,
		"quota.count":             `"quota": {"count": 0, "windowSeconds": 60}`,
		"quota.windowSeconds":     `"quota": {"count": 1, "windowSeconds": -60}`,
		"pause.by":                `"pause": {"reason": "holidays"}`,
		"drain.by":                `"drain": {"reason": "it moves"}`,
	} {
		customer := decode[model.Customer](t, `{"id": "a", "customerId": "a", "title": "A", `+v+`}`)
		if issues := customer.Validate(); len(issues) != 1 || issues[0].Path != path {
			t.Errorf("customer with %s: %v", v, issues)
		}
	}
	for path, v := range map[string]string{
		"queueSize": `"queueSize": 0`, "maxInFlight": `"maxInFlight": 0`, "agingSeconds": `"agingSeconds": 0`, "cost": `"cost": "gold"`,
		"pause.by": `"pause": {}`,
		"drain.by": `"drain": {}`,
	} {
		insight := decode[model.Insight](t, `{"id": "i", "customerId": "a", "title": "I", "resourcePoolId": "p", `+v+`}`)
		if issues := insight.Validate(); len(issues) != 1 || issues[0].Path != path {
			t.Errorf("insight with %s: %v", v, issues)
		}
	}
	for _, weight := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		v := model.Customer{Meta: model.Meta{ID: "acme", CustomerID: "acme", Title: "Acme"}, Limits: model.Limits{Weight: &weight}}
		if issues := v.Validate(); len(issues) != 1 || issues[0].Path != "weight" {
			t.Errorf("a weight of %v: %v", weight, issues)
		}
	}
}

func TestDefaultsFillWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	if got := (model.Agenda{}).WithDefaults().MaximumAttempts; got != 3 {
		t.Errorf("maximumAttempts %d", got)
	}
	if got := (model.Agenda{MaximumAttempts: 1}).WithDefaults().MaximumAttempts; got != 1 {
		t.Errorf("maximumAttempts %d", got)
	}
	customer := model.Customer{Meta: model.Meta{ID: "acme"}}.WithDefaults()
	if customer.CustomerID != "acme" || *customer.Weight != 1 {
		t.Errorf("%+v", customer)
	}
	insight := decode[model.Insight](t, `{"id":"i","allowedCustomerIds":["B"," a","b",null,"A"]}`).WithDefaults()
	want := model.Insight{
		Meta: model.Meta{ID: "i"}, QueueName: "i", QueueSize: new(100), SchedulingAlgorithm: model.WeightedFair,
		AgingSeconds: new(600.0), Cost: model.CostAgenda,
		Sharing: model.Sharing{AllowedCustomerIDs: []string{"a", "b"}},
	}
	if diff := cmp.Diff(want, insight); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, want.WithDefaults()); diff != "" {
		t.Errorf("a second time: %s", diff)
	}
	template := decode[model.AgendaTemplate](t, `{"allowedCustomerIds":["B"]}`).WithDefaults()
	if diff := cmp.Diff([]string{"b"}, template.AllowedCustomerIDs); diff != "" {
		t.Error(diff)
	}
}
