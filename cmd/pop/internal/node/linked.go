package node

import (
	"context"
	"maps"
	"slices"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/oidc"
)

// linked are providers that plugins of the catalogue may be in place of a program.
var linked = map[string]driver.Provider{"oidc": oidcProvider{}}

// Linked returns the names of providers that plugins of the catalogue may be in place of a program.
func Linked() []string { return slices.Sorted(maps.Keys(linked)) }

// oidcProvider is the authorizer of providers/oidc.
type oidcProvider struct{}

func (oidcProvider) Describe() driver.Description {
	return driver.Description{
		Name: "oidc", Version: "1.0.0", Services: []driver.Service{driver.AuthorizerService}, Schema: oidc.Schema(),
	}
}

func (oidcProvider) Open(_ context.Context, req driver.OpenRequest) (driver.Drivers, error) {
	cfg, err := oidc.Parse(req.Config)
	if err != nil {
		return driver.Drivers{}, err
	}
	a, err := oidc.New(cfg, oidc.Options{Logger: req.Log})
	if err != nil {
		return driver.Drivers{}, err
	}
	return driver.Drivers{Authorizer: a}, nil
}
