package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/pop-platform/pop"

func TestModuleKeepsTheRules(t *testing.T) {
	t.Parallel()
	graph := load(t)
	rules := append(siblings(graph), layers...)
	for _, message := range check(graph, rules) {
		t.Error(message)
	}
	for _, path := range undocumented(graph) {
		t.Errorf("%s has no package comment: add a doc.go that says what it is and what it must not import", path)
	}
	for _, message := range misnamed(graph, rules, planned) {
		t.Error(message)
	}
}

// load returns the import graph of the module: its packages and all that they need.
func load(t *testing.T) []pkg {
	t.Helper()
	watch(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps",
		"-json=ImportPath,Doc,GoFiles,Imports,TestImports,XTestImports,Module", module+"/...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var graph []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Doc                             string
			GoFiles, Imports, TestImports, XTestImports []string
			Module                                      *struct{ Main bool }
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		graph = append(graph, pkg{
			path:    relative(p.ImportPath)[0],
			own:     p.Module != nil && p.Module.Main,
			doc:     p.Doc,
			files:   p.GoFiles,
			imports: relative(p.Imports...),
			tests:   relative(append(p.TestImports, p.XTestImports...)...),
		})
	}
	if len(graph) == 0 {
		t.Fatal("go list found no packages")
	}
	return graph
}

// relative returns import paths with those of the module cut to what is below its root.
func relative(paths ...string) []string {
	short := make([]string, len(paths))
	for i, path := range paths {
		short[i] = strings.TrimPrefix(path, module+"/")
	}
	return short
}

// watch makes go test's cache notice when a Go file of the module changes: what go list reads, it doesn't see.
func watch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && strings.Trim(d.Name(), ".") != "":
			return fs.SkipDir
		case filepath.Ext(path) == ".go" || d.Name() == "go.mod":
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
