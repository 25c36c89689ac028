package apply

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pop-platform/pop/cmd/pop/internal/objects"
	"github.com/pop-platform/pop/core/model"
)

// Place is where an object stands.
type Place struct {
	File     string
	Document int
}

func (p Place) String() string { return fmt.Sprintf("%s, document %d", p.File, p.Document) }

// Problem is one thing that is wrong with a file.
type Problem struct {
	Place
	model.Issue
}

func (p Problem) String() string {
	if p.Path == "" {
		return fmt.Sprintf("%s: %s", p.Place, p.Message)
	}
	return fmt.Sprintf("%s: %s: %s", p.Place, p.Path, p.Message)
}

// Manifest is an object and where it stands.
type Manifest struct {
	objects.Object
	Place
}

func (m *Manifest) problem(path, format string, args ...any) Problem {
	return Problem{m.Place, model.Issue{Path: path, Message: fmt.Sprintf(format, args...)}}
}

// ReadStdin is the path that stands for standard input.
const ReadStdin = "-"

// Load reads the objects of a file, or of all .yaml, .yml and .json files of a folder and those below, in the order in which
// they can be applied. Hidden files and folders are left out. All problems of all files are returned.
func Load(path string, stdin io.Reader) ([]Manifest, []Problem, error) {
	files, err := list(path)
	if err != nil {
		return nil, nil, err
	}
	var manifests []Manifest
	var problems []Problem
	seen := map[string]Place{}
	for _, file := range files {
		data, err := read(file, stdin)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range objects.DecodeManifest(data, nil) {
			m := Manifest{d.Object, Place{file, d.Number}}
			for _, issue := range d.Issues {
				problems = append(problems, Problem{m.Place, issue})
			}
			if m.Kind == nil || m.ID == "" {
				continue
			}
			key := m.Kind.Name() + " " + m.ID
			if before, ok := seen[key]; ok {
				problems = append(problems, m.problem("id", "%s %q is described before, in %s", m.Kind.Name(), m.ID, before))
				continue
			}
			seen[key] = m.Place
			manifests = append(manifests, m)
		}
	}
	if len(manifests) == 0 && len(problems) == 0 {
		return nil, nil, fmt.Errorf("%s holds no objects; write some with kind, id and their fields", path)
	}
	rank := func(m Manifest) int { return slices.Index(objects.Kinds(), m.Kind) }
	slices.SortStableFunc(manifests, func(a, b Manifest) int { return rank(a) - rank(b) })
	return manifests, problems, nil
}

func list(path string) ([]string, error) {
	if path == ReadStdin {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file or folder %s", path)
	}
	if err != nil || !info.IsDir() {
		return []string{path}, err
	}
	var files []string
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case file != path && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return filepath.SkipDir
			}
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)):
			files = append(files, file)
		}
		return nil
	})
	return files, err
}

func read(file string, stdin io.Reader) ([]byte, error) {
	if file == ReadStdin {
		data, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return data, nil
	}
	return os.ReadFile(file)
}
