package model

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/pop-platform/pop/core/workflow"
)

// PayloadField is a part of the caller's payload that an agenda template refers to.
type PayloadField struct {
	Name     string   `json:"name"` // such as input.file; empty for the whole payload
	Optional bool     `json:"optional,omitempty"`
	UsedBy   []string `json:"usedBy"` // names of operations, and paths of the agenda's own fields
}

// PayloadFields returns what the template refers to in the caller's payload, in the order in which it does. A field is optional if
// every reference to it has a fallback.
func (v *AgendaTemplate) PayloadFields() []PayloadField {
	return fieldsOf(v.payloadUses())
}

// payloadUse is one reference to the caller's payload.
type payloadUse struct {
	workflow.Reference
	by string
}

func (v *AgendaTemplate) payloadUses() (uses []payloadUse) {
	collect := func(by string, raw json.RawMessage) {
		refs, _ := workflow.Parse(raw) // what is wrong with references is reported where they are filled
		for _, ref := range refs {
			if ref.Name == PopPayload {
				uses = append(uses, payloadUse{ref, by})
			}
		}
	}
	own := v.Agenda
	own.Operations = nil
	own.eachField(func(f field) { collect(f.path, f.raw()) })
	for _, o := range v.Agenda.Operations {
		one := Agenda{Operations: []Operation{o}}
		one.eachField(func(f field) { collect(o.Name, f.raw()) })
		collect(o.Name, o.Payload)
	}
	return uses
}

func fieldsOf(uses []payloadUse) []PayloadField {
	var fields []PayloadField
	at := map[string]int{} // by pointer
	for _, use := range uses {
		i, known := at[use.Pointer]
		if !known {
			i = len(fields)
			at[use.Pointer] = i
			fields = append(fields, PayloadField{Name: dotted(use.Pointer), Optional: true})
		}
		fields[i].Optional = fields[i].Optional && use.Fallback != nil
		if !slices.Contains(fields[i].UsedBy, use.by) {
			fields[i].UsedBy = append(fields[i].UsedBy, use.by)
		}
	}
	return fields
}

// dotted returns a JSON pointer as people write the path of a field.
func dotted(pointer string) string {
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, token := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	return strings.Join(tokens, ".")
}

// lacking are references that failed because the caller's payload does not have what they point at, by their text.
type lacking map[string]bool

// take moves those references out of an error of core/workflow, and returns what is left of it.
func (l lacking) take(err error) error {
	all, ok := errors.AsType[workflow.ReferenceErrors](err)
	if !ok {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(all), func(e *workflow.ReferenceError) bool {
		lacks := strings.HasPrefix(e.Reason, PopPayload+" has no ")
		if lacks {
			l[e.Reference] = true
		}
		return lacks
	})
	if len(others) == 0 {
		return nil
	}
	return others
}

// issues returns one issue for each field that the payload lacks, however many references there are to it.
func (l lacking) issues(v *AgendaTemplate) (issues []Issue) {
	if len(l) == 0 {
		return nil
	}
	uses := slices.DeleteFunc(v.payloadUses(), func(use payloadUse) bool { return !l[use.Text] })
	for _, f := range fieldsOf(uses) {
		issues = append(issues, Issue{"payload." + clip(f.Name), "is missing; used by " + clip(strings.Join(f.UsedBy, ", "))})
	}
	return issues
}
