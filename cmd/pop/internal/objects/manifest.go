package objects

import (
	"fmt"
	"strings"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/strict"
)

// Document is one document of a file.
type Document struct {
	Number int // from 1
	Object Object
	Issues []model.Issue // what is wrong with it; then Object is not to be used
}

// DecodeManifest reads the documents of a file. Each says its kind, unless a kind is given, which it then must not contradict.
// Empty documents are left out.
func DecodeManifest(data []byte, only Kind) []Document {
	var documents []Document
	for i, text := range split(string(data)) {
		d := Document{Number: i + 1}
		doc, err := strict.Parse([]byte(text))
		switch fields, ok := doc.(map[string]any); {
		case err != nil:
			d.Issues = []model.Issue{{Message: err.Error()}}
		case doc == nil:
			continue
		case !ok:
			d.Issues = []model.Issue{{Message: "must be an object, not " + strict.Describe(doc)}}
		default:
			d.Object, d.Issues = decodeObject(fields, only)
		}
		documents = append(documents, d)
	}
	return documents
}

func decodeObject(doc map[string]any, only Kind) (Object, []model.Issue) {
	name, given := doc["kind"]
	delete(doc, "kind")
	if !given && only != nil {
		return only.Decode(doc)
	}
	kinds := Kinds()
	if only != nil {
		kinds = []Kind{only}
	}
	var names []string
	for _, k := range kinds {
		if k.Name() == name {
			return k.Decode(doc)
		}
		names = append(names, k.Name())
	}
	message := fmt.Sprintf("is missing; it must be %s", strings.Join(names, ", "))
	if given {
		message = fmt.Sprintf("must be %s, not %s", strings.Join(names, ", "), strict.Describe(name))
	}
	return Object{}, []model.Issue{{Path: "kind", Message: message}}
}

// split takes a file apart at its document markers. Each document keeps its place in the file, so that line numbers in
// errors are those of the file.
func split(text string) []string {
	var documents []string
	var doc strings.Builder
	lines := 0
	for line := range strings.Lines(text) {
		marker := strings.TrimRight(line, " \t\r\n")
		if rest, ok := strings.CutPrefix(line, "---"); ok && (marker == "---" || rest[0] == ' ' || rest[0] == '\t') {
			if strings.TrimSpace(doc.String()) != "" {
				documents = append(documents, doc.String())
			}
			doc.Reset()
			doc.WriteString(strings.Repeat("\n", lines))
			line = rest
		}
		doc.WriteString(line)
		lines++
	}
	return append(documents, doc.String())
}
