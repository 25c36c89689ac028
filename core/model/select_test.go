package model_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pop-platform/pop/core/model"
)

func insights(t testing.TB, texts ...string) []model.Insight {
	t.Helper()
	all := make([]model.Insight, len(texts))
	for i, text := range texts {
		all[i] = decode[model.Insight](t, text)
	}
	return all
}

func TestTheMostSpecificInsightIsSelected(t *testing.T) {
	t.Parallel()
	const agenda = `{"customerId":"Acme","params":{"Tier":"Gold","level":5,"flag":true,"none":null,"o":{"a":1}},
		"operations":[{"name":"Probe","type":"mediaInfo","params":{"codec":"H264=x"}},{"name":"make","type":"transcode"}]}`
	for _, test := range []struct {
		name     string
		params   string // replaces the agenda's
		insights []string
		want     string
	}{
		{"by type", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationType":["TRANSCODE"]}}`}, "1"},
		{"by name", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationName":["probe"]}}`}, "1"},
		{"by a param of the agenda", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["TIER=gold"]}}`}, "1"},
		{"by a number", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["level=5"]}}`}, "1"},
		{"by a boolean", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["flag=TRUE"]}}`}, "1"},
		{"by null", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["none="]}}`}, "1"},
		{"by a param of an operation, split at the first equals sign", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["codec=h264=X"]}}`}, "1"},
		{"not by another value", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["codec=h264","level=5.0","absent=","=gold","tier"]}}`}, ""},
		{"not by an object", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["o={\"a\":1}"]}}`}, ""},
		{"not by a part of a name", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationName":["prob"],"operationType":["probe"]}}`}, ""},
		{"not without mappers", ``, []string{`{"id":"1","isGlobal":true}`}, ""},
		{"not if the customer may not read it", ``, []string{`{"id":"1","customerId":"other","allowedCustomerIds":["third"],"mappers":{"operationType":["transcode"]}}`}, ""},

		{"name before param", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"params":["tier=gold","level=5"]}}`, `{"id":"2","isGlobal":true,"mappers":{"operationName":["make"]}}`}, "2"},
		{"param before type", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationType":["mediainfo","transcode"]}}`, `{"id":"2","isGlobal":true,"mappers":{"params":["tier=gold"]}}`}, "2"},
		{"its own more general one after a more specific one", ``, []string{`{"id":"1","customerId":"acme","mappers":{"operationType":["transcode"]}}`, `{"id":"2","isGlobal":true,"mappers":{"params":["tier=gold"]}}`}, "2"},
		{"more values first", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationType":["transcode"]}}`, `{"id":"2","isGlobal":true,"mappers":{"operationType":["mediainfo","transcode"]}}`}, "2"},
		{"values of every mapper count", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationName":["make"]}}`, `{"id":"2","isGlobal":true,"mappers":{"operationName":["make"],"operationType":["transcode"]}}`}, "2"},
		{"the same value counts once", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationType":["transcode"]}}`, `{"id":"2","isGlobal":true,"mappers":{"operationType":["transcode","Transcode"]}}`}, "1"},
		{"values that do not match do not count", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationType":["transcode"]}}`, `{"id":"2","isGlobal":true,"mappers":{"operationType":["transcode","other"]}}`}, "1"},
		{"its own before one that allows it", ``, []string{`{"id":"1","customerId":"x","allowedCustomerIds":["acme"],"mappers":{"operationType":["transcode"]}}`, `{"id":"2","customerId":"acme","mappers":{"operationType":["transcode"]}}`}, "2"},
		{"one that allows it before a global one", ``, []string{`{"id":"1","isGlobal":true,"mappers":{"operationType":["transcode"]}}`, `{"id":"2","isGlobal":true,"allowedCustomerIds":["acme"],"mappers":{"operationType":["transcode"]}}`}, "2"},
		{"then by id", ``, []string{`{"id":"2","isGlobal":true,"mappers":{"operationType":["transcode"]}}`, `{"id":"10","isGlobal":true,"mappers":{"operationType":["transcode"]}}`}, "10"},

		{"the default insight by id", `{"defaultInsight":"SLOW"}`, []string{`{"id":"1","isGlobal":true,"mappers":{"operationName":["make"]}}`, `{"id":"slow","isGlobal":true,"mappers":{"operationType":["transcode"]}}`}, "slow"},
		{"the default insight by title", `{"defaultInsight":"The slow one"}`, []string{`{"id":"1","isGlobal":true,"mappers":{"operationName":["make"]}}`, `{"id":"2","title":"the Slow one","isGlobal":true,"mappers":{"operationType":["transcode"]}}`}, "2"},
		{"another if the default insight does not match", `{"defaultInsight":"slow"}`, []string{`{"id":"1","isGlobal":true,"mappers":{"operationName":["make"]}}`, `{"id":"slow","isGlobal":true,"mappers":{"operationType":["other"]}}`}, "1"},
		{"the most specific of several default insights", `{"defaultInsight":"slow"}`, []string{`{"id":"1","title":"slow","isGlobal":true,"mappers":{"operationType":["transcode"]}}`, `{"id":"2","title":"slow","isGlobal":true,"mappers":{"operationName":["make"]}}`}, "2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, all := decode[model.Agenda](t, agenda), insights(t, test.insights...)
			if test.params != "" {
				a.Params = decode[model.Params](t, test.params)
			}
			for range 2 {
				got := ""
				if insight, ok := model.SelectInsight(&a, all); ok {
					got = insight.ID
				}
				if got != test.want {
					t.Errorf("selected %q, want %q", got, test.want)
				}
				slices.Reverse(all)
			}
		})
	}
}

// The selection never depends on the order of the insights, and never selects one that the customer may not read.
func TestSelectionIsDeterministicAndVisible(t *testing.T) {
	t.Parallel()
	values := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "B", "c", "d"}), 0, 3)
	rapid.Check(t, func(t *rapid.T) {
		agenda := model.Agenda{Meta: model.Meta{CustomerID: "acme"}}
		for _, v := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "C", "x"}), 1, 3).Draw(t, "operations") {
			agenda.Operations = append(agenda.Operations, model.Operation{Name: v, Type: rapid.SampledFrom([]string{"A", "d", "y"}).Draw(t, "type")})
		}
		all := make([]model.Insight, rapid.IntRange(0, 8).Draw(t, "insights"))
		for i := range all {
			all[i].ID = fmt.Sprint(i)
			all[i].CustomerID = rapid.SampledFrom([]string{"acme", "other"}).Draw(t, "owner")
			all[i].IsGlobal = rapid.Bool().Draw(t, "global")
			all[i].Mappers = model.Mappers{OperationName: values.Draw(t, "names"), OperationType: values.Draw(t, "types")}
		}
		first, ok := model.SelectInsight(&agenda, all)
		if ok && first.CustomerID != "acme" && !first.IsGlobal {
			t.Fatal("selected an insight that the customer may not read")
		}
		shuffled := rapid.Permutation(slices.Clone(all)).Draw(t, "shuffled")
		second, okAgain := model.SelectInsight(&agenda, shuffled)
		if ok != okAgain || ok && first.ID != second.ID {
			t.Fatalf("%v and %v", first, second)
		}
	})
}

func TestAnAgendaThatNoInsightTakesIsToldWhy(t *testing.T) {
	t.Parallel()
	agenda := decode[model.Agenda](t, `{"customerId":"acme","operations":[{"name":"b","type":"resize"},{"name":"a","type":"resize"}]}`)
	all := insights(t,
		`{"id":"media","isGlobal":true,"mappers":{"operationType":["transcode","mediaInfo"],"params":["tier=gold"]}}`,
		`{"id":"empty","customerId":"acme"}`,
		`{"id":"secret","customerId":"other","mappers":{"operationType":["spy"]}}`)
	want := `the agenda has operations of type "resize" called "a", "b", but "media" takes params "tier=gold" or operationType "mediaInfo", "transcode"; "empty" takes nothing, as it has no mappers; add a value that matches to the mappers of one of them, or create one`
	if got := model.ExplainNoInsight(&agenda, all); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want = `the agenda has operations of type "resize" called "a", "b", and customer "acme" may use no insight here; create one whose mappers match`
	if got := model.ExplainNoInsight(&agenda, all[2:]); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}

	var many []model.Insight
	for i := range 1000 {
		long := strings.Repeat("é", 100) + fmt.Sprint(i)
		agenda.Operations = append(agenda.Operations, model.Operation{Name: long, Type: long})
		many = append(many, model.Insight{Meta: model.Meta{ID: long, CustomerID: "acme"}, Mappers: model.Mappers{OperationName: []string{long, long + "x"}}})
	}
	if got := model.ExplainNoInsight(&agenda, many); len(got) > 3000 || !strings.Contains(got, "and 995 more insights") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func BenchmarkSelectInsight(b *testing.B) {
	agenda := model.Agenda{Meta: model.Meta{CustomerID: "acme"}, Params: decode[model.Params](b, `{"tier":"gold","region":"eu"}`)}
	for i := range 5 {
		agenda.Operations = append(agenda.Operations, model.Operation{Name: fmt.Sprintf("operation-%d", i), Type: fmt.Sprintf("type-%d", i)})
	}
	all := make([]model.Insight, 100)
	for i := range all {
		all[i] = model.Insight{Meta: model.Meta{ID: fmt.Sprint(i), CustomerID: "acme"}, Mappers: model.Mappers{OperationType: []string{fmt.Sprintf("type-%d", i), "other"}, Params: []string{fmt.Sprintf("tier=%d", i)}}}
	}
	for _, n := range []int{3, 100} {
		b.Run(fmt.Sprintf("%d insights", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := model.SelectInsight(&agenda, all[:n]); !ok {
					b.Fatal("none")
				}
			}
		})
	}
}

func BenchmarkValidate(b *testing.B) {
	for _, n := range []int{5, 10_000} {
		agenda := model.Agenda{Meta: model.Meta{CustomerID: "acme"}}
		for i := range n {
			agenda.Operations = append(agenda.Operations, model.Operation{Name: fmt.Sprintf("operation-%d", i), Type: "transcode", Payload: []byte(`{"source":"s3://bucket/key.mov","preset":{"width":1920}}`)})
		}
		b.Run(fmt.Sprintf("%d operations", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if issues := agenda.Validate(); issues != nil {
					b.Fatal(issues)
				}
			}
		})
	}
}
