package workflow_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pop-platform/pop/core/workflow"
)

// course plays a run: fails says what fails. It returns what was started in the first part and at the end.
func course(g *workflow.Graph, fails map[string]bool) (first, end []string) {
	f, ready := g.Frontier(func(string) bool { return false })
	bad := false
	play := func(ready []string) (started []string) {
		for len(ready) > 0 {
			name := ready[0]
			started, ready = append(started, name), ready[1:]
			if fails[name] {
				bad = true
				ready = append(ready, f.Failed(name)...)
			} else {
				ready = append(ready, f.Succeeded(name)...)
			}
		}
		return started
	}
	first = play(ready)
	if !bad {
		end = play(f.Close(false))
	}
	if bad {
		end = append(end, play(f.Close(true))...)
	}
	return first, end
}

func TestWhatRunsAtTheEndDependsOnHowTheRestEnded(t *testing.T) {
	t.Parallel()
	g := mustCompile(t,
		at(workflow.Always, op("clean", ``)),
		op("probe", ``), op("encode", `"@<probe.out>"`), op("publish", ``, "encode"), op("thumbnail", ``, "probe"),
		at(workflow.OnFailure, op("alert", `"@<probe.out::/x?none>"`)), // what it refers to does not matter
		at(workflow.OnFailure, op("unpublish", ``, "publish")),
		at(workflow.OnFailure, op("remove thumbnail", ``, "thumbnail")),
		at(workflow.Always, op("log", ``, "alert", "clean")))
	for _, test := range []struct {
		name       string
		fails      []string
		first, end []string
	}{
		{"all succeed", nil, []string{"probe", "encode", "thumbnail", "publish"}, []string{"clean", "log"}},
		{
			"an operation fails: what depends on it is dropped, the rest runs",
			[]string{"encode"},
			[]string{"probe", "encode", "thumbnail"},
			[]string{"clean", "alert", "unpublish", "log"},
		},
		{
			"the first one fails",
			[]string{"probe"},
			[]string{"probe"},
			[]string{"clean", "alert", "unpublish", "remove thumbnail", "log"},
		},
		{
			"only what runs always fails: then what runs on failure is run too",
			[]string{"clean"},
			[]string{"probe", "encode", "thumbnail", "publish"},
			[]string{"clean", "log", "alert"},
		},
		{
			"a failure at the end does not keep the rest of the end from running",
			[]string{"encode", "alert", "clean"},
			[]string{"probe", "encode", "thumbnail"},
			[]string{"clean", "alert", "unpublish", "log"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			fails := map[string]bool{}
			for _, name := range test.fails {
				fails[name] = true
			}
			first, end := course(g, fails)
			if diff := cmp.Diff(test.first, first); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.end, end); diff != "" {
				t.Errorf("at the end: %s", diff)
			}
		})
	}
}

func TestAGraphTakesInWholeSetsOfOperationsOnly(t *testing.T) {
	t.Parallel()
	g := mustCompile(t, op("a", ``), op("b", `"@<a.out>"`))
	f, ready := g.Frontier(func(string) bool { return false })
	bad := []workflow.Operation{op("c", ``, "a"), op("B", ``), op("d", `"@<nope.out>"`), op("e", ``, "f"), op("f", ``, "e")}
	want := []workflow.Issue{
		{"operations[1].name", `another operation of the agenda is called "b" already, and case does not matter; rename one of them`},
		{"operations[2].payload", `reference @<nope.out>: there is no operation "nope"`},
	}
	if diff := cmp.Diff(want, g.Extend(bad, workflow.Scope{})); diff != "" {
		t.Error(diff)
	}
	cycle := []workflow.Operation{op("c", ``, "a"), op("e", ``, "f", "a"), op("f", ``, "e")}
	want = []workflow.Issue{{"operations[1]", "operations wait for each other: e → f → e; remove one of these dependencies"}}
	if diff := cmp.Diff(want, g.Extend(cycle, workflow.Scope{})); diff != "" {
		t.Error(diff)
	}
	if g.Has("c") || len(g.Closure([]string{"a"})) != 2 {
		t.Error("something of what was refused is there")
	}

	steps := [][]string{ready, f.Succeeded("a")}
	if issues := g.Extend([]workflow.Operation{op("c", ``, "a"), op("d", `"@<b.out>@<c.out>"`)}, workflow.Scope{}); issues != nil {
		t.Fatal(issues)
	}
	steps = append(steps, f.Extend(), f.Succeeded("b"), f.Succeeded("c"), f.Close(false))
	if diff := cmp.Diff([][]string{{"a"}, {"b"}, {"c"}, nil, {"d"}, nil}, steps); diff != "" {
		t.Error(diff)
	}
}

// TestExtendingIsLikeCompilingAtOnce adds operations in pieces, in the order in which they may depend on each other.
func TestExtendingIsLikeCompilingAtOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		operations, _ := acyclic(t)
		slices.SortFunc(operations, func(a, b workflow.Operation) int { // as they were drawn
			var m, n int
			_, _ = fmt.Sscanf(a.Name, "op %d", &m)
			_, _ = fmt.Sscanf(b.Name, "op %d", &n)
			return m - n
		})
		cut := rapid.IntRange(1, len(operations)).Draw(t, "cut")
		whole, issues := workflow.Compile(operations, workflow.Scope{})
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		pieces, issues := workflow.Compile(operations[:cut], workflow.Scope{})
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		if cut < len(operations) { // what is refused leaves no trace
			broken := slices.Clone(operations[cut:])
			broken = append(broken, op("bad", ``, "nope", operations[0].Name))
			if pieces.Extend(broken, workflow.Scope{}) == nil {
				t.Fatal("not refused")
			}
		}
		if issues := pieces.Extend(operations[cut:], workflow.Scope{}); len(issues) > 0 {
			t.Fatal(issues)
		}
		for _, operation := range operations {
			if diff := cmp.Diff(whole.DependsOn(operation.Name), pieces.DependsOn(operation.Name)); diff != "" {
				t.Fatal(diff)
			}
			if diff := cmp.Diff(whole.Closure([]string{operation.Name}), pieces.Closure([]string{operation.Name})); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}
