package node

import (
	"maps"
	"slices"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/oidc"
)

// linked are providers that plugins of the catalogue may be in place of a program.
var linked = map[string]driver.Provider{"oidc": oidc.Provider{Version: "1.0.0"}}

// Linked returns the names of providers that plugins of the catalogue may be in place of a program.
func Linked() []string { return slices.Sorted(maps.Keys(linked)) }
