package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// jsonFormat reads and writes JSON for Huma.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	},
	Unmarshal: func(data []byte, v any) error { return located(data, json.Unmarshal(data, v)) },
}

// located says in which line a document stops being JSON, and which field a value does not fit.
func located(data []byte, err error) error {
	offset := int64(len(data))
	var syntax *json.SyntaxError
	var misfit *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &misfit): // the schema has the types checked before, but not how large numbers are
		return errors.New(strings.TrimPrefix(misfit.Field+": ", ": ") + doesNotFit(misfit))
	case errors.As(err, &syntax):
		offset = min(syntax.Offset, offset)
	case !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	before := data[:offset]
	line := 1 + bytes.Count(before, []byte{'\n'})
	column := len(before) - 1 - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("the body is not JSON: %w, at line %d, column %d (byte %d)", err, line, max(column, 1), offset)
}

// A decoder reads the bodies of requests that come so often that Huma's way, into maps, against the schema and then into the type,
// costs too much. It reads them into the type at once; only a body that does not fit is looked at again the slow way, to say what
// is wrong with it. The limits that the schema sets beyond types are left to the engine.
type decoder[T any] struct {
	registry huma.Registry
	schema   *huma.Schema
}

// hot makes an operation take hot bodies of a type, which the document shows like any other.
func hot[T any](a *API, op huma.Operation) (huma.Operation, decoder[T]) {
	registry := a.huma.OpenAPI().Components.Schemas
	schema := registry.Schema(reflect.TypeFor[T](), true, "")
	op.SkipValidateBody = true
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	return op, decoder[T]{registry, schema}
}

// document shows the body of a hot operation: Huma takes raw bodies for binary data.
func (d decoder[T]) document(a *API, op huma.Operation) {
	a.huma.OpenAPI().Paths[op.Path].Post.RequestBody.Content["application/json"].Schema = d.schema
}

func (d decoder[T]) decode(data []byte) (T, error) {
	var v T
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(&v)
	if err == nil {
		if _, extra := dec.Token(); errors.Is(extra, io.EOF) {
			return v, nil
		}
	}
	return v, d.explain(data, err)
}

// explain says what is wrong with a body that could not be decoded.
func (d decoder[T]) explain(data []byte, err error) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return model.Errorf(model.Malformed, "the body is missing; send JSON")
	}
	var parsed any
	var misfit *json.UnmarshalTypeError
	if anyErr := json.Unmarshal(data, &parsed); anyErr != nil && !errors.As(anyErr, &misfit) {
		return model.Errorf(model.Malformed, "%v", located(data, anyErr))
	}
	var result huma.ValidateResult
	path := huma.NewPathBuffer([]byte("body"), len("body"))
	huma.Validate(d.registry, d.schema, path, huma.ModeWriteToServer, parsed, &result)
	if len(result.Errors) == 0 || misfit != nil { // the decoder is stricter than the schema
		issue := model.Issue{Message: err.Error()}
		if errors.As(err, &misfit) {
			issue = model.Issue{Path: misfit.Field, Message: doesNotFit(misfit)}
		}
		return &model.Error{Kind: model.Invalid, Detail: "the request is not valid", Issues: []model.Issue{issue}}
	}
	p, _ := newProblem(nil, http.StatusUnprocessableEntity, "", result.Errors...).(*wire.Problem)
	return p
}

func doesNotFit(e *json.UnmarshalTypeError) string {
	return fmt.Sprintf("the %s does not fit", e.Value)
}
