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
}

// Issue is one thing that is wrong with operations, and where: operations[2].payload.
type Issue struct {
	Path    string
	Message string
}

// MaxIssues is how many issues are reported at most.
const MaxIssues = 100

// Compile returns the graph of the operations, or all that is wrong with them, at most [MaxIssues]. References may name
// the results of the operations, what every payload may refer to, and the other names given.
func Compile(operations []Operation, names ...string) (*Graph, []Issue) {
	c := compiler{
		operations: operations,
		names:      append([]string{AgendaID, OperationName, Params}, names...),
		graph: &Graph{
			names:      make([]string, len(operations)),
			index:      make(map[string]int, len(operations)),
			dependsOn:  make([][]int, len(operations)),
			dependents: make([][]int, len(operations)),
		},
		folded: make(map[string]int, len(operations)),
		edgeTo: make([]int, len(operations)),
	}
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
		return nil, c.issues[:min(len(c.issues), MaxIssues)]
	}
	return c.graph, nil
}

type compiler struct {
	operations []Operation
	names      []string // that references may have besides results
	graph      *Graph
	folded     map[string]int // index by lower-cased name
	edgeTo     []int          // one more than the last operation that was found to depend on this one
	issues     []Issue
}

// issue notes what is wrong with a field of an operation, or with the whole operation if field is empty.
func (c *compiler) issue(i int, field, format string, args ...any) {
	path := strings.TrimSuffix(fmt.Sprintf("operations[%d].%s", i, field), ".")
	c.issues = append(c.issues, Issue{path, fmt.Sprintf(format, args...)})
}

func (c *compiler) addNames() {
	for i, operation := range c.operations {
		c.graph.names[i] = operation.Name
		if operation.Name == "" {
			c.issue(i, "name", "the operation has no name; give it one that no other operation of the agenda has")
			continue
		}
		folded := strings.ToLower(operation.Name)
		if first, taken := c.folded[folded]; taken {
			c.issue(i, "name", "operations[%d] is called %q already, and case does not matter; rename one of them", first, clip(c.operations[first].Name))
			continue
		}
		c.folded[folded] = i
		c.graph.index[operation.Name] = i
	}
}

func (c *compiler) addEdges(i int) {
	operation := c.operations[i]
	for _, name := range operation.DependsOn {
		dependency, known := c.graph.index[name]
		switch {
		case !known:
			c.issue(i, "params.dependsOn", "there is no operation %q%s", clip(name), c.hint(name))
		case dependency == i:
			c.issue(i, "params.dependsOn", "the operation depends on itself; remove %q", clip(name))
		default:
			c.addEdge(i, dependency)
		}
	}

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
		if slices.Contains(c.names, ref.Name) || len(c.issues) >= MaxIssues {
			return
		}
		refuse := func(format string, args ...any) {
			err := ReferenceError{ref.Text, ref.At, fmt.Sprintf(format, args...)}
			c.issue(i, "payload", "%v", &err)
		}
		name, isResult := ResultOf(ref.Name)
		dependency, known := c.graph.index[name]
		switch {
		case isResult && !known:
			refuse("there is no operation %q%s", clip(name), c.hint(name))
		case isResult && dependency == i:
			refuse("the operation refers to its own result; refer to another operation")
		case isResult:
			c.addEdge(i, dependency)
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

// hint proposes the operation that an unknown name might mean.
func (c *compiler) hint(name string) string {
	for _, candidate := range []string{name, strings.TrimSpace(name), strings.TrimSuffix(name, resultSuffix)} {
		if i, ok := c.folded[strings.ToLower(candidate)]; ok {
			return fmt.Sprintf("; did you mean %q?", clip(c.operations[i].Name))
		}
	}
	return ""
}

// hintReference says what a reference to no result might have meant.
func (c *compiler) hintReference(ref *Reference) string {
	if i, ok := c.folded[strings.ToLower(ref.Name)]; ok {
		return fmt.Sprintf("; the result of an operation is called @<%s>", clip(ResultName(c.operations[i].Name)))
	}
	if name, _, ok := strings.Cut(ref.Name, "?"); ok {
		return fmt.Sprintf("; a fallback follows a pointer, as in @<%s::/pointer?text>", clip(name))
	}
	return fmt.Sprintf("; write @<name.out> for the result of an operation, or one of %s", clip(strings.Join(c.names, ", ")))
}

// findCycles takes away operations that depend on nothing until none is left, or only those on cycles and behind them.
func (c *compiler) findCycles() {
	g := c.graph
	waits := make([]int, len(g.names))
	var free []int
	for i, dependencies := range g.dependsOn {
		if waits[i] = len(dependencies); waits[i] == 0 {
			free = append(free, i)
		}
	}
	for len(free) > 0 {
		last := free[len(free)-1]
		free = free[:len(free)-1]
		for _, dependent := range g.dependents[last] {
			if waits[dependent]--; waits[dependent] == 0 {
				free = append(free, dependent)
			}
		}
	}

	// From any operation that is left, the way along what it still waits for ends in a cycle. Each walk stops where an
	// earlier one has been.
	walk := make([]int, len(g.names)) // one more than the operation that the walk started at
	for start := range g.names {
		if waits[start] == 0 || walk[start] != 0 {
			continue
		}
		var way []int
		at := start
		for walk[at] == 0 {
			walk[at] = start + 1
			way = append(way, at)
			at = g.dependsOn[at][slices.IndexFunc(g.dependsOn[at], func(d int) bool { return waits[d] > 0 })]
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
		names = append(names, clip(c.graph.names[i]))
	}
	if len(cycle) > shown {
		names = append(names, fmt.Sprintf("(%d more)", len(cycle)-shown))
	}
	names = append(names, clip(c.graph.names[cycle[0]]))
	c.issue(cycle[0], "", "operations wait for each other: %s; remove one of these dependencies", strings.Join(names, " → "))
}
