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
	for i, operation := range a.Operations {
		if operation.Name != "" { // its absence is the graph's to report
			c.name(operationPath(i, "name"), operation.Name)
		}
		if operation.Type == "" {
			c.issue(operationPath(i, "type"), "the operation has no type; name the type of handler that performs it")
		} else {
			c.name(operationPath(i, "type"), operation.Type)
		}
		c.name(operationPath(i, "id"), operation.ID)
	}
}

// Graph returns how the agenda's operations depend on each other, or all that is wrong with that. References may name the
// results of the operations, what every payload may refer to, and the other names given.
func (a *Agenda) Graph(names ...string) (*workflow.Graph, []Issue) {
	var issues []Issue
	operations := make([]workflow.Operation, len(a.Operations))
	for i := range a.Operations {
		dependsOn, err := a.Operations[i].DependsOn()
		if err != nil {
			issues = append(issues, Issue{operationPath(i, "params.dependsOn"), err.Error()})
		}
		operations[i] = workflow.Operation{Name: a.Operations[i].Name, Payload: a.Operations[i].Payload, DependsOn: dependsOn}
	}
	graph, more := workflow.Compile(operations, names...)
	for _, issue := range more {
		issues = append(issues, Issue{issue.Path, issue.Message})
	}
	if len(issues) > 0 {
		return nil, issues
	}
	return graph, nil
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
