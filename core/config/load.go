package config

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/strict"
)

// Source says where the value of a setting is from.
type Source string

// The sources, each of which goes before those above it.
const (
	Default     Source = "default"
	File        Source = "file"
	Environment Source = "environment"
	Flag        Source = "flag"
)

// Input is what a configuration is made of.
type Input struct {
	File   string // path; empty for none
	Getenv func(string) string
	Flags  map[string]string // by the names of flags, those that were given
	Linked []string          // what a plugin's Linked may be
	Open   bool              // everyone may do everything, so that nothing has to say who calls
}

// Setting is the value that a key has.
type Setting struct {
	Key
	Value  string
	Source Source
}

// Loaded is a configuration, and where it is from.
type Loaded struct {
	Config
	File     string // empty if there is none
	Settings []Setting
	Issues   []model.Issue // all that is wrong with it; empty if it may be used
}

// Err returns the issues as one error, or nil.
func (l *Loaded) Err() error {
	if len(l.Issues) == 0 {
		return nil
	}
	detail := "the configuration cannot be used"
	if l.File != "" {
		detail = "the configuration in " + l.File + " cannot be used"
	}
	return &model.Error{Kind: model.Invalid, Detail: detail, Issues: l.Issues}
}

// Load puts a configuration together: what the file says goes before the defaults, a variable of the environment before the
// file, and a flag before all. It reports everything that is wrong at once.
func Load(in Input) *Loaded {
	l := &Loaded{File: in.File}
	given := map[string]bool{} // what the file sets
	if in.File != "" && !l.read(given) {
		return l
	}
	each(reflect.ValueOf(&l.Config).Elem(), "", func(k Key, v reflect.Value) {
		s := Setting{Key: k, Source: Default}
		if given[k.Path] {
			s.Source = File
		} else {
			v.SetString(k.Default)
		}
		if text := in.Getenv(k.Env); text != "" {
			s.Source = Environment
			v.SetString(text)
		}
		if text, ok := in.Flags[k.Flag]; ok {
			s.Source = Flag
			v.SetString(text)
		}
		s.Value = v.String()
		l.Settings = append(l.Settings, s)
	})
	l.insertVariables(in.Getenv)
	l.check(in)
	return l
}

func (l *Loaded) issue(path, format string, args ...any) {
	l.Issues = append(l.Issues, model.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

// read reads the file as far as it can be understood, and reports whether it is a file of settings at all.
func (l *Loaded) read(given map[string]bool) bool {
	text, err := os.ReadFile(l.File)
	if err != nil {
		l.issue("", "%v; name another file with --config", err)
		return false
	}
	doc, err := strict.Parse(text)
	if err != nil {
		l.issue("", "%v", err)
		return false
	}
	l.Issues = append(l.Issues, strict.Decode(doc, &l.Config)...)
	mark(given, "", doc)
	return true
}

// mark notes the paths of all values in a document.
func mark(given map[string]bool, path string, doc any) {
	members, ok := doc.(map[string]any)
	if !ok {
		given[path] = doc != nil
	}
	for name, value := range members {
		mark(given, strings.TrimPrefix(path+"."+name, "."), value)
	}
}

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}$`)

// insertVariables replaces the texts ${NAME} in settings of plugins.
func (l *Loaded) insertVariables(getenv func(string) string) {
	for _, name := range l.names() {
		p := l.Plugins[name]
		doc, err := strict.Parse(p.Config)
		if err != nil { // there is nothing
			continue
		}
		doc = l.insert("plugins."+name+".config", doc, getenv)
		text, err := json.Marshal(doc)
		if err != nil {
			l.issue("plugins."+name+".config", "%v", err)
			continue
		}
		p.Config = text
		l.Plugins[name] = p
	}
}

func (l *Loaded) insert(path string, doc any, getenv func(string) string) any {
	switch v := doc.(type) {
	case map[string]any:
		for name, value := range v {
			v[name] = l.insert(path+"."+name, value, getenv)
		}
	case []any:
		for i, value := range v {
			v[i] = l.insert(fmt.Sprintf("%s[%d]", path, i), value, getenv)
		}
	case string:
		m := variable.FindStringSubmatch(v)
		if m == nil {
			return v
		}
		value := getenv(m[1])
		if value == "" {
			l.issue(path, "the variable %s is not set", m[1])
		}
		return value
	}
	return doc
}
