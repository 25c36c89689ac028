package workflow

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Operation is what the graph needs to know of an operation.
type Operation struct {
	Name      string
	Payload   json.RawMessage
	DependsOn []string // names of operations, besides those that the payload refers to
	When      When
}

// When says in which course of a run an operation is run.
type When string

// The courses. Operations that are run on failure or always are run at the end, when all others have ended.
const (
	OnSuccess When = "onSuccess" // once all that it depends on has succeeded; empty means the same
	OnFailure When = "onFailure" // if the run is about to fail
	Always    When = "always"    // however the run ends
)

// AtTheEnd reports whether such an operation is run when all others have ended.
func (w When) AtTheEnd() bool { return w == OnFailure || w == Always }

// Scope is what references may name besides the results of operations and what every payload may refer to.
type Scope struct {
	Names  []string
	Params json.RawMessage // params of the agenda, an object; nil if they are not known yet
}

// Issue is one thing that is wrong with operations, and where: operations[2].payload.
type Issue struct {
	Path    string
	Message string
}

// MaxIssues is how many issues are reported at most.
const MaxIssues = 100

// Compile returns the graph of the operations, or all that is wrong with them, at most [MaxIssues].
func Compile(operations []Operation, scope Scope) (*Graph, []Issue) {
	g := &Graph{index: make(map[string]int, len(operations)), folded: make(map[string]int, len(operations))}
	if issues := g.Extend(operations, scope); len(issues) > 0 {
		return nil, issues
	}
	return g, nil
}

// Extend adds operations, which may depend on each other and on those that are there. If anything is wrong with them it
// returns all of that, at most [MaxIssues], and adds none.
func (g *Graph) Extend(operations []Operation, scope Scope) []Issue {
	n := len(g.names)
	c := compiler{
		operations: operations,
		scope:      scope,
		names:      append([]string{AgendaID, OperationName, Params, Failures}, scope.Names...),
		graph:      g,
		base:       n,
		edgeTo:     make(map[int]int, len(operations)),
	}
	g.names = append(g.names, make([]string, len(operations))...)
	g.when = append(g.when, make([]When, len(operations))...)
	g.dependsOn = append(g.dependsOn, make([][]int, len(operations))...)
	g.given = append(g.given, make([]int, len(operations))...)
	g.dependents = append(g.dependents, make([][]int, len(operations))...)
	c.addNames()
	for i := range operations {
		if len(c.issues) < MaxIssues {
			c.addEdges(i)
		}
	}
	if len(c.issues) == 0 {
		c.findCycles()
	}
	if len(c.issues) > 0 {
		g.truncate(n)
		return c.issues[:min(len(c.issues), MaxIssues)]
	}
	return nil
}

// truncate takes away all but the first n operations, on which none of those depends.
func (g *Graph) truncate(n int) {
	for i := n; i < len(g.names); i++ {
		if g.index[g.names[i]] == i {
			delete(g.index, g.names[i])
		}
		if folded := strings.ToLower(g.names[i]); g.folded[folded] == i {
			delete(g.folded, folded)
		}
		for _, dependency := range g.dependsOn[i] {
			if dependents := g.dependents[dependency]; dependency < n {
				g.dependents[dependency] = dependents[:len(dependents)-1]
			}
		}
	}
	g.names, g.when, g.dependsOn, g.given, g.dependents = g.names[:n], g.when[:n], g.dependsOn[:n], g.given[:n], g.dependents[:n]
}

type compiler struct {
	operations []Operation
	scope      Scope
	names      []string // that references may have besides results
	graph      *Graph
	base       int         // how many operations were there before
	edgeTo     map[int]int // one more than the last operation that was found to depend on this one
	issues     []Issue
}

// issue notes what is wrong with a field of an operation, or with the whole operation if field is empty.
func (c *compiler) issue(i int, field, format string, args ...any) {
	path := strings.TrimSuffix(fmt.Sprintf("operations[%d].%s", i, field), ".")
	c.issues = append(c.issues, Issue{path, fmt.Sprintf(format, args...)})
}

func (c *compiler) addNames() {
	g := c.graph
	for i, operation := range c.operations {
		g.when[c.base+i] = operation.When
		if operation.Name == "" {
			c.issue(i, "name", "the operation has no name; give it one that no other operation of the agenda has")
			continue
		}
		folded := strings.ToLower(operation.Name)
		if first, taken := g.folded[folded]; taken {
			which := "another operation of the agenda"
			if first >= c.base {
				which = fmt.Sprintf("operations[%d]", first-c.base)
			}
			c.issue(i, "name", "%s is called %q already, and case does not matter; rename one of them", which, clip(g.names[first]))
			continue
		}
		g.names[c.base+i] = operation.Name
		g.folded[folded] = c.base + i
		g.index[operation.Name] = c.base + i
	}
}

func (c *compiler) addEdges(i int) {
	operation := c.operations[i]
	for _, name := range operation.DependsOn {
		dependency, known := c.graph.index[name]
		switch {
		case !known:
			c.issue(i, "params.dependsOn", "there is no operation %q%s", clip(name), c.hint(name))
		case dependency == c.base+i:
			c.issue(i, "params.dependsOn", "the operation depends on itself; remove %q", clip(name))
		case c.endsBefore(i, dependency):
			c.issue(i, "params.dependsOn", "%s", c.tooLate(dependency))
		default:
			c.addEdge(c.base+i, dependency)
		}
	}

	c.graph.given[c.base+i] = len(c.graph.dependsOn[c.base+i])
	if len(operation.Payload) == 0 {
		return
	}
	if err := validate(operation.Payload); err != nil {
		c.issue(i, "payload", "the payload is %v", err)
		return
	}
	if !mayRefer(operation.Payload) {
		return
	}
	failed := scan(operation.Payload, func(ref *Reference) {
		if len(c.issues) >= MaxIssues {
			return
		}
		refuse := func(format string, args ...any) {
			err := ReferenceError{ref.Text, ref.At, fmt.Sprintf(format, args...)}
			c.issue(i, "payload", "%v", &err)
		}
		name, isResult := ResultOf(ref.Name)
		dependency, known := c.graph.index[name]
		switch {
		case ref.Name == Params && c.scope.Params != nil && ref.Fallback == nil:
			if _, found := find(c.scope.Params, ref.Pointer); !found {
				refuse("the params of the agenda have no %s; add it there, correct the pointer, or add a fallback as in @<%s::%s?text>",
					clip(ref.Pointer), Params, clip(ref.Pointer))
			}
		case slices.Contains(c.names, ref.Name):
		case isResult && !known:
			refuse("there is no operation %q%s", clip(name), c.hint(name))
		case isResult && dependency == c.base+i:
			refuse("the operation refers to its own result; refer to another operation")
		case isResult && c.endsBefore(i, dependency):
			refuse("%s", c.tooLate(dependency))
		case isResult && operation.When.AtTheEnd() && ref.Fallback == nil:
			refuse("the operation may run without that result; add a fallback as in @<%s::%s?text>", clip(ref.Name), clip(ref.Pointer))
		case isResult:
			c.addEdge(c.base+i, dependency)
		default:
			refuse("there is nothing called %q%s", clip(ref.Name), c.hintReference(ref))
		}
	})
	for _, err := range failed {
		c.issue(i, "payload", "%v", err)
	}
}

func (c *compiler) addEdge(from, to int) {
	if c.edgeTo[to] == from+1 {
		return
	}
	c.edgeTo[to] = from + 1
	c.graph.dependsOn[from] = append(c.graph.dependsOn[from], to)
	c.graph.dependents[to] = append(c.graph.dependents[to], from)
}

// endsBefore reports whether an operation cannot wait for a dependency because that one is run at the end and it is not.
func (c *compiler) endsBefore(i, dependency int) bool {
	return c.graph.when[dependency].AtTheEnd() && !c.operations[i].When.AtTheEnd()
}

func (c *compiler) tooLate(dependency int) string {
	return fmt.Sprintf("%q runs %s, when all that run on success have ended; only operations with such a when can depend on it",
		clip(c.graph.names[dependency]), c.graph.when[dependency])
}

// hint proposes the operation that an unknown name might mean.
func (c *compiler) hint(name string) string {
	for _, candidate := range []string{name, strings.TrimSpace(name), strings.TrimSuffix(name, resultSuffix)} {
		if i, ok := c.graph.folded[strings.ToLower(candidate)]; ok {
			return fmt.Sprintf("; did you mean %q?", clip(c.graph.names[i]))
		}
	}
	return ""
}

// hintReference says what a reference to no result might have meant.
func (c *compiler) hintReference(ref *Reference) string {
	if i, ok := c.graph.folded[strings.ToLower(ref.Name)]; ok {
		return fmt.Sprintf("; the result of an operation is called @<%s>", clip(ResultName(c.graph.names[i])))
	}
	if name, _, ok := strings.Cut(ref.Name, "?"); ok {
		return fmt.Sprintf("; a fallback follows a pointer, as in @<%s::/pointer?text>", clip(name))
	}
	return fmt.Sprintf("; write @<name.out> for the result of an operation, or one of %s", clip(strings.Join(c.names, ", ")))
}

// findCycles takes away operations that depend on nothing until none is left, or only those on cycles and behind them. Only
// those that are added can be on one.
func (c *compiler) findCycles() {
	g, base := c.graph, c.base
	waits := make([]int, len(c.operations))
	var free []int
	for i := range waits {
		for _, dependency := range g.dependsOn[base+i] {
			if dependency >= base {
				waits[i]++
			}
		}
		if waits[i] == 0 {
			free = append(free, i)
		}
	}
	for len(free) > 0 {
		last := free[len(free)-1]
		free = free[:len(free)-1]
		for _, dependent := range g.dependents[base+last] {
			if waits[dependent-base]--; waits[dependent-base] == 0 {
				free = append(free, dependent-base)
			}
		}
	}

	// From any operation that is left, the way along what it still waits for ends in a cycle. Each walk stops where an
	// earlier one has been.
	walk := make([]int, len(waits)) // one more than the operation that the walk started at
	for start := range waits {
		if waits[start] == 0 || walk[start] != 0 {
			continue
		}
		var way []int
		at := start
		for walk[at] == 0 {
			walk[at] = start + 1
			way = append(way, at)
			next := slices.IndexFunc(g.dependsOn[base+at], func(d int) bool { return d >= base && waits[d-base] > 0 })
			at = g.dependsOn[base+at][next] - base
		}
		if walk[at] == start+1 {
			c.reportCycle(way[slices.Index(way, at):])
		}
	}
}

func (c *compiler) reportCycle(cycle []int) {
	const shown = 10
	names := make([]string, 0, shown+2)
	for _, i := range cycle[:min(len(cycle), shown)] {
		names = append(names, clip(c.operations[i].Name))
	}
	if len(cycle) > shown {
		names = append(names, fmt.Sprintf("(%d more)", len(cycle)-shown))
	}
	names = append(names, clip(c.operations[cycle[0]].Name))
	c.issue(cycle[0], "", "operations wait for each other: %s; remove one of these dependencies", strings.Join(names, " → "))
}
