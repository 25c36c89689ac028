package workflow

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Lookup returns the value that a name stands for, and false if there is none, so that a fallback takes its place. An empty
// value stands for {}.
type Lookup func(name string) (json.RawMessage, bool)

// Parse returns the references of a document in order. If some cannot be understood the error is [ReferenceErrors], and the
// references are the others. A document that cannot hold references is not looked at further, valid JSON or not.
func Parse(doc json.RawMessage) ([]Reference, error) {
	if !mayRefer(doc) {
		return nil, nil
	}
	if err := validate(doc); err != nil {
		return nil, err
	}
	var refs []Reference
	failed := scan(doc, func(ref *Reference) { refs = append(refs, *ref) })
	return refs, failed.orNil()
}

// scan calls visit with each reference of a valid document, and returns those that cannot be understood.
func scan(doc json.RawMessage, visit func(ref *Reference)) (failed ReferenceErrors) {
	rewrite(doc, func(text, at string) json.RawMessage {
		parts, err := split(text, at)
		if err != nil {
			failed.add(err.Reference, err.At, err.Reason)
		}
		for _, p := range parts {
			if p.ref != nil {
				visit(p.ref)
			}
		}
		return nil
	})
	return failed
}

// Resolve returns the document with every reference replaced and every escape undone. References that cannot be replaced are
// an error of type [ReferenceErrors]. A document without any is returned as it is, valid JSON or not;
// other results are always valid JSON.
func Resolve(doc json.RawMessage, lookup Lookup) (json.RawMessage, error) {
	r := resolver{lookup: lookup}
	out, err := r.resolve(doc)
	return out, err
}

// Fill returns the document with those references replaced whose name lookup knows. It leaves the others, which it also
// returns, and every escape, for the document is going to be resolved. What it puts in is escaped, so that resolving brings
// back exactly what was put in and takes nothing in it for a reference.
func Fill(doc json.RawMessage, lookup Lookup) (json.RawMessage, []Reference, error) {
	r := resolver{lookup: lookup, fill: true}
	out, err := r.resolve(doc)
	return out, r.unknown, err
}

// MaxInserted is how many bytes the references of one document may bring in. A few short references to a long value would
// otherwise fill any memory.
const MaxInserted = 64 << 20

type resolver struct {
	lookup   Lookup
	fill     bool
	values   map[string]json.RawMessage // checked values by name
	inserted int                        // bytes
	unknown  []Reference                // when filling
	failed   ReferenceErrors
}

func (r *resolver) resolve(doc json.RawMessage) (json.RawMessage, error) {
	if !mayRefer(doc) {
		return doc, nil
	}
	if err := validate(doc); err != nil {
		return nil, err
	}
	r.values = map[string]json.RawMessage{}
	out := rewrite(doc, r.replace)
	if len(r.failed) > 0 {
		return nil, r.failed
	}
	if err := validate(out); err != nil { // nested too deeply, now that the values are in
		return nil, fmt.Errorf("with its references replaced it is %w", err)
	}
	return out, nil
}

// replace returns what takes the place of a string, or nil if it stays.
func (r *resolver) replace(text, at string) json.RawMessage {
	parts, err := split(text, at)
	if err != nil {
		r.failed.add(err.Reference, err.At, err.Reason)
		return nil
	}
	if len(parts) == 1 && parts[0].ref != nil {
		value, known := r.value(parts[0].ref)
		if known && r.fill {
			value = escapeStrings(value)
		}
		return value
	}

	var out, literal strings.Builder
	flush := func() {
		if r.fill {
			out.WriteString(escape(literal.String()))
		} else {
			out.WriteString(literal.String())
		}
		literal.Reset()
	}
	for _, p := range parts {
		if p.ref == nil {
			literal.WriteString(p.literal)
			continue
		}
		value, known := r.value(p.ref)
		switch {
		case !known:
			// Literal text is escaped in one run, as an @ and a < may come from different parts.
			flush()
			out.WriteString(p.ref.Text)
		case value[0] == '"':
			literal.WriteString(unquote(value))
		case value[0] == '{':
			r.fail(p.ref, "the value is an object, which has no text; make the reference the whole string, or point at a part of it")
		case value[0] == '[':
			r.fail(p.ref, "the value is an array, which has no text; make the reference the whole string, or point at a part of it")
		default:
			literal.Write(value)
		}
	}
	flush()
	return quote(out.String())
}

// value returns what a reference stands for, and false if it stays as it is.
func (r *resolver) value(ref *Reference) (json.RawMessage, bool) {
	doc, checked := r.values[ref.Name]
	if !checked {
		var known bool
		doc, known = r.lookup(ref.Name)
		switch {
		case !known && r.fill:
			r.unknown = append(r.unknown, *ref)
			return nil, false
		case !known && ref.Fallback != nil:
			return r.count(ref, ref.Fallback)
		case !known:
			r.fail(ref, "there is nothing called "+clip(ref.Name))
			return nil, false
		case len(doc) == 0:
			doc = json.RawMessage("{}")
		}
		if err := validate(doc); err != nil {
			r.fail(ref, fmt.Sprintf("%s is %v", clip(ref.Name), err))
			return nil, false
		}
		r.values[ref.Name] = doc
	}
	value, found := find(doc, ref.Pointer)
	if !found {
		value = ref.Fallback
	}
	if value != nil {
		return r.count(ref, value)
	}
	r.fail(ref, fmt.Sprintf("%s has no %s; correct the pointer, or add a fallback as in @<%s::%s?text>",
		clip(ref.Name), clip(ref.Pointer), clip(ref.Name), clip(ref.Pointer)))
	return nil, false
}

// count returns a value that is put in, unless all of them together are too much.
func (r *resolver) count(ref *Reference, value json.RawMessage) (json.RawMessage, bool) {
	if r.inserted += len(value); r.inserted > MaxInserted {
		r.fail(ref, fmt.Sprintf("the values put in add up to more than %d MiB; pass the name of a file or an object instead of its content", MaxInserted>>20))
		return nil, false
	}
	return value, true
}

func (r *resolver) fail(ref *Reference, reason string) {
	r.failed.add(ref.Text, ref.At, reason)
}

// escapeStrings escapes every string value of a document.
func escapeStrings(doc json.RawMessage) json.RawMessage {
	if !mayRefer(doc) {
		return doc
	}
	return rewrite(doc, func(text, _ string) json.RawMessage { return quote(escape(text)) })
}
