package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/core/model"
)

// Unmarshal reads one YAML or JSON document into the value that v points to, as [Parse] and [Decode] do.
func Unmarshal(data []byte, v any) []model.Issue {
	doc, err := Parse(data)
	if err != nil {
		return []model.Issue{{Message: err.Error()}}
	}
	return Decode(doc, v)
}

// Parse reads one YAML or JSON document as encoding/json would read it into an any, with numbers as they are written.
func Parse(data []byte) (any, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, errors.New(plain(err.Error()))
	}
	var doc any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&doc); err != nil {
		return nil, err
	}
	return doc, nil
}

// plain takes the words off a YAML reader's error that tell a user nothing.
func plain(text string) string {
	if i := strings.LastIndex(text, "yaml: "); i >= 0 {
		text = text[i+len("yaml: "):]
	}
	return strings.Join(strings.Fields(strings.TrimPrefix(text, "unmarshal errors:")), " ")
}

// Decode stores a parsed document in the value that v points to. Fields that the value does not have, and values of the wrong
// type, are issues with their paths; all are returned, and what is good is stored nevertheless.
func Decode(doc, v any) []model.Issue {
	var c checker
	good, _ := c.check("", doc, reflect.TypeOf(v).Elem())
	raw, err := json.Marshal(good)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		c.issue("", "%v", err)
	}
	return c.issues
}

// checker compares a document with the type that it is to be decoded into. Other than encoding/json it does not stop at the
// first mistake, minds the case of names, and says where it is.
type checker struct{ issues []model.Issue }

func (c *checker) issue(path, format string, args ...any) {
	c.issues = append(c.issues, model.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

var (
	timeType    = reflect.TypeFor[time.Time]()
	ownDecoding = reflect.TypeFor[json.Unmarshaler]()
)

// check returns what is good of a value, and whether all of it is.
func (c *checker) check(path string, v any, t reflect.Type) (good any, ok bool) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil || t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 { // a json.RawMessage, or one's own
		return v, true
	}
	before := len(c.issues)
	switch {
	case t == timeType:
		text, _ := v.(string)
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			c.issue(path, "must be a time such as 2030-01-31T12:00:00Z, not %s", Describe(v))
		}
	case reflect.PointerTo(t).Implements(ownDecoding): // it knows better than its kind what it can be
		raw, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(raw, reflect.New(t).Interface())
		}
		if err != nil {
			c.issue(path, "%v, not %s", err, Describe(v))
		}
	case t.Kind() == reflect.Struct:
		return c.object(path, v, t)
	case t.Kind() == reflect.Map:
		return c.members(path, v, func(string) reflect.Type { return t.Elem() })
	case t.Kind() == reflect.Slice:
		items, ok := v.([]any)
		if !ok {
			c.issue(path, "must be a list, not %s", Describe(v))
		}
		for i, item := range items {
			c.check(fmt.Sprintf("%s[%d]", path, i), item, t.Elem())
		}
	default:
		c.scalar(path, v, t)
	}
	if len(c.issues) > before {
		return nil, false
	}
	return v, true
}

func (c *checker) scalar(path string, v any, t reflect.Type) {
	switch t.Kind() {
	case reflect.String:
		if _, ok := v.(string); !ok {
			c.issue(path, "must be text, not %s", Describe(v))
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			c.issue(path, "must be true or false, not %s", Describe(v))
		}
	case reflect.Int, reflect.Int8, reflect.Int64, reflect.Uint64:
		if n, ok := v.(json.Number); !ok {
			c.issue(path, "must be a whole number, not %s", Describe(v))
		} else if _, err := n.Int64(); err != nil {
			c.issue(path, "must be a whole number, not %s", n)
		} else if json.Unmarshal([]byte(n), reflect.New(t).Interface()) != nil {
			c.issue(path, "%s is out of range", n)
		}
	case reflect.Float64:
		if n, ok := v.(json.Number); !ok {
			c.issue(path, "must be a number, not %s", Describe(v))
		} else if _, err := n.Float64(); err != nil {
			c.issue(path, "%s is out of range", n)
		}
	default:
		c.issue(path, "cannot be set")
	}
}

// members checks the members of an object, whose types are given by their names. Those of type nil are left out.
func (c *checker) members(path string, v any, typeOf func(name string) reflect.Type) (good any, ok bool) {
	members, ok := v.(map[string]any)
	if !ok {
		c.issue(path, "must be an object, not %s", Describe(v))
		return nil, false
	}
	kept := make(map[string]any, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		t := typeOf(name)
		if t == nil {
			ok = false
			continue
		}
		good, all := c.check(join(path, name), members[name], t)
		ok = ok && all
		if all || good != nil {
			kept[name] = good
		}
	}
	return kept, ok
}

func (c *checker) object(path string, v any, t reflect.Type) (good any, ok bool) {
	known := fields(t)
	return c.members(path, v, func(name string) reflect.Type {
		field, ok := known[name]
		if !ok {
			c.issue(join(path, name), "is not a field; the fields are %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		return field
	})
}

// fields returns the types of a struct's fields by their JSON names, those of embedded structs included.
func fields(t reflect.Type) map[string]reflect.Type {
	known := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(known, fields(f.Type))
		case f.IsExported() && name != "-":
			known[name] = f.Type
		}
	}
	return known
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// Describe names a value of the wrong type and, if it is likely, what the author meant.
func Describe(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case string:
		const most = 40
		if len(v) > most {
			v = strings.ToValidUTF8(v[:most], "") + "..."
		}
		return fmt.Sprintf("the text %q", v)
	case bool:
		return fmt.Sprintf("%t; put it in quotes if it is meant as text", v)
	case json.Number:
		return fmt.Sprintf("the number %s; put it in quotes if it is meant as text", v)
	}
	return "null"
}
