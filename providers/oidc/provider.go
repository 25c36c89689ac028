package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pop-platform/pop/plugins/driver"
)

// Provider is a [driver.Provider] of an [Authorizer]. Its configuration is a [Config].
type Provider struct{ Version string }

// Describe implements [driver.Provider].
func (p Provider) Describe() driver.Description {
	return driver.Description{Name: "oidc", Version: p.Version, Services: []driver.Service{driver.AuthorizerService}, Schema: bytes.Clone(schema())}
}

// Open implements [driver.Provider].
func (p Provider) Open(_ context.Context, req driver.OpenRequest) (driver.Drivers, error) {
	var open driver.Drivers
	for _, service := range req.Services {
		if service != driver.AuthorizerService {
			return open, driver.Errorf(driver.Unsupported, "oidc: open", "oidc serves an authorizer, and no %q", service)
		}
		cfg, err := Parse(req.Config)
		if err != nil {
			return open, &driver.Error{Code: driver.Invalid, Op: "oidc: open", Message: err.Error(), Err: err}
		}
		a, err := New(cfg, Options{Logger: req.Log})
		if err != nil {
			return open, err
		}
		open.Authorizer = a
	}
	return open, nil
}

// schema returns the JSON schema of a [Config]. What the types do not say, [Parse] checks.
var schema = sync.OnceValue(func() []byte {
	s, err := jsonschema.For[Config](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Claim](): {Types: []string{"string", "array"}, Items: &jsonschema.Schema{Type: "string"}},
	}})
	var text []byte
	if err == nil {
		text, err = json.Marshal(s)
	}
	if err != nil {
		panic(fmt.Sprintf("oidc: the configuration has no schema: %v", err)) //nolint:forbidigo // a mistake that the first test shows
	}
	return text
})
