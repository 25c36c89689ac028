package workflow

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Names that a payload may refer to besides the results of operations.
const (
	AgendaID      = "pop.agendaId"      // id of the agenda
	OperationName = "pop.operationName" // name of the operation that the payload belongs to
	Params        = "pop.params"        // params of the agenda
	Failures      = "pop.failures"      // what has failed in the attempt: a list of objects with operation, message and statusCode
)

// ResultName returns the name by which references name the result of an operation.
func ResultName(operation string) string { return operation + resultSuffix }

// ResultOf returns the operation whose result a reference of that name names.
func ResultOf(name string) (operation string, ok bool) {
	operation, ok = strings.CutSuffix(name, resultSuffix)
	return operation, ok && operation != ""
}

const resultSuffix = ".out"

// Reference is one reference of a document.
type Reference struct {
	Text     string          // as written
	Name     string          // what it names, such as mediaInfo.out
	Pointer  string          // with its leading slash; empty for the whole value
	Fallback json.RawMessage // any JSON; nil if there is none
	At       string          // JSON pointer of the string it stands in
}

// ReferenceError says that a reference cannot be understood or replaced. Trying again cannot help.
type ReferenceError struct {
	Reference string // as written
	At        string // JSON pointer of the string it stands in
	Reason    string // why, and how to mend it
}

func (e *ReferenceError) Error() string {
	at := ""
	if e.At != "" {
		at = " at " + clip(e.At)
	}
	return fmt.Sprintf("reference %s%s: %s", clip(e.Reference), at, e.Reason)
}

// ReferenceErrors are the references of a document that failed, in the order of the document: at least one, and not more than
// the first hundred.
type ReferenceErrors []*ReferenceError

func (es ReferenceErrors) Error() string {
	const shown = 10
	texts := make([]string, 0, shown+1)
	for i, e := range es {
		if i == shown {
			texts = append(texts, fmt.Sprintf("and %d more", len(es)-shown))
			break
		}
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives access to each of them.
func (es ReferenceErrors) Unwrap() []error {
	errs := make([]error, len(es))
	for i, e := range es {
		errs[i] = e
	}
	return errs
}

func (es *ReferenceErrors) add(text, at, reason string) {
	if len(*es) < maxFailures {
		*es = append(*es, &ReferenceError{text, at, reason})
	}
}

const maxFailures = 100

func (es ReferenceErrors) orNil() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

const (
	opening = "@<"
	escaped = "@<<"
)

// part is a piece of a string: literal text with its escapes undone, or a reference.
type part struct {
	literal string
	ref     *Reference
}

// split takes a string apart. It returns an error for the first reference that cannot be understood.
func split(text, at string) ([]part, *ReferenceError) {
	var parts []part
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			parts = append(parts, part{literal: literal.String()})
			literal.Reset()
		}
	}
	for {
		before, rest, found := strings.Cut(text, opening)
		literal.WriteString(before)
		if !found {
			flush()
			return parts, nil
		}
		if strings.HasPrefix(rest, "<") {
			literal.WriteString(opening)
			text = rest[1:]
			continue
		}
		inner, after, closed := strings.Cut(rest, ">")
		if !closed {
			return nil, &ReferenceError{opening + rest, at, "it does not end; close it with >, or write @<< for a literal @<"}
		}
		ref, reason := parseReference(inner)
		if reason != "" {
			return nil, &ReferenceError{opening + inner + ">", at, reason}
		}
		ref.At = at
		flush()
		parts = append(parts, part{ref: ref})
		text = after
	}
}

// parseReference takes the text between the angle brackets apart. The reason is not empty if that fails.
func parseReference(inner string) (ref *Reference, reason string) {
	name, rest, _ := strings.Cut(inner, "::")
	if name == "" {
		return nil, "it names nothing; write @<name.out>, or @<< for a literal @<"
	}
	pointer, fallback, hasFallback := strings.Cut(rest, "?")
	ref = &Reference{Text: opening + inner + ">", Name: name, Pointer: normalizePointer(pointer)}
	if i := badEscape(ref.Pointer); i >= 0 {
		return nil, fmt.Sprintf("in a pointer, ~ must be followed by 0 or 1, as in ~0 for a tilde and ~1 for a slash (%s)", clip(ref.Pointer[i:]))
	}
	typed, isTyped := strings.CutPrefix(fallback, "?")
	switch {
	case !hasFallback:
	case fallback == "":
		ref.Fallback = json.RawMessage("null")
	case !isTyped:
		ref.Fallback = quote(fallback)
	case !json.Valid([]byte(typed)):
		return nil, fmt.Sprintf("what follows ?? must be JSON, such as 640, true or [1,2], and %s is not; write ?%s for text", clip(typed), clip(typed))
	default:
		ref.Fallback = json.RawMessage(strings.TrimSpace(typed))
	}
	return ref, ""
}

// mayRefer reports whether JSON text may hold a reference. It is never wrong when it says no: JSON may write either character
// as an escape, and Go's own encoder does so for the angle bracket.
func mayRefer(doc []byte) bool {
	return bytes.Contains(doc, []byte(opening)) || bytes.Contains(doc, []byte(`@\u003`)) || bytes.Contains(doc, []byte(`\u0040`))
}

// referring returns the text of a string literal if it holds a reference or an escape.
func referring(literal []byte) (text string, ok bool) {
	if !mayRefer(literal) {
		return "", false
	}
	text = unquote(literal)
	return text, strings.Contains(text, opening)
}

// escape returns text written so that it is taken literally.
func escape(text string) string { return strings.ReplaceAll(text, opening, escaped) }

const clipLength = 200

// clip bounds what a message quotes.
func clip(text string) string {
	if len(text) <= clipLength {
		return text
	}
	cut := clipLength
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "..."
}
