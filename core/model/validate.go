package model

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/pop-platform/pop/core/workflow"
)

// maxName is how many bytes ids and names may have. They are parts of the keys of records.
const maxName = 200

// Validate returns what is wrong with an agenda that a caller submits, all at once up to a hundred issues.
func (a *Agenda) Validate() []Issue {
	var c checker
	a.check(&c)
	if len(a.Operations) <= MaxOperations {
		_, issues := a.Graph()
		c.issues = append(c.issues, issues...)
	}
	return c.result()
}

// check validates everything but how the operations hang together.
func (a *Agenda) check(c *checker) {
	c.meta(&a.Meta, "agenda")
	c.text("jobId", a.JobID, 200)
	if a.MaximumAttempts < 0 || a.MaximumAttempts > MaxMaximumAttempts {
		c.issue("maximumAttempts", "is %d; it must be 1 to %d, or absent for %d", a.MaximumAttempts, MaxMaximumAttempts, DefaultMaximumAttempts)
	}
	if a.Priority < -MaxPriority || a.Priority > MaxPriority {
		c.issue("priority", "is %d; it must be %d to %d", a.Priority, -MaxPriority, MaxPriority)
	}
	if !a.NotBefore.IsZero() && (a.NotBefore.Year() < 1970 || a.NotBefore.Year() > 2200) {
		c.issue("notBefore", "is %s; it must be between the years 1970 and 2200", a.NotBefore)
	}
	switch {
	case len(a.Operations) == 0:
		c.issue("operations", "the agenda has no operations; give it at least one")
	case len(a.Operations) > MaxOperations:
		c.issue("operations", "there are %d operations, more than the %d that an agenda may have; split it into several agendas", len(a.Operations), MaxOperations)
		return
	}
	c.count("parallelism", optional(a.Parallelism), "as many as the executor lets")
	switch a.FailurePolicy {
	case "", FailureStop, FailureContinue:
	default:
		c.issue("failurePolicy", "is %q; it must be %s or %s, or absent for %s", clip(string(a.FailurePolicy)), FailureStop, FailureContinue, FailureStop)
	}
	c.backoff("backoff", a.Backoff)
	c.timeout("timeoutSeconds", a.TimeoutSeconds)
	c.operations(a.Operations)
}

// operations validates everything but how the operations hang together.
func (c *checker) operations(operations []Operation) {
	for i := range operations {
		operation := &operations[i]
		if operation.Name != "" { // its absence is the graph's to report
			c.name(operationPath(i, "name"), operation.Name)
		}
		if operation.Type == "" {
			c.issue(operationPath(i, "type"), "the operation has no type; name the type of handler that performs it")
		} else {
			c.name(operationPath(i, "type"), operation.Type)
		}
		c.name(operationPath(i, "id"), operation.ID)
		switch operation.When {
		case "", workflow.OnSuccess, workflow.OnFailure, workflow.Always:
		default:
			c.issue(operationPath(i, "when"), "is %q; it must be %s, %s or %s, or absent for %s", clip(string(operation.When)),
				workflow.OnSuccess, workflow.OnFailure, workflow.Always, workflow.OnSuccess)
		}
		if n := operation.MaximumAttempts; n < 0 || n > MaxMaximumAttempts {
			c.issue(operationPath(i, "maximumAttempts"), "is %d; it must be 1 to %d, or absent for 1", n, MaxMaximumAttempts)
		}
		if operation.Backoff != nil {
			c.backoff(operationPath(i, "backoff"), operation.Backoff)
		}
		if operation.TimeoutSeconds != 0 {
			c.timeout(operationPath(i, "timeoutSeconds"), operation.TimeoutSeconds)
		}
	}
}

func (c *checker) backoff(path string, b *Backoff) {
	if b == nil {
		return
	}
	check := func(name string, seconds *float64) {
		if seconds != nil && !(*seconds >= 0 && *seconds <= maxPeriod.Seconds()) { // NaN is neither
			c.issue(path+"."+name, "is %v; it must be 0 to %.0f", *seconds, maxPeriod.Seconds())
		}
	}
	check("initialSeconds", b.InitialSeconds)
	check("maximumSeconds", b.MaximumSeconds)
	if b.InitialSeconds != nil && b.MaximumSeconds != nil && *b.InitialSeconds > *b.MaximumSeconds {
		c.issue(path+".initialSeconds", "is %v, more than the maximumSeconds, %v", *b.InitialSeconds, *b.MaximumSeconds)
	}
}

func (c *checker) timeout(path string, seconds float64) {
	if !(seconds >= 0 && seconds <= maxPeriod.Seconds()) { // NaN is neither
		c.issue(path, "is %v; it must be more than 0 and at most %.0f, or absent", seconds, maxPeriod.Seconds())
	}
}

// optional returns nil for a number that is absent.
func optional(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}

// Graph returns how the agenda's operations depend on each other, or all that is wrong with that. References may name the
// results of the operations and what every payload may refer to.
func (a *Agenda) Graph() (*workflow.Graph, []Issue) { return a.graph(a.scope()) }

// scope is what references may name besides results.
func (a *Agenda) scope() workflow.Scope {
	params := json.RawMessage("{}")
	if len(a.Params) > 0 {
		var err error
		if params, err = json.Marshal(a.Params); err != nil { // a value that is not JSON: it cannot be looked into
			params = nil
		}
	}
	return workflow.Scope{Params: params}
}

func (a *Agenda) graph(scope workflow.Scope) (*workflow.Graph, []Issue) {
	operations, issues := graphOperations(a.Operations)
	graph, more := workflow.Compile(operations, scope)
	if issues = append(issues, issuesOf(more)...); len(issues) > 0 {
		return nil, issues
	}
	return graph, nil
}

// graphOperations returns what a graph needs to know of operations.
func graphOperations(all []Operation) (operations []workflow.Operation, issues []Issue) {
	operations = make([]workflow.Operation, len(all))
	for i := range all {
		dependsOn, err := all[i].DependsOn()
		if err != nil {
			issues = append(issues, Issue{operationPath(i, "params.dependsOn"), err.Error()})
		}
		operations[i] = workflow.Operation{Name: all[i].Name, Payload: all[i].Payload, DependsOn: dependsOn, When: all[i].When}
	}
	return operations, issues
}

func issuesOf(all []workflow.Issue) (issues []Issue) {
	for _, issue := range all {
		issues = append(issues, Issue{issue.Path, issue.Message})
	}
	return issues
}

// DependsOn returns the operations that params.dependsOn names. It is a list of names, or a string of them with commas in
// between. Space around a name does not count, and neither does an empty name.
func (o *Operation) DependsOn() ([]string, error) {
	raw, ok := o.Params[ParamDependsOn]
	if !ok {
		return nil, nil
	}
	var list []string
	var text string
	if err := json.Unmarshal(raw, &text); err == nil { // null leaves it empty
		list = strings.Split(text, ",")
	} else if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s is neither a list of operation names nor a string of them with commas in between", clip(string(raw)))
	}
	names := list[:0]
	for _, name := range list {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// operationPath returns the path of a field of an operation.
func operationPath(index int, field string) string {
	return fmt.Sprintf("operations[%d].%s", index, field)
}

// checker collects issues.
type checker struct {
	prefix string // of every path
	// template lets fields that hold references pass: their values are not known yet.
	template bool
	issues   []Issue
}

func (c *checker) issue(path, format string, args ...any) {
	c.issues = append(c.issues, Issue{c.prefix + path, fmt.Sprintf(format, args...)})
}

// result returns the first hundred issues.
func (c *checker) result() []Issue { return c.issues[:min(len(c.issues), workflow.MaxIssues)] }

// meta checks the fields that every object has. The kind of object is for the messages.
func (c *checker) meta(m *Meta, kind string) {
	c.name("id", m.ID)
	c.text("cid", m.CID, 200)
	if m.CustomerID == "" && !c.template {
		c.issue("customerId", "is missing; name the customer that owns the %s", kind)
	}
	c.name("customerId", m.CustomerID)
	c.text("title", m.Title, 400)
	c.name("linkId", m.LinkID)
}

// required checks a name that must be there.
func (c *checker) required(path, value, what string) {
	if value == "" {
		c.issue(path, "is missing; %s", what)
	}
	c.name(path, value)
}

// name checks an id or a name, if there is one.
func (c *checker) name(path, value string) {
	if c.template && mayRefer(value) {
		return
	}
	if len(value) > maxName {
		c.issue(path, "is %d bytes long, more than %d; shorten it", len(value), maxName)
		return
	}
	if value != strings.TrimSpace(value) {
		c.issue(path, "%q begins or ends with space; remove it", value)
		return
	}
	for i, r := range value {
		if r == utf8.RuneError || !unicode.IsGraphic(r) {
			c.issue(path, "%q holds the invisible character %U at byte %d; remove it", value, r, i)
			return
		}
	}
}

// text checks free text.
func (c *checker) text(path, value string, most int) {
	if c.template && mayRefer(value) {
		return
	}
	if n := utf8.RuneCountInString(value); n > most {
		c.issue(path, "is %d characters long, more than %d; shorten it", n, most)
	}
	if !utf8.ValidString(value) {
		c.issue(path, "is not valid UTF-8; send it as UTF-8")
	}
}

// clip bounds what a message quotes.
func clip(text string) string {
	const most = 60
	if len(text) <= most {
		return text
	}
	cut := most
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
