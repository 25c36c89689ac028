package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pop-platform/pop/core/workflow"
)

// PopPayload is the name by which an agenda template refers to the caller's payload.
const PopPayload = "pop.payload"

const popPrefix = "pop."

// Instantiate returns the template's agenda with its references filled from the static parameters and from the caller's
// payload, which may be any JSON; no payload is an empty object. What is filled in is data: a reference in it is not one.
//
// References in the payloads of operations to results and to what every payload may refer to stay, for the executor. Anything
// else that cannot be filled is an error of kind [Invalid] with an issue for each, and one for each field that the payload lacks. The agenda is not validated further. Its
// title is the template's unless it has its own.
func (v *AgendaTemplate) Instantiate(payload json.RawMessage) (Agenda, error) {
	c := checker{prefix: "agenda."}
	if len(payload) == 0 {
		payload = json.RawMessage("{}")
	}
	if !json.Valid(payload) {
		return Agenda{}, &Error{Kind: Invalid, Detail: "fill agenda template", Issues: []Issue{{"payload", "is not valid JSON"}}}
	}
	lookup := func(name string) (json.RawMessage, bool) {
		if name == PopPayload {
			return payload, true
		}
		value, ok := v.StaticParameters[name]
		return value, ok
	}

	lacks := lacking{}
	agenda := v.Agenda.clone()
	agenda.ID, agenda.AgendaInsight = "", nil
	agenda.eachField(func(f field) {
		value, err := workflow.Resolve(f.raw(), lookup)
		if err != nil {
			c.references(f.path, lacks.take(err))
		} else if !f.set(value) {
			c.issue(f.path, "is filled with %s; it must be text", clip(string(value)))
		}
	})
	names := v.names()
	for i := range agenda.Operations {
		filled, left, err := workflow.Fill(agenda.Operations[i].Payload, lookup)
		c.references(operationPath(i, "payload"), lacks.take(err))
		for _, ref := range left {
			if !knownInPayload(ref.Name) {
				c.unknown(operationPath(i, "payload"), ref, names)
			}
		}
		agenda.Operations[i].Payload = filled
	}
	if c.issues = append(lacks.issues(v), c.issues...); len(c.issues) > 0 {
		return Agenda{}, &Error{Kind: Invalid, Detail: "fill agenda template", Issues: c.result()}
	}
	if agenda.Title == "" {
		agenda.Title = v.Title
	}
	return agenda, nil
}

// names are what references anywhere in the template's agenda may name.
func (v *AgendaTemplate) names() []string {
	return append(slices.Sorted(maps.Keys(v.StaticParameters)), PopPayload)
}

// knownInPayload reports whether a name may mean something to the executor.
func knownInPayload(name string) bool {
	_, isResult := workflow.ResultOf(name)
	return isResult || name == workflow.AgendaID || name == workflow.OperationName || name == workflow.Params || name == workflow.Failures
}

// clone returns a copy whose operations and params can be changed.
func (a *Agenda) clone() Agenda {
	c := *a
	c.Params = maps.Clone(a.Params)
	c.Operations = slices.Clone(a.Operations)
	for i := range c.Operations {
		c.Operations[i].Params = maps.Clone(c.Operations[i].Params)
	}
	return c
}

// field is a part of a template's agenda that is filled completely: any but the payloads of operations.
type field struct {
	path        string
	shapesGraph bool
	text        *string
	params      Params // if text is nil
	key         string
}

// eachField calls visit with the fields of an agenda that may hold references.
func (a *Agenda) eachField(visit func(field)) {
	text := func(path string, text *string, shapesGraph bool) {
		if mayRefer(*text) {
			visit(field{path: path, text: text, shapesGraph: shapesGraph})
		}
	}
	params := func(path string, p Params, shapesGraph bool) {
		for _, key := range slices.Sorted(maps.Keys(p)) {
			visit(field{path: path + "." + clip(key), params: p, key: key, shapesGraph: shapesGraph && key == ParamDependsOn})
		}
	}
	text("cid", &a.CID, false)
	text("customerId", &a.CustomerID, false)
	text("title", &a.Title, false)
	text("linkId", &a.LinkID, false)
	text("jobId", &a.JobID, false)
	params("params", a.Params, false)
	for i := range a.Operations {
		o := &a.Operations[i]
		text(operationPath(i, "name"), &o.Name, true)
		text(operationPath(i, "type"), &o.Type, false)
		text(operationPath(i, "id"), &o.ID, false)
		params(operationPath(i, "params"), o.Params, true)
	}
}

// raw returns the value of the field.
func (f *field) raw() json.RawMessage {
	if f.text == nil {
		return f.params[f.key]
	}
	raw, _ := json.Marshal(*f.text) // a string always has a JSON form
	return raw
}

// set sets the value of the field, and reports whether it is of a type that the field can take: any for a param, and for text
// a string, a number, true, false or null for none.
func (f *field) set(value json.RawMessage) bool {
	switch {
	case f.text == nil:
		f.params[f.key] = value
		return true
	case value[0] == '{' || value[0] == '[':
		return false
	}
	*f.text = Params{"": value}.Text("")
	return true
}

// mayRefer reports whether text may hold references or escapes.
func mayRefer(text string) bool { return strings.Contains(text, "@<") }

// references adds an issue for each reference that an error of core/workflow is about.
func (c *checker) references(path string, err error) {
	var failed workflow.ReferenceErrors
	switch {
	case errors.As(err, &failed):
		for _, e := range failed {
			c.issue(path, "%v", e)
		}
	case err != nil:
		c.issue(path, "is %v", err)
	}
}

// unknown adds an issue for a reference that names nothing.
func (c *checker) unknown(path string, ref workflow.Reference, names []string) {
	err := workflow.ReferenceError{Reference: ref.Text, At: ref.At, Reason: fmt.Sprintf("there is nothing called %q; the template knows %s",
		clip(ref.Name), clip(strings.Join(names, ", ")))}
	c.issue(path, "%v", &err)
}
