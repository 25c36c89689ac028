package api

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pop-platform/pop/core/api/wire"
)

// operation returns the declaration of an operation.
func operation(method, path, id, summary, tag string, acc access) huma.Operation {
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag},
		Metadata:     map[string]any{accessKey: acc},
		MaxBodyBytes: -1, BodyReadTimeout: -1, // guard sees to both
	}
	if acc.public {
		op.Security = []map[string][]string{{}}
	} else {
		op.Extensions = map[string]any{"x-role": string(acc.role)}
	}
	return op
}

// register makes the API serve an operation.
func register[I, O any](a *API, op huma.Operation, handler func(context.Context, *I) (*O, error)) {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[wire.Problem](), true, "")
	responses := map[string]*huma.Response{"default": {
		Description: "What went wrong.",
		Content:     map[string]*huma.MediaType{wire.ContentTypeProblem: {Schema: schema}},
	}}
	maps.Copy(responses, op.Responses)
	op.Responses = responses
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, a.refusal(ctx, err)
		}
		return out, nil
	})
}

// answer documents one more status that an operation answers with, next to its usual one.
func answer[T any](a *API, op *huma.Operation, status int) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	response := &huma.Response{Description: http.StatusText(status)}
	if t := reflect.TypeFor[T](); t != reflect.TypeFor[nothing]() {
		schema := a.huma.OpenAPI().Components.Schemas.Schema(t, true, "")
		response.Content = map[string]*huma.MediaType{"application/json": {Schema: schema}}
	}
	op.Responses[strconv.Itoa(status)] = response
}

// nothing is the body of an answer that has none.
type nothing struct{}
