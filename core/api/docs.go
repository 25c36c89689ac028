package api

import (
	"bytes"
	"context"
	_ "embed" // the page's template
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
)

//go:embed docs.html
var docsTemplate string

// addDocs serves the OpenAPI document and a page that shows it. The page is made here, once, and loads nothing: Huma's own pages
// load theirs from a content delivery network, which a server in a closed network cannot reach.
func (a *API) addDocs() {
	document := sync.OnceValues(a.huma.OpenAPI().MarshalJSON)
	yaml := sync.OnceValues(a.huma.OpenAPI().YAML)
	page := sync.OnceValues(func() ([]byte, error) { return docsPage(a.huma.OpenAPI()) })
	a.serveDocument("/v1/openapi.json", "application/openapi+json", document)
	a.serveDocument("/v1/openapi.yaml", "application/openapi+yaml", yaml)
	a.serveDocument("/v1/docs", "text/html; charset=utf-8", page)
}

// Document returns the OpenAPI document as YAML.
func (a *API) Document() ([]byte, error) { return a.huma.OpenAPI().YAML() }

func (a *API) serveDocument(path, contentType string, content func() ([]byte, error)) {
	a.gin.GET(path, a.guard(access{public: true}, func(ctx context.Context, c *gin.Context, _ []byte) {
		data, err := content()
		if err != nil {
			a.fail(ctx, c, err)
			return
		}
		c.Header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		c.Data(http.StatusOK, contentType, data)
	}))
}

// docGroup, docOperation and the following are what the page's template sees of the document.
type docGroup struct {
	Name       string
	Operations []docOperation
}

type docOperation struct {
	*huma.Operation
	Method, Path, Role string
	Request            *huma.Schema
	Answers            []docAnswer
}

type docAnswer struct {
	Status, Description string
	Schema              *huma.Schema
}

type docSchema struct {
	Name string
	*huma.Schema
	Fields []docField
}

type docField struct {
	Name     string
	Required bool
	*huma.Schema
}

// docsPage renders a document as a page of HTML.
func docsPage(doc *huma.OpenAPI) ([]byte, error) {
	page := template.New("docs").Funcs(template.FuncMap{"type": typeText})
	if _, err := page.Parse(docsTemplate); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err := page.Execute(&out, map[string]any{"Info": doc.Info, "Groups": docGroups(doc), "Schemas": docSchemas(doc)})
	return out.Bytes(), err
}

func docGroups(doc *huma.OpenAPI) []docGroup {
	var groups []docGroup
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Post, item.Get, item.Put, item.Delete} {
			if op == nil {
				continue
			}
			shown := docOperation{Operation: op, Method: op.Method, Path: path, Role: string(accessOf(op).role)}
			if op.RequestBody != nil {
				shown.Request = schemaOf(op.RequestBody.Content)
			}
			for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
				response := op.Responses[status]
				shown.Answers = append(shown.Answers, docAnswer{status, response.Description, schemaOf(response.Content)})
			}
			i := slices.IndexFunc(groups, func(g docGroup) bool { return g.Name == op.Tags[0] })
			if i < 0 {
				i = len(groups)
				groups = append(groups, docGroup{Name: op.Tags[0]})
			}
			groups[i].Operations = append(groups[i].Operations, shown)
		}
	}
	return groups
}

func schemaOf(content map[string]*huma.MediaType) *huma.Schema {
	for _, media := range content {
		return media.Schema // there is one at most
	}
	return nil
}

func docSchemas(doc *huma.OpenAPI) []docSchema {
	all := doc.Components.Schemas.Map()
	var schemas []docSchema
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := docSchema{Name: name, Schema: all[name]}
		for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
			s.Fields = append(s.Fields, docField{field, slices.Contains(s.Required, field), s.Properties[field]})
		}
		schemas = append(schemas, s)
	}
	return schemas
}

// typeText returns the type of a schema, linked to its description if it is an object of ours.
func typeText(s *huma.Schema) template.HTML {
	switch {
	case s == nil:
		return "nothing"
	case s.Ref != "":
		name := template.HTMLEscapeString(s.Ref[strings.LastIndexByte(s.Ref, '/')+1:])
		return template.HTML(`<a href="#schema-` + name + `">` + name + `</a>`) // #nosec G203 -- escaped
	case s.Type == huma.TypeArray:
		return "list of " + typeText(s.Items)
	case s.Type == "":
		return "any JSON"
	}
	text := s.Type
	if s.Format == "date-time" {
		text = "time"
	}
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i], _ = v.(string)
		}
		text += ": " + strings.Join(values, ", ")
	}
	if s.MaxLength != nil {
		text += ", at most " + strconv.Itoa(*s.MaxLength) + " characters"
	}
	return template.HTML(template.HTMLEscapeString(text)) // #nosec G203 -- escaped
}
