package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/pop-platform/pop/cmd/pop/internal/objects"
	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/model"
)

// HandlersFile returns where in a data folder the handlers are named, unless another file is.
func HandlersFile(data string) string { return filepath.Join(data, "handlers.yaml") }

// AddSamples stores the sample objects in a folder of a file system. Objects that are there stay as they are.
func AddSamples(ctx context.Context, c *catalog.Catalog, samples fs.FS) error {
	found := map[objects.Kind][]any{}
	files, err := fs.Glob(samples, "objects/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := fs.ReadFile(samples, file)
		if err != nil {
			return err
		}
		for _, d := range objects.DecodeManifest(data, nil) {
			if len(d.Issues) > 0 {
				return &model.Error{Kind: model.Invalid, Detail: fmt.Sprintf("sample %s, document %d", file, d.Number), Issues: d.Issues}
			}
			found[d.Object.Kind] = append(found[d.Object.Kind], d.Object.Value)
		}
	}
	for _, kind := range objects.Kinds() {
		for _, value := range found[kind] {
			if err := create(ctx, c, value); err != nil && model.KindOf(err) != model.Conflict {
				return fmt.Errorf("add sample %s: %w", kind.Noun(), err)
			}
		}
	}
	return nil
}

func create(ctx context.Context, c *catalog.Catalog, value any) (err error) {
	switch v := value.(type) {
	case model.ResourcePool:
		_, err = c.ResourcePools.Create(ctx, v)
	case model.Insight:
		_, err = c.Insights.Create(ctx, v)
	case model.Customer:
		_, err = c.Customers.Create(ctx, v)
	case model.AgendaTemplate:
		_, err = c.AgendaTemplates.Create(ctx, v)
	default:
		err = fmt.Errorf("unknown object %T", value)
	}
	return err
}

const noHandlers = `# Which program performs which type of operation, for example:
#
#   handlers:
#     text.count: {command: [handlers/count.sh]}
#
# The file is read again when it changes.
handlers: {}
`

// WriteHandlers writes the sample handlers into a data folder, or, without samples, a file that names none. If there is a file
// that names handlers already, nothing is written: it is the user's.
func WriteHandlers(data string, samples fs.FS) error {
	file := HandlersFile(data)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	text := []byte(noHandlers)
	if samples != nil {
		scripts, err := fs.Glob(samples, "handlers/*")
		if err != nil {
			return err
		}
		for _, name := range scripts {
			script, err := fs.ReadFile(samples, name)
			if err != nil {
				return err
			}
			if err := writeScript(filepath.Join(data, path.Dir(name)), path.Base(name), script); err != nil {
				return err
			}
		}
		if text, err = fs.ReadFile(samples, filepath.Base(file)); err != nil {
			return err
		}
	}
	// Written last and in one step: a start that was interrupted is made up for by the next.
	if err := os.WriteFile(file+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

func writeScript(dir, name string, script []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), script, 0o700) //nolint:gosec // it is to be run
}
