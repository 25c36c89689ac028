package workflow_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pop-platform/pop/core/workflow"
)

func lookupIn(values map[string]string) workflow.Lookup {
	return func(name string) (json.RawMessage, bool) {
		value, ok := values[name]
		return json.RawMessage(value), ok
	}
}

var results = lookupIn(map[string]string{
	"a.out": `{"x":"1","n":5,"b":true,"z":null,"o":{"k":"@<b.out::/y>"},"p/q":"slash","p~q":"tilde","":"blank",
		"big":12345678901234567890.1250,"list":["zero",{"one":1},[2]],"quote":"say \"hi\" \\ \u00e9 % $1 ${x}",
		"twice":1,"twice":2,"caf\u00e9":"key"}`,
	"b.out":                `{"y":"2"}`,
	"step one.v2.out":      `"named"`,
	"null.out":             `null`,
	"none.out":             ``,
	"broken.out":           `{"x":`,
	"spaced.out":           " [ 1 , { \"k\" : [ ] , \"l\" : \"}\" } ] \n",
	workflow.AgendaID:      `"AG"`,
	workflow.OperationName: `"OPN"`,
	workflow.Params:        `{"tier":"gold"}`,
})

func TestReferencesAreReplacedByWhatTheyName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, doc, want string }{
		{"a number keeps its type", `"@<a.out::/n>"`, `5`},
		{"a string stays a string", `"@<a.out::/x>"`, `"1"`},
		{"a boolean keeps its type", `"@<a.out::/b>"`, `true`},
		{"null keeps its type", `"@<a.out::/z>"`, `null`},
		{"an object keeps its type and is not looked at again", `"@<a.out::/o>"`, `{"k":"@<b.out::/y>"}`},
		{"a string that looks like a reference is not looked at again", `"@<a.out::/o/k>"`, `"@<b.out::/y>"`},
		{"nor is it in a longer string", `"v=@<a.out::/o/k> @<b.out::/y>"`, `"v=@<b.out::/y> 2"`},
		{"an array keeps its type", `"@<a.out::/list>"`, `["zero",{"one":1},[2]]`},
		{"an element of an array", `"@<a.out::/list/1/one>"`, `1`},
		{"a number keeps every digit", `"@<a.out::/big>"`, `12345678901234567890.1250`},
		{"a number keeps every digit in text", `"=@<a.out::/big>"`, `"=12345678901234567890.1250"`},
		{"no pointer is the whole value", `"@<b.out>"`, `{"y":"2"}`},
		{"an empty pointer is the whole value", `"@<b.out::>"`, `{"y":"2"}`},
		{"a lone slash is the whole value", `"@<b.out::/>"`, `{"y":"2"}`},
		{"a missing leading slash is added", `"@<a.out::o/k>"`, `"@<b.out::/y>"`},
		{"a slash in a key", `"@<a.out::/p~1q>"`, `"slash"`},
		{"a tilde in a key", `"@<a.out::/p~0q>"`, `"tilde"`},
		{"a key that JSON writes with escapes", `"@<a.out::/café>"`, `"key"`},
		{"the last of several values of a key", `"@<a.out::/twice>"`, `2`},
		{"a name with spaces and points", `"@<step one.v2.out>"`, `"named"`},
		{"the result null", `"@<null.out>"`, `null`},
		{"no result is an empty object", `"@<none.out>"`, `{}`},
		{"a pointer into no result falls back", `"@<none.out::/x?y>"`, `"y"`},
		{"space in a result does no harm", `["@<spaced.out::/0>","@<spaced.out::/1/k>","x@<spaced.out::/1/l>"]`, `[1,[ ],"x}"]`},

		{"a fallback is a string", `"@<a.out::/nope?95>"`, `"95"`},
		{"a bare question mark falls back to null", `"@<a.out::/nope?>"`, `null`},
		{"a fallback may hold question marks", `"@<a.out::/nope?a?b>"`, `"a?b"`},
		{"a fallback may be quoted", `"@<a.out::/nope?\"a\\b\">"`, `"\"a\\b\""`},
		{"a fallback after two question marks is JSON", `["@<a.out::/nope??95>","@<a.out::/nope??[true, {\"k\":null}]>","@<a.out::/nope??\"?\">"]`, `[95,[true, {"k":null}],"?"]`},
		{"a JSON fallback within text", `"q@<a.out::/nope??1.50>"`, `"q1.50"`},
		{"a fallback stands in for an operation that has not succeeded", `["@<c.out::/x?95>","@<c.out::?none>","@<c.out::??0>"]`, `["95","none",0]`},
		{"a fallback within text", `"q@<a.out::/nope?def>"`, `"qdef"`},
		{"a null fallback within text", `"q@<a.out::/nope?>"`, `"qnull"`},
		{"a fallback is left alone if there is a value", `"@<a.out::/x?95>"`, `"1"`},
		{"even if that is null", `"@<a.out::/z?95>"`, `null`},
		{"an index beyond the array falls back", `"@<a.out::/list/3?end>"`, `"end"`},
		{"the index after the last falls back", `"@<a.out::/list/-?end>"`, `"end"`},
		{"an index is written without zeros in front", `"@<a.out::/list/01?none>"`, `"none"`},
		{"an index is not negative", `"@<a.out::/list/-1?none>"`, `"none"`},
		{"there is nothing in a number", `"@<a.out::/n/x?none>"`, `"none"`},

		{"text before", `"v=@<a.out::/n>"`, `"v=5"`},
		{"text between", `"x@<a.out::/x>-@<b.out::/y>"`, `"x1-2"`},
		{"a reference at both ends", `"@<a.out::/x>-@<b.out::/y>"`, `"1-2"`},
		{"a name at both ends", `"@<pop.agendaId>/@<pop.operationName>"`, `"AG/OPN"`},
		{"side by side", `"@<a.out::/x>@<b.out::/y>"`, `"12"`},
		{"words in text", `"@<a.out::/b> @<a.out::/z>"`, `"true null"`},
		{"quotes, backslashes, percent and dollar signs do no harm", `"100% $0 @<a.out::/quote>"`, `"100% $0 say \"hi\" \\ é % $1 ${x}"`},
		{"a backslash is no escape", `"\\@<a.out::/x>"`, `"\\1"`},
		{"an at sign before a reference stays", `"me@@<b.out::/y>"`, `"me@2"`},
		{"params of the agenda", `"@<pop.params::/tier>"`, `"gold"`},

		{"a doubled angle bracket is a literal one", `"@<<a.out::/x>"`, `"@<a.out::/x>"`},
		{"a doubled angle bracket in text", `"a@<<b@<a.out::/x>"`, `"a@<b1"`},
		{"a literal @<<", `"@<<<"`, `"@<<"`},
		{"a lone at sign", `"me@example.com < you >"`, `"me@example.com < you >"`},

		{"the whole payload", `"@<a.out::/x>"`, `"1"`},
		{"values of an object", `{"a":"@<a.out::/n>","b":{"c":["@<a.out::/b>",7]}}`, `{"a":5,"b":{"c":[true,7]}}`},
		{"keys are left alone", `{"@<a.out::/x>":"@<a.out::/x>"}`, `{"@<a.out::/x>":"1"}`},
		{"the rest stays byte by byte", ` { "n" : 1.50e+3 , "a":"\u00e9@<<", "a" : [ ] } `, ` { "n" : 1.50e+3 , "a":"é@<", "a" : [ ] } `},
		{"as Go's encoder writes it", `"\u0040\u003ca.out::/x\u003e"`, `"1"`},
		{"as other encoders may write it", `"@\u003Ca.out::/x\u003E"`, `"1"`},
		{"without references", `{"a": [1, "x"]}`, `{"a": [1, "x"]}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := workflow.Resolve(json.RawMessage(test.doc), results)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAReferenceThatCannotBeReplacedSaysWhichWhereAndWhy(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, doc, reference, at, reason string }{
		{"a pointer that finds nothing", `{"v":["@<a.out::/nope>"]}`, "@<a.out::/nope>", "/v/0", "a.out has no /nope; correct the pointer, or add a fallback as in @<a.out::/nope?text>"},
		{"an unknown name", `{"a/b~":"@<c.out>"}`, "@<c.out>", "/a~1b~0", "there is nothing called c.out"},
		{"a fallback without a pointer is part of the name", `"@<a.out?95>"`, "@<a.out?95>", "", "there is nothing called a.out?95"},
		{"space is part of the name", `"@<  text >"`, "@<  text >", "", "there is nothing called   text "},
		{"an object in text", `[1,"x@<a.out::/o>"]`, "@<a.out::/o>", "/1", "the value is an object, which has no text; make the reference the whole string, or point at a part of it"},
		{"an array in text", `"x@<a.out::/list>"`, "@<a.out::/list>", "", "the value is an array, which has no text; make the reference the whole string, or point at a part of it"},
		{"no end", `{"a":"see @<a.out::/x"}`, "@<a.out::/x", "/a", "it does not end; close it with >, or write @<< for a literal @<"},
		{"no name", `"@<>"`, "@<>", "", "it names nothing; write @<name.out>, or @<< for a literal @<"},
		{"no name before the pointer", `"@<::/x>"`, "@<::/x>", "", "it names nothing; write @<name.out>, or @<< for a literal @<"},
		{"a bad escape in the pointer", `"@<a.out::/a~2b>"`, "@<a.out::/a~2b>", "", "in a pointer, ~ must be followed by 0 or 1, as in ~0 for a tilde and ~1 for a slash (~2b)"},
		{"a tilde at the end of the pointer", `"@<a.out::/a~?x>"`, "@<a.out::/a~?x>", "", "in a pointer, ~ must be followed by 0 or 1, as in ~0 for a tilde and ~1 for a slash (~)"},
		{"a result that is not JSON", `"@<broken.out>"`, "@<broken.out>", "", "broken.out is not valid JSON at byte 5: unexpected end of JSON input"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, err := workflow.Resolve(json.RawMessage(test.doc), results)
			var refErr *workflow.ReferenceError
			if !errors.As(err, &refErr) {
				t.Fatalf("got %s, %v; want a ReferenceError", got, err)
			}
			want := workflow.ReferenceError{Reference: test.reference, At: test.at, Reason: test.reason}
			if diff := cmp.Diff(want, *refErr); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryReferenceThatFailsIsReported(t *testing.T) {
	t.Parallel()
	_, err := workflow.Resolve(json.RawMessage(`["@<x.out>","@<a.out::/n>",{"k":"@<y.out>"}]`), results)
	want := "reference @<x.out> at /0: there is nothing called x.out; reference @<y.out> at /2/k: there is nothing called y.out"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}

	_, err = workflow.Resolve(json.RawMessage(`["@<x.out>"`+strings.Repeat(`,"@<x.out>"`, 10_000)+`]`), results)
	var failed workflow.ReferenceErrors
	if !errors.As(err, &failed) || len(failed) != 100 || len(err.Error()) > 1000 {
		t.Errorf("the %d errors about many references are %d bytes", len(failed), len(err.Error()))
	}
}

func TestAMessageIsBoundedWhateverTheDocument(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("é", 100_000)
	deep := strings.Repeat(`{"`+long[:100]+`":[`, 1000) + `"@<x.out>"` + strings.Repeat(`]}`, 1000)
	for _, doc := range []string{deep, `{"` + long + `":"@<` + long + `::/` + long + `>"}`, `"@<` + long + `"`, `"@<a.out::/` + long + `>"`} {
		_, err := workflow.Resolve(json.RawMessage(doc), results)
		var failed workflow.ReferenceErrors
		if !errors.As(err, &failed) || len(err.Error()) > 2000 || len(failed[0].At) > 500 {
			t.Errorf("the message about %.40s is %d bytes", doc, len(err.Error()))
		}
	}
}

func TestAPayloadThatIsNotJSONIsRefused(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{`{"a":"@<a.out>"`, `"@<a.out>" x`, "\"@<a.out>\n\"", `@<a.out>`, `{"a" "@<a.out>"}`} {
		if got, err := workflow.Resolve(json.RawMessage(doc), results); err == nil {
			t.Errorf("%s became %s", doc, got)
		}
		if _, err := workflow.Parse(json.RawMessage(doc)); err == nil {
			t.Errorf("%s was parsed", doc)
		}
	}
}

func TestADocumentWithoutReferencesIsReturnedAsItIs(t *testing.T) { // counts allocations, so not in parallel
	doc := json.RawMessage(`{"a":"plain"}`)
	got, err := workflow.Resolve(doc, func(name string) (json.RawMessage, bool) {
		t.Errorf("looked up %s", name)
		return nil, false
	})
	if err != nil || &got[0] != &doc[0] {
		t.Errorf("got %s, %v", got, err)
	}
	if allocs := testing.AllocsPerRun(100, func() { _, _ = workflow.Resolve(doc, results) }); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
	if got, err := workflow.Resolve(nil, results); got != nil || err != nil {
		t.Errorf("an absent payload became %s, %v", got, err)
	}
}

func TestReferencesCannotFillTheMemory(t *testing.T) {
	t.Parallel()
	long := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
	doc := `["@<a.out>"` + strings.Repeat(`,"@<a.out>"`, 1000) + `]`
	_, err := workflow.Resolve(json.RawMessage(doc), func(string) (json.RawMessage, bool) { return long, true })
	if err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("got %v", err)
	}
}

func TestAValueThatNestsTheDocumentTooDeeplyIsRefused(t *testing.T) {
	t.Parallel()
	nested := func(inner string) json.RawMessage {
		return json.RawMessage(strings.Repeat("[", 6000) + inner + strings.Repeat("]", 6000))
	}
	got, err := workflow.Resolve(nested(`"@<a.out>"`), func(string) (json.RawMessage, bool) { return nested(""), true })
	if err == nil {
		t.Errorf("got %d bytes", len(got))
	}
}

func TestParseReturnsReferencesInOrder(t *testing.T) {
	t.Parallel()
	got, err := workflow.Parse(json.RawMessage(`{"a":["@<x.out::p/0?no>",1],"b":"@<y.out>@<<@<z.out::/?>"}`))
	want := []workflow.Reference{
		{Text: "@<x.out::p/0?no>", Name: "x.out", Pointer: "/p/0", Fallback: json.RawMessage(`"no"`), At: "/a/0"},
		{Text: "@<y.out>", Name: "y.out", At: "/b"},
		{Text: "@<z.out::/?>", Name: "z.out", Fallback: json.RawMessage(`null`), At: "/b"},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}

	got, err = workflow.Parse(json.RawMessage(`["@<x.out>","@<open"]`))
	var refErr *workflow.ReferenceError
	if len(got) != 1 || !errors.As(err, &refErr) || refErr.At != "/1" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestFillReplacesWhatItKnowsAndLeavesTheRest(t *testing.T) {
	t.Parallel()
	values := lookupIn(map[string]string{
		"sp": `{"a":[1,2]}`, "num": `5`, "pop.payload": `{"value":"1234"}`,
		"text": `"@<log.out>"`, "at": `"me@"`, "nested": `{"k@<":["@<x>","@\u003c<","plain"]}`,
	})
	for _, test := range []struct {
		name, doc, want string
		unknown         []string
	}{
		{"a value", `"@<pop.payload::/value>"`, `"1234"`, nil},
		{"several in text", `"x-@<sp::/a/1>-@<num>"`, `"x-2-5"`, nil},
		{"an object", `"@<sp>"`, `{"a":[1,2]}`, nil},
		{"a fallback", `"@<pop.payload::/nope?def>"`, `"def"`, nil},
		{"a null fallback", `"@<pop.payload::/nope?>"`, `null`, nil},
		{"a null fallback in text", `"q@<pop.payload::/nope?>"`, `"qnull"`, nil},
		{"the whole payload", `"@<pop.payload>"`, `{"value":"1234"}`, nil},
		{"elements of an array", `["@<num>","a@<num>b","@<sp::a>"]`, `[5,"a5b",[1,2]]`, nil},
		{"unknown names stay", `"@<log.1.out::/a>@<pop.agendaId>"`, `"@<log.1.out::/a>@<pop.agendaId>"`, []string{"@<log.1.out::/a>", "@<pop.agendaId>"}},
		{"one unknown name stays", `{"a":"@<log.out::/x?y>"}`, `{"a":"@<log.out::/x?y>"}`, []string{"@<log.out::/x?y>"}},
		{"known and unknown in one string", `"@<num>/@<log.out>"`, `"5/@<log.out>"`, []string{"@<log.out>"}},
		{"an escape stays", `"@<< @<num>"`, `"@<< 5"`, nil},
		{"a lone escape stays", `"@<<"`, `"@<<"`, nil},
		{"what is put in is escaped", `"@<text>"`, `"@<<log.out>"`, nil},
		{"what is put in is escaped at any depth", `"@<nested>"`, `{"k@<":["@<<x>","@<<<","plain"]}`, nil},
		{"what is put in next to a bracket is escaped", `"@<at>< @<log.out>"`, `"me@<< @<log.out>"`, []string{"@<log.out>"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, unknown, err := workflow.Fill(json.RawMessage(test.doc), values)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, ref := range unknown {
				names = append(names, ref.Text)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.unknown, names); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, _, err := workflow.Fill(json.RawMessage(`"@<sp::/nope>"`), values); err == nil {
		t.Error("a pointer into a known value that finds nothing was let through")
	}
}

// jsonValue draws JSON whose strings are likely to look like references.
func jsonValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kind := rapid.IntRange(0, 6).Draw(t, "kind")
		if depth == 0 {
			kind %= 5
		}
		switch kind {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "bool")
		case 2:
			return json.Number(fmt.Sprint(rapid.Int64().Draw(t, "number")) + rapid.SampledFrom([]string{"", ".50", "e5"}).Draw(t, "tail"))
		case 3:
			return rapid.String().Draw(t, "string")
		case 4:
			return rapid.StringOf(rapid.SampledFrom([]rune(`@<>a.out:/?~"\`))).Draw(t, "tricky")
		case 5:
			return rapid.SliceOfN(jsonValue(depth-1), 0, 4).Draw(t, "array")
		default:
			return rapid.MapOfN(rapid.StringOf(rapid.SampledFrom([]rune(`ab@</~`))), jsonValue(depth-1), 0, 4).Draw(t, "object")
		}
	})
}

func encode(t *rapid.T, value any) json.RawMessage {
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decode(t *rapid.T, raw json.RawMessage) any {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return value
}

// A pointer to any part of any value brings that part, and nothing in it is taken for a reference.
func TestAWholeStringReferenceBringsExactlyThePartItPointsAt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := encode(t, jsonValue(4).Draw(t, "value"))
		part, pointer := decode(t, raw), ""
		for {
			var keys []string
			switch p := part.(type) {
			case map[string]any:
				for key := range p {
					if key != "" && !strings.ContainsAny(key, ">?") {
						keys = append(keys, key)
					}
				}
			case []any:
				for i := range p {
					keys = append(keys, fmt.Sprint(i))
				}
			}
			if len(keys) == 0 || rapid.Bool().Draw(t, "stop") {
				break
			}
			key := rapid.SampledFrom(keys).Draw(t, "key")
			pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
			if object, ok := part.(map[string]any); ok {
				part = object[key]
			} else {
				var i int
				_, _ = fmt.Sscan(key, &i)
				part = part.([]any)[i]
			}
		}
		doc := encode(t, map[string]any{"v": []any{"@<a.out::" + pointer + ">"}})
		got, err := workflow.Resolve(doc, func(string) (json.RawMessage, bool) { return raw, true })
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(any(map[string]any{"v": []any{part}}), decode(t, got)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// What Fill puts in comes out of Resolve as it went in.
func TestWhatIsFilledInIsDataWhenTheResultIsResolved(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := jsonValue(3).Draw(t, "value")
		text := rapid.StringOf(rapid.SampledFrom([]rune(`@<>a.out:/?`))).Draw(t, "text")
		lookup := lookupIn(map[string]string{"value": string(encode(t, value)), "text": string(encode(t, text))})
		before := rapid.StringOf(rapid.SampledFrom([]rune("x@"))).Draw(t, "before")
		after := rapid.StringOf(rapid.SampledFrom([]rune("<x"))).Draw(t, "after")

		doc := encode(t, []any{"@<value>", before + "@<text>" + after + "@<later>"})
		filled, _, err := workflow.Fill(doc, lookup)
		if err != nil {
			t.Fatal(err)
		}
		got, err := workflow.Resolve(filled, lookupIn(map[string]string{"later": `"L"`}))
		if err != nil {
			t.Fatalf("%s: %v", filled, err)
		}
		want := decode(t, encode(t, []any{value, before + text + after + "L"}))
		if diff := cmp.Diff(want, decode(t, got)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzResolve(f *testing.F) {
	for _, doc := range []string{
		`"@<a.out::/n>"`, `{"k":["x@<a.out::/x?>@<<",1.50]}`, `"\u0040\u003ca.out>"`, `["@<b.out>","@<"]`, `{"@<":"\\@<a.out::/p~1q>"}`,
		`["@<a.out::/none??{\"k\":[1]}>","x@<b.out::?y>","@<a.out::/n??\u003e>"]`,
	} {
		f.Add([]byte(doc), []byte(`{"n":5,"x":"@<a.out>","p/q":[true,null]}`))
	}
	f.Fuzz(func(t *testing.T, doc, value []byte) {
		lookup := func(name string) (json.RawMessage, bool) { return value, name == "a.out" }
		got, err := workflow.Resolve(doc, lookup)
		filled, _, fillErr := workflow.Fill(doc, lookup)
		if !json.Valid(doc) {
			return
		}
		if err == nil && !json.Valid(got) {
			t.Errorf("resolving %s gave %s", doc, got)
		}
		if fillErr != nil {
			return
		}
		if !json.Valid(filled) {
			t.Fatalf("filling %s gave %s", doc, filled)
		}
		again, err2 := workflow.Resolve(filled, lookup)
		if err == nil && (err2 != nil || compact(t, again) != compact(t, got)) {
			t.Errorf("resolving %s gave %s, but filled first %s, %v", doc, got, again, err2)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"k":["x@<a.out::/x?>@<<","@<open"]}`))
	f.Add([]byte(`"no references"`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		refs, err := workflow.Parse(doc)
		got, resolveErr := workflow.Resolve(doc, func(string) (json.RawMessage, bool) { return json.RawMessage("1"), true })
		if json.Valid(doc) && err == nil && len(refs) == 0 {
			again, againErr := workflow.Resolve(doc, nil)
			if resolveErr != nil || againErr != nil || string(again) != string(got) {
				t.Errorf("%s has no references, yet became %s, %v, then %s, %v", doc, got, resolveErr, again, againErr)
			}
		}
		if err != nil && resolveErr == nil {
			t.Errorf("%s was resolved to %s, but not parsed: %v", doc, got, err)
		}
	})
}

// FuzzCompile holds what is compiled against what can be resolved: if a graph has no issue, every payload can be resolved once
// all results have whatever its pointers point at.
func FuzzCompile(f *testing.F) {
	f.Add([]byte(`["@<a.out::/x>","@<c.out::/y??1>"]`), []byte(`{"k":"@<a.out>@<pop.params::/p>"}`), "a, b", "onFailure")
	f.Add([]byte(`"@<c.out>"`), []byte(`"@<b.out>"`), "c", "")
	f.Fuzz(func(t *testing.T, b, c []byte, dependsOn, when string) {
		operations := []workflow.Operation{
			{Name: "a"}, {Name: "b", Payload: b}, {Name: "c", Payload: c, DependsOn: strings.Split(dependsOn, ","), When: workflow.When(when)},
		}
		graph, issues := workflow.Compile(operations, workflow.Scope{Params: json.RawMessage(`{"p":1}`)})
		if (graph == nil) != (len(issues) > 0) {
			t.Fatalf("graph %v with issues %v", graph, issues)
		}
		if graph == nil {
			return
		}
		for _, name := range graph.DependsOn("c") {
			if slices.Contains(graph.DependsOn(name), "c") {
				t.Errorf("%s and c wait for each other", name)
			}
		}
		for i := range operations {
			refs, err := workflow.Parse(operations[i].Payload)
			if err != nil {
				t.Errorf("%s was compiled, but not parsed: %v", operations[i].Payload, err)
			}
			for _, ref := range refs {
				if name, ok := workflow.ResultOf(ref.Name); ok && !slices.Contains(graph.DependsOn(operations[i].Name), name) {
					t.Errorf("%s does not wait for %s", operations[i].Name, name)
				}
			}
		}
	})
}

// compact returns a document in the form that all texts of the same document share.
func compact(t *testing.T, doc json.RawMessage) string {
	decoder := json.NewDecoder(strings.NewReader(string(doc)))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func BenchmarkResolve(b *testing.B) {
	for _, bench := range []struct{ name, doc string }{
		{"no references", `{"source":"s3://bucket/key","preset":{"width":1920,"height":1080,"codec":"h264"},"tags":["a","b","c"]}`},
		{"three references", `{"source":"@<a.out::/x>","preset":{"width":"@<a.out::/n>","height":1080,"codec":"h264"},"tags":["a","id-@<pop.agendaId>","c"]}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			doc := json.RawMessage(bench.doc)
			for b.Loop() {
				if _, err := workflow.Resolve(doc, results); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
