package model

import (
	"github.com/pop-platform/pop/core/workflow"
)

// WithGenerated returns the agenda with the operations that its own have added, and those that these have added in turn: each
// behind all that were there when it was added, in the order of what added them. It does not depend on the order of the progress.
func (a Agenda) WithGenerated(progress []OperationProgress) Agenda {
	generated := map[string][]Operation{}
	for i := range progress {
		if p := &progress[i]; len(p.Generated) > 0 {
			generated[p.Operation] = p.Generated
		}
	}
	if len(generated) == 0 {
		return a
	}
	operations := append([]Operation(nil), a.Operations...)
	for i := 0; i < len(operations); i++ {
		operations = append(operations, generated[operations[i].Name]...)
	}
	a.Operations = operations
	return a
}

// Extend adds operations that one of the agenda's operations has generated to the agenda and its graph, in which they wait for it.
// If anything is wrong with them it returns all of that and adds none.
func (a *Agenda) Extend(graph *workflow.Graph, generator string, generated []Operation) []Issue {
	var c checker
	if n := len(a.Operations) + len(generated); n > MaxOperations {
		c.issue("operations", "with these %d the agenda would have %d operations, more than the %d that it may have; let it submit agendas of their own",
			len(generated), n, MaxOperations)
		return c.result()
	}
	c.operations(generated)
	operations, issues := graphOperations(generated)
	c.issues = append(c.issues, issues...)
	for i := range operations {
		if !operations[i].When.AtTheEnd() { // those wait for everything
			operations[i].DependsOn = append(operations[i].DependsOn, generator)
		}
	}
	if len(c.issues) == 0 {
		c.issues = issuesOf(graph.Extend(operations, a.scope()))
	}
	if len(c.issues) == 0 {
		a.Operations = append(a.Operations, generated...)
	}
	return c.result()
}
