package workflow_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pop-platform/pop/core/workflow"
)

func op(name, payload string, dependsOn ...string) workflow.Operation {
	return workflow.Operation{Name: name, Payload: json.RawMessage(payload), DependsOn: dependsOn}
}

func TestIssuesSayWhatIsWrongWhereAndHowToMendIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name       string
		operations []workflow.Operation
		want       []workflow.Issue
	}{
		{
			"an unknown operation in a payload",
			[]workflow.Operation{op("a", `{"x":["@<nope.out::/y?z>"]}`)},
			[]workflow.Issue{{"operations[0].payload", `reference @<nope.out::/y?z> at /x/0: there is no operation "nope"`}},
		},
		{
			"an unknown operation in dependsOn",
			[]workflow.Operation{op("a", ``), op("b", ``, "nope")},
			[]workflow.Issue{{"operations[1].params.dependsOn", `there is no operation "nope"`}},
		},
		{"another case", []workflow.Operation{op("Probe", ``), op("b", `"@<probe.out>"`, "PROBE")}, []workflow.Issue{
			{"operations[1].params.dependsOn", `there is no operation "PROBE"; did you mean "Probe"?`},
			{"operations[1].payload", `reference @<probe.out>: there is no operation "probe"; did you mean "Probe"?`},
		}},
		{
			"a result in dependsOn",
			[]workflow.Operation{op("a", ``), op("b", ``, "a.out")},
			[]workflow.Issue{{"operations[1].params.dependsOn", `there is no operation "a.out"; did you mean "a"?`}},
		},
		{
			"space in a reference",
			[]workflow.Operation{op("a", ``), op("b", `"@< a.out>"`)},
			[]workflow.Issue{{"operations[1].payload", `reference @< a.out>: there is no operation " a"; did you mean "a"?`}},
		},
		{
			"a reference without .out",
			[]workflow.Operation{op("a", ``), op("b", `"@<a::/x>"`)},
			[]workflow.Issue{{"operations[1].payload", `reference @<a::/x>: there is nothing called "a"; the result of an operation is called @<a.out>`}},
		},
		{
			"a fallback without a pointer",
			[]workflow.Operation{op("a", ``), op("b", `"@<a.out?95>"`)},
			[]workflow.Issue{{"operations[1].payload", `reference @<a.out?95>: there is nothing called "a.out?95"; a fallback follows a pointer, as in @<a.out::/pointer?text>`}},
		},
		{
			"an unknown name of the platform",
			[]workflow.Operation{op("a", `"@<pop.whatever>"`)},
			[]workflow.Issue{{"operations[0].payload", `reference @<pop.whatever>: there is nothing called "pop.whatever"; write @<name.out> for the result of an operation, or one of pop.agendaId, pop.operationName, pop.params, pop.failures`}},
		},
		{
			"a result of nothing",
			[]workflow.Operation{op("a", `"@<.out>"`)},
			[]workflow.Issue{{"operations[0].payload", `reference @<.out>: there is nothing called ".out"; write @<name.out> for the result of an operation, or one of pop.agendaId, pop.operationName, pop.params, pop.failures`}},
		},
		{
			"a reference that does not end",
			[]workflow.Operation{op("a", `"@<a.out"`)},
			[]workflow.Issue{{"operations[0].payload", `reference @<a.out: it does not end; close it with >, or write @<< for a literal @<`}},
		},
		{
			"a payload that is not JSON",
			[]workflow.Operation{op("a", `{"x":1`)},
			[]workflow.Issue{{"operations[0].payload", `the payload is not valid JSON at byte 6: unexpected end of JSON input`}},
		},
		{
			"its own result",
			[]workflow.Operation{op("a", `"@<a.out>"`)},
			[]workflow.Issue{{"operations[0].payload", `reference @<a.out>: the operation refers to its own result; refer to another operation`}},
		},
		{
			"itself",
			[]workflow.Operation{op("a", ``, "a")},
			[]workflow.Issue{{"operations[0].params.dependsOn", `the operation depends on itself; remove "a"`}},
		},
		{
			"names that differ in case only",
			[]workflow.Operation{op("a", ``), op("A", ``)},
			[]workflow.Issue{{"operations[1].name", `operations[0] is called "a" already, and case does not matter; rename one of them`}},
		},
		{
			"no name",
			[]workflow.Operation{op("", ``)},
			[]workflow.Issue{{"operations[0].name", `the operation has no name; give it one that no other operation of the agenda has`}},
		},
		{
			"a cycle of two",
			[]workflow.Operation{op("a", `"@<b.out>"`), op("b", ``, "a")},
			[]workflow.Issue{{"operations[0]", `operations wait for each other: a → b → a; remove one of these dependencies`}},
		},
		{
			"a cycle behind and before others",
			[]workflow.Operation{op("last", ``, "a"), op("a", ``, "b"), op("b", ``, "c", "first"), op("c", ``, "a"), op("first", ``)},
			[]workflow.Issue{{"operations[1]", `operations wait for each other: a → b → c → a; remove one of these dependencies`}},
		},
		{"two cycles", []workflow.Operation{op("a", ``, "b"), op("b", ``, "a"), op("c", ``, "d"), op("d", ``, "c")}, []workflow.Issue{
			{"operations[0]", `operations wait for each other: a → b → a; remove one of these dependencies`},
			{"operations[2]", `operations wait for each other: c → d → c; remove one of these dependencies`},
		}},
		{"a result that may not be there when an operation runs at the end", []workflow.Operation{
			op("a", ``), at(workflow.OnFailure, op("b", `["@<a.out::/x>","@<a.out::/x?none>"]`)),
		}, []workflow.Issue{
			{"operations[1].payload", `reference @<a.out::/x> at /0: the operation may run without that result; add a fallback as in @<a.out::/x?text>`},
		}},
		{"an operation that runs before what it depends on", []workflow.Operation{
			at(workflow.Always, op("clean", ``)), op("a", ``, "clean"), op("b", `"@<clean.out::?x>"`),
		}, []workflow.Issue{
			{"operations[1].params.dependsOn", `"clean" runs always, when all that run on success have ended; only operations with such a when can depend on it`},
			{"operations[2].payload", `reference @<clean.out::?x>: "clean" runs always, when all that run on success have ended; only operations with such a when can depend on it`},
		}},
		{
			"a fallback that is said to be JSON and is not",
			[]workflow.Operation{op("a", ``), op("b", `"@<a.out::/x??tru>"`)},
			[]workflow.Issue{{"operations[1].payload", `reference @<a.out::/x??tru>: what follows ?? must be JSON, such as 640, true or [1,2], and tru is not; write ?tru for text`}},
		},
		{"everything at once", []workflow.Operation{op("a", `["@<x.out>","@<y.out>"]`, "z"), op("a", ``)}, []workflow.Issue{
			{"operations[1].name", `operations[0] is called "a" already, and case does not matter; rename one of them`},
			{"operations[0].params.dependsOn", `there is no operation "z"`},
			{"operations[0].payload", `reference @<x.out> at /0: there is no operation "x"`},
			{"operations[0].payload", `reference @<y.out> at /1: there is no operation "y"`},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			graph, got := workflow.Compile(test.operations, workflow.Scope{})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if graph != nil {
				t.Error("there is a graph all the same")
			}
		})
	}
}

func TestIssuesAreBounded(t *testing.T) {
	t.Parallel()
	many := make([]workflow.Operation, 10_000)
	long := strings.Repeat("x", 10_000)
	ring := make([]workflow.Operation, len(many))
	for i := range many {
		many[i] = op(fmt.Sprint(i), `"@<`+long+`.out>"`)
		ring[i] = op(fmt.Sprint(i), ``, fmt.Sprint((i+1)%len(ring)))
	}
	if _, issues := workflow.Compile(many, workflow.Scope{}); len(issues) != workflow.MaxIssues || len(issues[0].Message) > 1000 {
		t.Errorf("%d issues", len(issues))
	}
	_, issues := workflow.Compile(ring, workflow.Scope{})
	want := []workflow.Issue{{"operations[0]", "operations wait for each other: 0 → 1 → 2 → 3 → 4 → 5 → 6 → 7 → 8 → 9 → (9990 more) → 0; remove one of these dependencies"}}
	if diff := cmp.Diff(want, issues); diff != "" {
		t.Error(diff)
	}
}

func TestReferencesMayNameWhatIsKnown(t *testing.T) {
	t.Parallel()
	operations := []workflow.Operation{op("a", `["@<pop.agendaId>@<pop.operationName>","@<pop.params::/x>","@<bitrate>","@<<not one>"]`)}
	if _, issues := workflow.Compile(operations, workflow.Scope{Names: []string{"bitrate"}}); issues != nil {
		t.Error(issues)
	}
	if _, issues := workflow.Compile(operations, workflow.Scope{}); len(issues) != 1 {
		t.Error("a name that was not given was let through")
	}
}

func TestPointersIntoParamsAreCheckedWhenTheParamsAreKnown(t *testing.T) {
	t.Parallel()
	operations := []workflow.Operation{op("a", `["@<pop.params>","@<pop.params::/x>","@<pop.params::/y/0>","@<pop.params::/z?w>"]`)}
	if _, issues := workflow.Compile(operations, workflow.Scope{}); issues != nil {
		t.Error(issues)
	}
	_, got := workflow.Compile(operations, workflow.Scope{Params: json.RawMessage(`{"x":null,"y":[]}`)})
	want := []workflow.Issue{{"operations[0].payload", `reference @<pop.params::/y/0> at /2: the params of the agenda have no /y/0; add it there, correct the pointer, or add a fallback as in @<pop.params::/y/0?text>`}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// at returns an operation that is run in a course.
func at(when workflow.When, o workflow.Operation) workflow.Operation {
	o.When = when
	return o
}

func mustCompile(t testing.TB, operations ...workflow.Operation) *workflow.Graph {
	t.Helper()
	graph, issues := workflow.Compile(operations, workflow.Scope{})
	if len(issues) > 0 {
		t.Fatal(issues)
	}
	return graph
}

func TestOperationsStartWhenWhatTheyWaitForIsDone(t *testing.T) {
	t.Parallel()
	graph := mustCompile(t,
		op("package", `["@<video.out>","@<thumb.out::/file>","@<video.out::/log>"]`, "video"),
		op("video", `"@<info.out>"`), op("thumb", `"@<info.out>"`), op("info", ``))

	frontier, ready := graph.Frontier(func(string) bool { return false })
	steps := [][]string{ready, frontier.Succeeded("info"), frontier.Succeeded("thumb"), frontier.Succeeded("thumb"), frontier.Succeeded("unknown"), frontier.Succeeded("video"), frontier.Succeeded("package")}
	if diff := cmp.Diff([][]string{{"info"}, {"video", "thumb"}, nil, nil, nil, {"package"}, nil}, steps); diff != "" {
		t.Error(diff)
	}

	_, ready = graph.Frontier(func(name string) bool { return name == "info" || name == "video" })
	if diff := cmp.Diff([]string{"thumb"}, ready); diff != "" {
		t.Errorf("a run that goes on: %s", diff)
	}
	if diff := cmp.Diff([]string{"video", "thumb"}, graph.DependsOn("package")); diff != "" {
		t.Error(diff)
	}
	if graph.Has("Info") || !graph.Has("info") || graph.DependsOn("nope") != nil {
		t.Error("names are not exact")
	}
}

func TestWhatRunsAgainIsWhatWasNamedAndAllThatWaitsForIt(t *testing.T) {
	t.Parallel()
	graph := mustCompile(t, op("1", ``), op("2", `"@<1.out>"`), op("3", `"@<2.out>"`, "1"), op("4", ``), op("5", `["@<3.out>","@<pop.agendaId>"]`, "4"))
	for _, test := range []struct{ names, want []string }{
		{[]string{"3"}, []string{"3", "5"}},
		{[]string{"2"}, []string{"2", "3", "5"}},
		{[]string{"4", "2"}, []string{"2", "3", "4", "5"}},
		{[]string{"1"}, []string{"1", "2", "3", "5"}},
		{[]string{"5", "nope"}, []string{"5"}},
		{nil, []string{}},
	} {
		if diff := cmp.Diff(test.want, graph.Closure(test.names)); diff != "" {
			t.Errorf("%v: %s", test.names, diff)
		}
	}
}

// acyclic draws operations that depend only on others drawn before them, in a shuffled order.
func acyclic(t *rapid.T) ([]workflow.Operation, map[string][]string) {
	n := rapid.IntRange(1, 30).Draw(t, "operations")
	operations, dependencies := make([]workflow.Operation, n), map[string][]string{}
	for i := range n {
		name := fmt.Sprintf("op %d", i)
		var refs []any
		for j := range i {
			dependency := fmt.Sprintf("op %d", j)
			switch rapid.IntRange(0, 5).Draw(t, "edge") {
			case 0:
				refs = append(refs, map[string]any{"k": "x@<" + workflow.ResultName(dependency) + "::/a/b?c>"})
				dependencies[name] = append(dependencies[name], dependency)
			case 1:
				operations[i].DependsOn = append(operations[i].DependsOn, dependency)
				dependencies[name] = append(dependencies[name], dependency)
			}
		}
		operations[i].Name, operations[i].Payload = name, encode(t, refs)
	}
	return rapid.Permutation(operations).Draw(t, "order"), dependencies
}

func TestEveryRunIsInATopologicalOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		operations, dependencies := acyclic(t)
		graph, issues := workflow.Compile(operations, workflow.Scope{})
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		before := rapid.SliceOfDistinct(rapid.SampledFrom(operations), func(o workflow.Operation) string { return o.Name }).Draw(t, "done before")
		done := map[string]bool{}
		for _, operation := range before {
			done[operation.Name] = true
		}
		frontier, ready := graph.Frontier(func(name string) bool { return done[name] })
		for len(ready) > 0 {
			i := rapid.IntRange(0, len(ready)-1).Draw(t, "next")
			name := ready[i]
			ready = slices.Delete(ready, i, i+1)
			if done[name] {
				t.Fatalf("%s starts again", name)
			}
			for _, dependency := range dependencies[name] {
				if !done[dependency] {
					t.Fatalf("%s starts before %s is done", name, dependency)
				}
			}
			done[name] = true
			ready = append(ready, frontier.Succeeded(name)...)
		}
		if len(done) != len(operations) {
			t.Fatalf("%d of %d operations ran", len(done), len(operations))
		}
	})
}

func TestACycleIsAlwaysFoundAndNamed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		operations, dependencies := acyclic(t)
		from := rapid.SampledFrom(operations).Draw(t, "from").Name
		reach := map[string]bool{}
		var walk func(string)
		walk = func(name string) {
			reach[name] = true
			for _, dependency := range dependencies[name] {
				walk(dependency)
			}
		}
		walk(from)
		delete(reach, from)
		if len(reach) == 0 {
			return
		}
		names := make([]string, 0, len(reach))
		for name := range reach {
			names = append(names, name)
		}
		slices.Sort(names)
		back := rapid.SampledFrom(names).Draw(t, "back")
		i := slices.IndexFunc(operations, func(o workflow.Operation) bool { return o.Name == back })
		operations[i].DependsOn = append(operations[i].DependsOn, from)
		dependencies[back] = append(dependencies[back], from)

		_, issues := workflow.Compile(operations, workflow.Scope{})
		if len(issues) == 0 {
			t.Fatal("no issue")
		}
		for _, issue := range issues {
			cycle := strings.TrimSuffix(strings.TrimPrefix(issue.Message, "operations wait for each other: "), "; remove one of these dependencies")
			way := strings.Split(cycle, " → ")
			for i, name := range way[:len(way)-1] {
				if len(way) <= 11 && !slices.Contains(dependencies[name], way[i+1]) {
					t.Fatalf("%s does not wait for %s", name, way[i+1])
				}
			}
			if way[0] != way[len(way)-1] {
				t.Fatalf("%s does not end where it starts", cycle)
			}
		}
	})
}

// fanOut returns n operations: layers of width that each wait for one operation of the layer before, and one at the end that
// waits for the whole last layer.
func fanOut(n, width int) []workflow.Operation {
	operations := make([]workflow.Operation, n)
	for i := range operations {
		operations[i] = op(fmt.Sprintf("operation-%d", i), fmt.Sprintf(`{"source":"s3://bucket/%d.mov","preset":{"width":1920}}`, i))
		if i >= width {
			operations[i].Payload = fmt.Appendf(nil, `{"source":"@<operation-%d.out::/file>","preset":{"width":1920}}`, i-width)
		}
	}
	for i := max(0, n-1-width); i < n-1; i++ {
		operations[n-1].DependsOn = append(operations[n-1].DependsOn, fmt.Sprintf("operation-%d", i))
	}
	return operations
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{5, 10_000} {
		b.Run(fmt.Sprintf("%d operations", n), func(b *testing.B) {
			b.ReportAllocs()
			operations := fanOut(n, min(n/2, 1000))
			for b.Loop() {
				mustCompile(b, operations...)
			}
		})
	}
}

func BenchmarkFrontier(b *testing.B) {
	b.ReportAllocs()
	graph := mustCompile(b, fanOut(10_000, 1000)...)
	for b.Loop() {
		frontier, ready := graph.Frontier(func(string) bool { return false })
		for len(ready) > 0 {
			name := ready[len(ready)-1]
			ready = append(ready[:len(ready)-1], frontier.Succeeded(name)...)
		}
	}
}
