package objects

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

// Decode reads one YAML or JSON document into the value that v points to. Fields that the value does not have, and values of
// the wrong type, are issues with their paths; all are returned.
func Decode(data []byte, v any) []model.Issue {
	doc, err := parse(data)
	if err != nil {
		return []model.Issue{{Message: err.Error()}}
	}
	return decode(doc, v)
}

// parse reads one document as encoding/json would read it into an any.
func parse(data []byte) (any, error) {
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

// decode stores a parsed document in the value that v points to.
func decode(doc, v any) []model.Issue {
	var c checker
	c.check("", doc, reflect.TypeOf(v).Elem())
	if len(c.issues) > 0 {
		return c.issues
	}
	raw, err := json.Marshal(doc)
	if err == nil {
		err = json.Unmarshal(raw, v)
	}
	if err != nil {
		return []model.Issue{{Message: err.Error()}}
	}
	return nil
}

// checker compares a document with the type that it is to be decoded into. Other than encoding/json it does not stop at the
// first mistake, minds the case of names, and says where it is.
type checker struct{ issues []model.Issue }

func (c *checker) issue(path, format string, args ...any) {
	c.issues = append(c.issues, model.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

var (
	rawType  = reflect.TypeFor[json.RawMessage]()
	timeType = reflect.TypeFor[time.Time]()
)

func (c *checker) check(path string, v any, t reflect.Type) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil || t == rawType {
		return
	}
	if t == timeType {
		text, _ := v.(string)
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			c.issue(path, "must be a time such as 2030-01-31T12:00:00Z, not %s", describe(v))
		}
		return
	}
	switch t.Kind() {
	case reflect.Struct:
		c.object(path, v, t)
	case reflect.Map:
		members, ok := v.(map[string]any)
		if !ok {
			c.issue(path, "must be an object, not %s", describe(v))
		}
		for _, name := range slices.Sorted(maps.Keys(members)) {
			c.check(join(path, name), members[name], t.Elem())
		}
	case reflect.Slice:
		items, ok := v.([]any)
		if !ok {
			c.issue(path, "must be a list, not %s", describe(v))
		}
		for i, item := range items {
			c.check(fmt.Sprintf("%s[%d]", path, i), item, t.Elem())
		}
	case reflect.String:
		if _, ok := v.(string); !ok {
			c.issue(path, "must be text, not %s", describe(v))
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			c.issue(path, "must be true or false, not %s", describe(v))
		}
	case reflect.Int, reflect.Int64:
		if n, ok := v.(json.Number); !ok {
			c.issue(path, "must be a whole number, not %s", describe(v))
		} else if _, err := n.Int64(); err != nil {
			c.issue(path, "must be a whole number, not %s", n)
		}
	case reflect.Float64:
		if n, ok := v.(json.Number); !ok {
			c.issue(path, "must be a number, not %s", describe(v))
		} else if _, err := n.Float64(); err != nil {
			c.issue(path, "%s is out of range", n)
		}
	default:
		c.issue(path, "cannot be set")
	}
}

func (c *checker) object(path string, v any, t reflect.Type) {
	members, ok := v.(map[string]any)
	if !ok {
		c.issue(path, "must be an object, not %s", describe(v))
		return
	}
	known := fields(t)
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if field, ok := known[name]; ok {
			c.check(join(path, name), members[name], field)
		} else {
			c.issue(join(path, name), "is not a field; the fields are %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
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

// describe names a value of the wrong type and, if it is likely, what the author meant.
func describe(v any) string {
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
