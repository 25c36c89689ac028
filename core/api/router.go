package api

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"
)

// router registers Huma's operations with Gin. Unlike Huma's own adapter it guards them, takes ids with any characters, and knows
// paths that end in a verb, such as /v1/agendas/{id}:cancel.
type router struct {
	api   *API
	verbs map[string]verbs
}

// verbs are the handlers behind one Gin route that ends in an id and a verb: Gin sees both as one parameter.
type verbs map[string]gin.HandlerFunc

var _ huma.Adapter = (*router)(nil)

// ServeHTTP serves a request.
func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.api.ServeHTTP(w, req) }

// Handle registers an operation.
func (r *router) Handle(op *huma.Operation, handler func(huma.Context)) {
	acc := accessOf(op)
	serve := r.api.guard(acc, func(ctx context.Context, c *gin.Context, body []byte) {
		if r.api.passOn(ctx, c, acc.asks, body) {
			return
		}
		handler(&requestContext{humaContext: humagin.NewContext(op, c), ctx: ctx, body: body})
	})
	path, verb := ginPath(op.Path)
	if verb == "" {
		r.api.gin.Handle(op.Method, path, serve)
		if op.Method == http.MethodGet { // net/http leaves out the body
			r.api.gin.Handle(http.MethodHead, path, serve)
		}
		return
	}
	key := op.Method + path
	if r.verbs[key] == nil {
		known := verbs{}
		r.verbs[key] = known
		unknown := r.api.guard(access{public: true}, r.api.noRoute)
		r.api.gin.Handle(op.Method, path, func(c *gin.Context) {
			last := &c.Params[len(c.Params)-1]
			i := strings.LastIndexByte(last.Value, ':')
			if i < 0 || known[last.Value[i+1:]] == nil {
				unknown(c)
				return
			}
			serve := known[last.Value[i+1:]]
			last.Value = last.Value[:i]
			serve(c)
		})
	}
	r.verbs[key][verb] = serve
}

// ginPath returns a path as Gin writes it, and the verb behind its last parameter.
func ginPath(path string) (route, verb string) {
	if i := strings.LastIndex(path, "}:"); i >= 0 {
		path, verb = path[:i+1], path[i+2:]
	}
	path = strings.ReplaceAll(path, ":", `\:`)
	return strings.NewReplacer("{", ":", "}", "").Replace(path), verb
}

// requestContext is what a Huma handler sees of a request.
type requestContext struct {
	humaContext
	ctx  context.Context
	body []byte
}

// humaContext has a name of its own, for huma.Context has a method called Context.
type humaContext huma.Context

func (c *requestContext) Context() context.Context { return c.ctx }

func (c *requestContext) BodyReader() io.Reader { return bytes.NewReader(c.body) }

// unescape turns the path parameters, which were cut out of the escaped path, into what they stand for. net/http has refused
// paths that are not well-formed.
func unescape(params gin.Params) {
	for i := range params {
		if v, err := url.PathUnescape(params[i].Value); err == nil {
			params[i].Value = v
		}
	}
}
