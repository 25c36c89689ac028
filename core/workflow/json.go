package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Documents are read and written as text, never through Go values, so that numbers keep every digit and what is not a
// reference stays as it was, byte by byte. All functions but validate expect a valid document.

// validate returns an error that says where doc stops being JSON.
func validate(doc []byte) error {
	if json.Valid(doc) {
		return nil
	}
	var raw json.RawMessage
	err := json.Unmarshal(doc, &raw)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not valid JSON at byte %d: %w", syntax.Offset, err)
	}
	return fmt.Errorf("not valid JSON: %w", err)
}

// rewrite returns doc with the string values replaced for which edit returns a replacement that is not nil. It calls edit
// only for strings that hold @<, with their text and their JSON pointer.
func rewrite(doc []byte, edit func(text, at string) json.RawMessage) json.RawMessage {
	var out []byte
	var path trail
	copied := 0
	for i := 0; i < len(doc); {
		switch doc[i] {
		case '{', '[':
			path = append(path, step{})
		case '}', ']':
			path = path[:len(path)-1]
		case ',':
			path[len(path)-1].index++
		case '"':
			end := stringEnd(doc, i)
			literal := doc[i:end]
			if next := skipSpace(doc, end); next < len(doc) && doc[next] == ':' {
				path[len(path)-1].key = literal
			} else if text, ok := referring(literal); ok {
				if replacement := edit(text, path.String()); replacement != nil {
					out = append(append(out, doc[copied:i]...), replacement...)
					copied = end
				}
			}
			i = end
			continue
		}
		i++
	}
	if copied == 0 {
		return doc
	}
	return append(out, doc[copied:]...)
}

// trail is the way from the root of a document to one of its values.
type trail []step

type step struct {
	key   []byte // JSON literal; nil in an array
	index int
}

// String returns the trail as a JSON pointer. It cuts a long one short: the work that a message takes must not depend on how
// deep a document is or how long its keys are.
func (t trail) String() string {
	var b strings.Builder
	for _, s := range t {
		switch {
		case b.Len() > clipLength:
			return b.String() + "/..."
		case s.key == nil:
			b.WriteByte('/')
			b.WriteString(strconv.Itoa(s.index))
		case len(s.key) > clipLength:
			return b.String() + "/" + clip(string(s.key[1:]))
		default:
			b.WriteByte('/')
			b.WriteString(encodeToken.Replace(unquote(s.key)))
		}
	}
	return b.String()
}

var (
	encodeToken = strings.NewReplacer("~", "~0", "/", "~1")
	decodeToken = strings.NewReplacer("~1", "/", "~0", "~")
)

// normalizePointer adds the leading slash to a pointer and makes a lone slash the empty pointer.
func normalizePointer(pointer string) string {
	switch {
	case pointer == "" || pointer == "/":
		return ""
	case pointer[0] == '/':
		return pointer
	}
	return "/" + pointer
}

// badEscape returns the index of the first tilde of a pointer that is not an escape, or -1.
func badEscape(pointer string) int {
	for i := range len(pointer) {
		if pointer[i] == '~' && (i+1 == len(pointer) || pointer[i+1] != '0' && pointer[i+1] != '1') {
			return i
		}
	}
	return -1
}

// find returns the part of doc that a normalized pointer names.
func find(doc json.RawMessage, pointer string) (json.RawMessage, bool) {
	node, found := json.RawMessage(bytes.TrimSpace(doc)), true
	for pointer != "" && found {
		token, rest, more := strings.Cut(pointer[1:], "/")
		token = decodeToken.Replace(token)
		if pointer = ""; more {
			pointer = "/" + rest
		}
		switch node[0] {
		case '{':
			node, found = member(node, token)
		case '[':
			node, found = element(node, token)
		default:
			return nil, false
		}
	}
	return node, found
}

// member returns a value of an object. Of several with the same key the last counts, as everywhere in Go.
func member(object json.RawMessage, key string) (value json.RawMessage, found bool) {
	for i := skipSpace(object, 1); object[i] != '}'; {
		keyEnd := stringEnd(object, i)
		start := skipSpace(object, skipSpace(object, keyEnd)+1)
		end := valueEnd(object, start)
		if literal := object[i:keyEnd]; string(literal[1:len(literal)-1]) == key || bytes.IndexByte(literal, '\\') >= 0 && unquote(literal) == key {
			value, found = object[start:end:end], true
		}
		if i = skipSpace(object, end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return value, found
}

// element returns a value of an array.
func element(array json.RawMessage, token string) (json.RawMessage, bool) {
	index, err := strconv.Atoi(token)
	if err != nil || strconv.Itoa(index) != token || index < 0 {
		return nil, false
	}
	for i := skipSpace(array, 1); array[i] != ']'; index-- {
		end := valueEnd(array, i)
		if index == 0 {
			return array[i:end:end], true
		}
		if i = skipSpace(array, end); array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
	return nil, false
}

// valueEnd returns where the value that starts at i ends.
func valueEnd(doc []byte, i int) int {
	depth := 0
	for i < len(doc) {
		switch doc[i] {
		case '"':
			i = stringEnd(doc, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of what holds a number or a word
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// stringEnd returns where the string literal that starts at i ends.
func stringEnd(doc []byte, i int) int {
	for i++; doc[i] != '"'; i++ {
		if doc[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipSpace(doc []byte, i int) int {
	for i < len(doc) && (doc[i] == ' ' || doc[i] == '\t' || doc[i] == '\r' || doc[i] == '\n') {
		i++
	}
	return i
}

// unquote returns the text of a string literal.
func unquote(literal []byte) string {
	if inner := literal[1 : len(literal)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var text string
	_ = json.Unmarshal(literal, &text) // it is a literal of a valid document
	return text
}

// quote returns text as a string literal, with angle brackets left readable.
func quote(text string) json.RawMessage {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // every string has a JSON form
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
