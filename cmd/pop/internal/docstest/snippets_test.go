package docstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/cmd/pop/internal/objects"
	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/config"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/pool/process"
	"github.com/pop-platform/pop/core/pool/registry"
	"github.com/pop-platform/pop/core/strict"
	"github.com/pop-platform/pop/providers/local"
	"github.com/pop-platform/pop/providers/oidc"
)

// TestSnippetsAreValid holds every block of JSON and YAML against what reads it in production.
func TestSnippetsAreValid(t *testing.T) {
	t.Parallel()
	for _, p := range pages(t) {
		for _, b := range p.blocksOf("json", "yaml") {
			for _, issue := range examine(t, b.text) {
				t.Errorf("%s:%d: %s", p.path, b.line, issue)
			}
		}
	}
}

// examine finds out what a snippet is by the fields that it has, and returns what is wrong with it.
func examine(t *testing.T, text string) (wrong []string) {
	t.Helper()
	note := func(issues []model.Issue) []string {
		for _, issue := range issues {
			wrong = append(wrong, issue.Path+": "+issue.Message)
		}
		return wrong
	}
	if strings.Contains(text, "\n---\n") || strings.HasPrefix(text, "kind:") {
		for _, d := range objects.DecodeManifest([]byte(text), nil) {
			note(d.Issues)
		}
		return wrong
	}
	var fields map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &fields); err != nil {
		return []string{err.Error()}
	}
	has := func(name string) bool { _, ok := fields[name]; return ok }
	switch {
	case has("operations"):
		var agenda model.Agenda
		if issues := strict.Unmarshal([]byte(text), &agenda); len(issues) > 0 {
			return note(issues)
		}
		return note(agenda.Validate())
	case has("handlers"):
		set, err := registry.Parse(t.TempDir(), []byte(text))
		if err != nil {
			return []string{err.Error()}
		}
		return note(set.Issues())
	case has("tokens"):
		file := filepath.Join(t.TempDir(), "tokens.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := local.NewAuthorizer(local.AuthorizerOptions{File: file}); err != nil {
			return []string{err.Error()}
		}
		return nil
	case has("issuers"):
		text, err := yaml.YAMLToJSON([]byte(text))
		if err == nil {
			_, err = oidc.Parse(text)
		}
		if err != nil {
			return []string{err.Error()}
		}
		return nil
	case has("Statement"): // a policy of AWS
		return nil
	case has("plugins") || has("drivers"):
		file := filepath.Join(t.TempDir(), "pop.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return note(config.Load(config.Input{
			File: file, Open: true, Linked: []string{"oidc"},
			Getenv: func(name string) string {
				if strings.HasPrefix(name, "POP_") {
					return ""
				}
				return "set"
			},
		}).Issues)
	case has("agendaTemplateId"):
		return note(strict.Unmarshal([]byte(text), &wire.Run{}))
	case has("href"): // any JSON is a result
		return nil
	case has("percent"):
		return note(strict.Unmarshal([]byte(text), &pool.Progress{}))
	case has("status") && has("title"):
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&wire.Problem{}); err != nil {
			return []string{err.Error()}
		}
		return nil
	}
	return []string{"what this is is not known here: teach examine, or write it as text"}
}

// TestTheSampleProblemIsWhatTheServerSays validates the agenda that is shown as refused, and compares.
func TestTheSampleProblemIsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	p := read(t, "docs/objects.md")
	checked := 0
	for i, b := range p.blocks {
		if b.info != "json refused" {
			continue
		}
		var agenda model.Agenda
		var problem wire.Problem
		if issues := strict.Unmarshal([]byte(b.text), &agenda); len(issues) > 0 {
			t.Fatalf("line %d: %v", b.line, issues)
		}
		if err := json.Unmarshal([]byte(p.blocks[i+1].text), &problem); err != nil {
			t.Fatalf("line %d: %v", p.blocks[i+1].line, err)
		}
		if diff := cmp.Diff(agenda.Validate(), problem.Err().Issues); diff != "" {
			t.Errorf("line %d: (-server +page)\n%s", b.line, diff)
		}
		if kind := problem.Err().Kind; kind != model.Invalid || problem.Status != wire.StatusOf(kind) {
			t.Errorf("line %d: the problem is %s with status %d", b.line, kind, problem.Status)
		}
		checked++
	}
	if checked == 0 {
		t.Error("there is no sample")
	}
}

// TestTheSampleHandlersWork runs the handlers that the page on execution shows, the way a puller runs them.
func TestTheSampleHandlersWork(t *testing.T) {
	t.Parallel()
	dir, p := t.TempDir(), read(t, "docs/execution.md")
	file := filepath.Join(dir, "in.mov")
	write := func(path, text string, mode os.FileMode) {
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(file, "four", 0o600)

	shell := p.blocksOf("sh handler")
	write(filepath.Join(dir, "measure.sh"), "#!/bin/sh\n"+shell[0].text, 0o700)
	write(filepath.Join(dir, "secret.sh"), "#!/bin/sh\n"+shell[1].text+"grep -q 'Bearer s3cret\"' \"$POP_WORK_DIR/curl.conf\"", 0o700)
	write(filepath.Join(dir, "token"), "s3cret\n", 0o600)

	source := filepath.Join(dir, "main.go")
	write(source, "package main\n\nimport (\n\"context\"\n\"errors\"\n\"io/fs\"\n\"os\"\n\n\"github.com/pop-platform/pop/core/pool/handler\"\n)\n\n"+p.blocksOf("go handler")[0].text, 0o600)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "measure"), source)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the handler in Go: %v\n%s", err, out)
	}

	handlers, err := registry.Parse(dir, []byte("handlers: {shell: {command: [./measure.sh]}, go: {command: [./measure]}}"))
	if err != nil {
		t.Fatal(err)
	}
	launcher, err := process.New(process.Config{Root: filepath.Join(dir, "work"), Handlers: handlers, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := launcher.Close(); err != nil {
			t.Error(err)
		}
	}()
	secret, err := registry.Parse(dir, []byte("handlers: {secret: {command: [./secret.sh], secrets: {API_TOKEN: {file: token}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	reading, err := process.New(process.Config{Root: filepath.Join(dir, "work2"), Handlers: secret, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	got, err := reading.Launch(t.Context(), &pool.Task{Agenda: &model.Agenda{}, Operation: model.Operation{Name: "secret", Type: "secret"}})
	if err := errors.Join(err, reading.Close()); err != nil || string(got) != `{"characters": 6}` {
		t.Errorf("the handler with a secret: %s, %v", got, err)
	}
	for _, operationType := range handlers.Types() {
		var said pool.Progress
		launch := func(file string) (json.RawMessage, error) {
			return launcher.Launch(t.Context(), &pool.Task{
				Agenda:     &model.Agenda{},
				Operation:  model.Operation{Name: "measure", Type: operationType, Payload: json.RawMessage(`{"file":` + strconv.Quote(file) + `}`)},
				OnProgress: func(p pool.Progress) { said = p },
			})
		}
		result, err := launch(file)
		if err != nil || !bytes.Equal(result, []byte(`{"bytes":4}`)) && !bytes.Equal(result, []byte(`{"bytes": 4}`)) {
			t.Errorf("%s: result %s, error %v", operationType, result, err)
		}
		if said.Percent == 0 || !strings.Contains(said.Message, file) {
			t.Errorf("%s: progress %+v", operationType, said)
		}
		_, err = launch(file + ".absent")
		failure, ok := errors.AsType[*pool.OperationError](err)
		if !ok || failure.StatusCode != model.StatusNonRetryable {
			t.Errorf("%s: without its file: %v", operationType, err)
		}
	}
}
