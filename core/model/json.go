package model

import "unicode/utf8"

// JSON documents end up inside each other: a result in a progress, a progress in a list. What reads them gives up at 10,000
// levels, so one that is nested deeper could be kept but never read again.
const (
	// MaxDepth is how deep the arrays and objects of a request may be nested.
	MaxDepth = 1000
	// MaxResultDepth is how deep those of what a handler hands in may be nested. It leaves room for the request around it.
	MaxResultDepth = MaxDepth / 2
)

// CheckJSON looks for what parsers of JSON let pass but nobody can handle: text that is not UTF-8, and arrays and objects nested
// deeper than maxDepth. It takes for granted that the rest of the document is JSON.
func CheckJSON(document []byte, maxDepth int) error {
	if !utf8.Valid(document) {
		i := 0
		for r, size := utf8.DecodeRune(document); r != utf8.RuneError || size > 1; r, size = utf8.DecodeRune(document[i:]) {
			i += size
		}
		return Errorf(Malformed, "is not UTF-8 at byte %d", i+1)
	}
	depth, quoted := 0, false
	for i := 0; i < len(document); i++ {
		switch c := document[i]; {
		case c == '"':
			quoted = !quoted
		case quoted:
			if c == '\\' {
				i++
			}
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return Errorf(Malformed, "is nested deeper than %d levels at byte %d", maxDepth, i+1)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}
