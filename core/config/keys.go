package config

import (
	"reflect"
	"strings"
)

// Key is a setting that has one value.
type Key struct {
	Path    string // in the file: "server.addr"
	Env     string
	Flag    string
	Default string
	Doc     string
}

// Keys returns all settings that have one value, in the order of the documentation.
func Keys() []Key {
	var keys []Key
	var c Config
	each(reflect.ValueOf(&c).Elem(), "", func(k Key, _ reflect.Value) { keys = append(keys, k) })
	return keys
}

// each calls f with every setting below a struct.
func each(v reflect.Value, path string, f func(Key, reflect.Value)) {
	for field, value := range v.Fields() {
		name := strings.TrimPrefix(path+"."+field.Tag.Get("json"), ".")
		switch value.Kind() {
		case reflect.Struct:
			each(value, name, f)
		case reflect.String:
			f(Key{name, field.Tag.Get("env"), field.Tag.Get("flag"), field.Tag.Get("default"), field.Tag.Get("doc")}, value)
		default: // things of which there may be many, which only the file has
		}
	}
}
