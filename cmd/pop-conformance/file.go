package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

// file is what the file of --config says.
type file struct {
	Config map[string]any    `json:"config,omitempty"`
	Files  map[string]string `json:"files,omitempty"`
	Store  struct {
		Volatile     bool                      `json:"volatile,omitempty"`
		Capabilities *driver.StoreCapabilities `json:"capabilities,omitempty"`
	} `json:"store,omitzero"`
	Queue struct {
		Capabilities *driver.QueueCapabilities `json:"capabilities,omitempty"`
	} `json:"queue,omitzero"`
	Authorizer struct {
		Capabilities *driver.AuthorizerCapabilities `json:"capabilities,omitempty"`
		Known        map[string]known               `json:"known,omitempty"`
		Refused      map[string]map[string]string   `json:"refused,omitempty"`
	} `json:"authorizer,omitzero"`
}

// known is a caller that an authorizer knows.
type known struct {
	Headers   map[string]string `json:"headers"`
	Principal struct {
		Subject   string        `json:"subject"`
		Customers []string      `json:"customers,omitempty"`
		Roles     []driver.Role `json:"roles,omitempty"`
		Global    bool          `json:"global,omitempty"`
		NotAfter  time.Time     `json:"notAfter,omitzero"`
	} `json:"principal"`
}

func readFile(path string) (f file, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	if err := yaml.UnmarshalStrict(text, &f); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// place is what is made for one test.
type place struct{ dir, unique string }

func (p place) expand(text string) string {
	return strings.NewReplacer("${dir}", p.dir, "${unique}", p.unique).Replace(text)
}

// configAt returns the configuration of a plugin for one test.
func (f file) configAt(p place) ([]byte, error) {
	return json.Marshal(p.expandAll(f.Config))
}

func (p place) expandAll(v any) any {
	switch v := v.(type) {
	case string:
		return p.expand(v)
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, value := range v {
			all[name] = p.expandAll(value)
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, value := range v {
			all[i] = p.expandAll(value)
		}
		return all
	}
	return v
}

func request(headers map[string]string) driver.AuthenticateRequest {
	req := driver.AuthenticateRequest{Header: map[string][]string{}}
	for name, value := range headers {
		req.Header[name] = []string{value}
	}
	return req
}

// callers returns the callers that the suite tries.
func (f file) callers() (callers map[string]drivertest.KnownCaller, refused map[string]driver.AuthenticateRequest) {
	callers, refused = map[string]drivertest.KnownCaller{}, map[string]driver.AuthenticateRequest{}
	for name, k := range f.Authorizer.Known {
		callers[name] = drivertest.KnownCaller{Request: request(k.Headers), Want: driver.Principal(k.Principal)}
	}
	for why, headers := range f.Authorizer.Refused {
		refused[why] = request(headers)
	}
	return callers, refused
}
