package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// config returns the configuration as it is sent.
func (e Entry) config() []byte {
	if len(bytes.TrimSpace(e.Config)) == 0 {
		return []byte("{}")
	}
	return e.Config
}

// Problem is something about a plugin's configuration that has to be mended.
type Problem struct {
	Path    string // of the value in the configuration: "tables[0].name"; empty for all of it
	Message string
}

// ConfigError is a configuration that a plugin cannot take.
type ConfigError struct {
	Plugin   string
	Problems []Problem
}

// Error lists all problems.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.Message
		if p.Path != "" {
			lines[i] = p.Path + ": " + p.Message
		}
	}
	return fmt.Sprintf("configuration of plugin %s: %s", e.Plugin, strings.Join(lines, "; "))
}

// checkConfig returns a [*ConfigError] if the entry's configuration does not satisfy the plugin's schema.
func checkConfig(e Entry, schema []byte) error {
	if n := len(e.Config); n > wire.MaxConfig {
		return &ConfigError{e.Name, []Problem{{"", fmt.Sprintf("it has %d bytes, the limit is %d", n, wire.MaxConfig)}}}
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(schema, &s); err != nil {
		return driver.Errorf(driver.Invalid, "plugin "+e.Name, "its configuration has no schema that can be read: %v", err)
	}
	var value any
	dec := json.NewDecoder(bytes.NewReader(e.config()))
	if err := dec.Decode(&value); err != nil {
		return &ConfigError{e.Name, []Problem{{"", "it is no JSON: " + err.Error()}}}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &ConfigError{e.Name, []Problem{{"", "something follows the JSON object"}}}
	}
	if _, ok := value.(map[string]any); !ok {
		return &ConfigError{e.Name, []Problem{{"", "it must be an object"}}}
	}
	if problems := examine(&s, value, ""); len(problems) > 0 {
		return &ConfigError{e.Name, problems}
	}
	return nil
}

// examine returns all that is wrong with a value. It goes into objects and lists itself, so that one problem does not hide the
// next, and says their problems in its own words.
func examine(s *jsonschema.Schema, value any, path string) (problems []Problem) {
	switch v := value.(type) {
	case map[string]any:
		if s.Type != "object" && len(s.Properties) == 0 {
			break
		}
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				problems = append(problems, Problem{join(path, name), "it is missing" + meaning(s.Properties[name])})
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			property, known := s.Properties[name]
			switch {
			case known:
				problems = append(problems, examine(property, v[name], join(path, name))...)
			case s.AdditionalProperties != nil && s.AdditionalProperties.Not != nil:
				problems = append(problems, Problem{join(path, name), "there is no such setting; there are " + strings.Join(slices.Sorted(maps.Keys(s.Properties)), ", ")})
			case s.AdditionalProperties != nil:
				problems = append(problems, examine(s.AdditionalProperties, v[name], join(path, name))...)
			}
		}
		if len(problems) > 0 {
			return problems
		}
	case []any:
		if s.Items == nil {
			break
		}
		for i, item := range v {
			problems = append(problems, examine(s.Items, item, fmt.Sprintf("%s[%d]", path, i))...)
		}
		if len(problems) > 0 {
			return problems
		}
	}
	resolved, err := s.CloneSchemas().Resolve(nil)
	if err != nil {
		return []Problem{{path, "the plugin's schema cannot be used: " + err.Error()}}
	}
	if err := resolved.Validate(value); err != nil {
		return []Problem{{path, plain(err, s) + meaning(s)}}
	}
	return nil
}

// plain returns what is wrong, without the validator's own names for where, and without the value: it may be a secret.
func plain(err error, s *jsonschema.Schema) string {
	types := s.Types
	if s.Type != "" {
		types = []string{s.Type}
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "type:") && len(types) > 0:
		return "it must be of type " + strings.Join(types, " or ")
	case strings.Contains(text, "enum:"):
		return fmt.Sprintf("it must be one of %v", s.Enum)
	case s.WriteOnly:
		return "it is not what the plugin takes"
	}
	for strings.HasPrefix(text, "validating ") {
		_, rest, ok := strings.Cut(text, ": ")
		if !ok {
			break
		}
		text = rest
	}
	return text
}

func meaning(s *jsonschema.Schema) string {
	if s == nil || s.Description == "" {
		return ""
	}
	return " (" + s.Description + ")"
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
