package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/core/model"
)

// What a handler gets if neither its entry nor the defaults say otherwise.
const (
	DefaultTimeout = time.Hour
	DefaultGrace   = 10 * time.Second
)

// Handler says how to run the operations of one type.
type Handler struct {
	Command []string          // program and arguments
	Env     map[string]string // variables to set
	PassEnv []string          // variables to take over from the executor
	Timeout time.Duration     // how long one attempt may take
	Grace   time.Duration     // between SIGTERM and SIGKILL
	WorkDir string            // folder to run in; empty for the attempt's own
	Limits  Limits
	Secrets map[string]Source // by the name that the handler knows them by
}

// Limits bound each process of a handler. What is zero is not bounded.
type Limits struct {
	Memory    int64 // of its data, in bytes
	CPU       time.Duration
	OpenFiles int64
	FileSize  int64 // of any file that it writes, in bytes
}

// Source is where a secret is read from, for each attempt anew: either a file or a variable of the executor.
type Source struct{ File, Env string }

func (s Source) String() string {
	if s.File != "" {
		return "file " + s.File
	}
	return "variable " + s.Env
}

// Set is the content of a registry file. Its zero value has no handlers.
type Set struct {
	handlers map[string]Handler
	bad      map[string][]model.Issue
}

// Parse reads the content of a registry file that lies in the folder dir. A file that is wrong as a whole is an error of kind
// [model.Malformed]. A bad entry is not: it spoils only the operations of its type, and [Set.Issues] tells.
func Parse(dir string, data []byte) (*Set, error) {
	raw, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return nil, model.Errorf(model.Malformed, "handler registry: %v", err)
	}
	p := parser{dir: dir}
	var file struct{ defaults, handlers map[string]json.RawMessage }
	p.fields("", raw, map[string]func(string, json.RawMessage){
		"defaults": func(path string, v json.RawMessage) { p.decode(path, v, "an object", &file.defaults) },
		"handlers": func(path string, v json.RawMessage) {
			p.decode(path, v, "an object of operation types", &file.handlers)
		},
	})
	defaults := Handler{Timeout: DefaultTimeout, Grace: DefaultGrace}
	if file.defaults != nil {
		p.entry("defaults", file.defaults, &defaults)
		if len(defaults.Command) > 0 {
			p.issue("defaults.command", "each handler names its own command")
		}
	}
	if len(p.issues) > 0 {
		return nil, &model.Error{Kind: model.Malformed, Detail: "handler registry", Issues: p.issues}
	}

	set := &Set{handlers: map[string]Handler{}, bad: map[string][]model.Issue{}}
	for name, entry := range file.handlers {
		p := parser{dir: dir}
		path := fmt.Sprintf("handlers[%q]", name)
		h := defaults
		h.Env = maps.Clone(h.Env)
		h.PassEnv = slices.Clone(h.PassEnv)
		h.Secrets = maps.Clone(h.Secrets)
		var values map[string]json.RawMessage
		if p.decode(path, entry, "an object", &values) {
			p.entry(path, values, &h)
			if len(h.Command) == 0 && values["command"] == nil {
				p.issue(path+".command", "is required: the program and its arguments")
			}
		}
		if len(p.issues) > 0 {
			set.bad[name] = p.issues
		} else {
			set.handlers[name] = h
		}
	}
	return set, nil
}

// Lookup returns the handler of an operation type. The error is of kind [model.NotFound] for a type that the file does not
// name, and [model.Invalid] for one whose entry is bad.
func (s *Set) Lookup(operationType string) (Handler, error) {
	if h, ok := s.handlers[operationType]; ok {
		return h, nil
	}
	if issues := s.bad[operationType]; issues != nil {
		return Handler{}, &model.Error{Kind: model.Invalid, Detail: fmt.Sprintf("bad handler for operation type %q", operationType), Issues: issues}
	}
	return Handler{}, model.Errorf(model.NotFound, "no handler for operation type %q", operationType)
}

// Types returns the operation types that have a handler, in order.
func (s *Set) Types() []string { return slices.Sorted(maps.Keys(s.handlers)) }

// Issues returns what is wrong with the bad entries, in order of their names.
func (s *Set) Issues() []model.Issue {
	var all []model.Issue
	for _, name := range slices.Sorted(maps.Keys(s.bad)) {
		all = append(all, s.bad[name]...)
	}
	return all
}

// parser collects what is wrong, and where.
type parser struct {
	dir    string
	issues []model.Issue
}

func (p *parser) issue(path, format string, args ...any) {
	p.issues = append(p.issues, model.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (p *parser) decode(path string, raw json.RawMessage, want string, into any) bool {
	if bytes.Equal(raw, []byte("null")) || json.Unmarshal(raw, into) != nil {
		p.issue(path, "must be %s", want)
		return false
	}
	return true
}

// fields hands each member of an object to its reader, in order of names.
func (p *parser) fields(path string, raw json.RawMessage, readers map[string]func(path string, value json.RawMessage)) {
	var values map[string]json.RawMessage
	if p.decode(path, raw, "an object", &values) {
		p.members(path, values, readers)
	}
}

func (p *parser) members(path string, values map[string]json.RawMessage, readers map[string]func(path string, value json.RawMessage)) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		at := strings.TrimPrefix(path+"."+key, ".")
		if read := readers[key]; read != nil {
			read(at, values[key])
		} else {
			p.issue(at, "is unknown; known are %s", strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
		}
	}
}

func (p *parser) entry(path string, values map[string]json.RawMessage, h *Handler) {
	duration := func(d *time.Duration) func(string, json.RawMessage) {
		return func(path string, v json.RawMessage) {
			var text string
			if !p.decode(path, v, "a duration such as 90s or 5m", &text) {
				return
			}
			parsed, err := time.ParseDuration(text)
			if err != nil || parsed <= 0 {
				p.issue(path, "must be a duration above zero such as 90s or 5m, not %q", text)
			}
			*d = parsed
		}
	}
	p.members(path, values, map[string]func(string, json.RawMessage){
		"command": func(path string, v json.RawMessage) {
			if !p.decode(path, v, "a list: the program and its arguments", &h.Command) {
				return
			}
			if len(h.Command) == 0 || h.Command[0] == "" {
				p.issue(path, "must name a program")
			} else if strings.Contains(h.Command[0], "/") {
				h.Command[0] = p.resolve(h.Command[0])
			}
		},
		"env": func(path string, v json.RawMessage) {
			env := map[string]string{}
			if !p.decode(path, v, "an object of strings; quote numbers and words such as yes", &env) {
				return
			}
			for _, name := range slices.Sorted(maps.Keys(env)) {
				p.variable(path, name)
			}
			if h.Env == nil {
				h.Env = env
			} else {
				maps.Copy(h.Env, env)
			}
		},
		"passEnv": func(path string, v json.RawMessage) {
			var names []string
			if !p.decode(path, v, "a list of variable names", &names) {
				return
			}
			for i, name := range names {
				p.variable(fmt.Sprintf("%s[%d]", path, i), name)
			}
			h.PassEnv = append(h.PassEnv, names...)
		},
		"timeout": duration(&h.Timeout),
		"grace":   duration(&h.Grace),
		"limits": func(path string, v json.RawMessage) {
			p.fields(path, v, map[string]func(string, json.RawMessage){
				"memory":   p.size(&h.Limits.Memory),
				"cpu":      duration(&h.Limits.CPU),
				"fileSize": p.size(&h.Limits.FileSize),
				"openFiles": func(path string, v json.RawMessage) {
					if p.decode(path, v, "a number", &h.Limits.OpenFiles) && h.Limits.OpenFiles < minOpenFiles {
						p.issue(path, "must be at least %d: a shell that starts needs as many", minOpenFiles)
					}
				},
			})
		},
		"secrets": func(path string, v json.RawMessage) {
			var secrets map[string]json.RawMessage
			if !p.decode(path, v, "an object of names, each with where to read the secret", &secrets) {
				return
			}
			for _, name := range slices.Sorted(maps.Keys(secrets)) {
				p.secret(path, name, secrets[name], h)
			}
		},
		"workDir": func(path string, v json.RawMessage) {
			if p.decode(path, v, "a folder", &h.WorkDir) && h.WorkDir != "" {
				h.WorkDir = p.resolve(h.WorkDir)
			}
		},
	})
}

const minOpenFiles = 16

var sizeText = regexp.MustCompile(`^([1-9][0-9]{0,9}) ?([KMGT])iB$`)

// size reads a size such as 512MiB.
func (p *parser) size(into *int64) func(string, json.RawMessage) {
	return func(path string, v json.RawMessage) {
		var text string
		if !p.decode(path, v, "a size such as 512MiB or 2GiB", &text) {
			return
		}
		parts := sizeText.FindStringSubmatch(text)
		if parts == nil {
			p.issue(path, "must be a size such as 512MiB or 2GiB, not %q", text)
			return
		}
		n, _ := strconv.ParseInt(parts[1], 10, 64) // ten digits
		*into = n << (10 * (1 + strings.Index("KMGT", parts[2])))
	}
}

func (p *parser) secret(path, name string, raw json.RawMessage, h *Handler) {
	at := path + "." + name
	if !variableName.MatchString(name) {
		p.issue(path, "%q cannot name a secret; use letters, digits and underscores", name)
		return
	}
	var s Source
	before := len(p.issues)
	p.fields(at, raw, map[string]func(string, json.RawMessage){
		"file": func(path string, v json.RawMessage) {
			if p.decode(path, v, "a file", &s.File) && s.File != "" {
				s.File = p.resolve(s.File)
			}
		},
		"env": func(path string, v json.RawMessage) {
			if p.decode(path, v, "the name of a variable", &s.Env) && !variableName.MatchString(s.Env) {
				p.issue(path, "%q is not the name of a variable", s.Env)
			}
		},
	})
	if len(p.issues) == before && (s.File == "") == (s.Env == "") {
		p.issue(at, "must have either a file or an env")
	}
	if h.Secrets == nil {
		h.Secrets = map[string]Source{}
	}
	h.Secrets[name] = s
}

// Shells drop variables with other names.
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (p *parser) variable(path, name string) {
	switch {
	case !variableName.MatchString(name):
		p.issue(path, "%q is not the name of a variable", name)
	case strings.HasPrefix(name, "POP_"):
		p.issue(path, "%s: names that begin with POP_ are POP's own", name)
	}
}

func (p *parser) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.dir, path)
}
