package config

import (
	_ "embed"
	"fmt"
	"reflect"
	"strings"
)

//go:generate go test -run TestThePageIsCurrent -update .

//go:embed page.md.tmpl
var page string

// Docs returns the reference of all settings, in Markdown.
func Docs() string {
	var settings, plugin strings.Builder
	for _, k := range Keys() {
		value := "`" + k.Default + "`"
		if k.Default == "" {
			value = ""
		}
		fmt.Fprintf(&settings, "| `%s` | %s | `%s` | `--%s` | %s |\n", k.Path, value, k.Env, k.Flag, k.Doc)
	}
	for field := range reflect.TypeFor[Plugin]().Fields() {
		fmt.Fprintf(&plugin, "| `%s` | %s |\n", field.Tag.Get("json"), field.Tag.Get("doc"))
	}
	return strings.NewReplacer("{{settings}}\n", settings.String(), "{{plugin}}\n", plugin.String()).Replace(page)
}
