// Package api is POP's REST API, /v1: routes, authentication and visibility, problems, paging, entity tags and the OpenAPI document
// that is generated from the types that the handlers take and return.
//
// It holds no state of agendas: the engine leads their lives and the catalog keeps the objects that configure the platform. It is
// the only package that knows Gin and Huma, and imports no driver.
package api

//go:generate go test -run TestDocumentIsCurrent -update .
