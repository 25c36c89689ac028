package host_test

import (
	"errors"
	"testing"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

func TestAPluginIsDescribedWithoutBeingConfigured(t *testing.T) {
	t.Parallel()
	e := entry(t)
	e.Config = []byte(`{"no": "such setting"}`)
	d, err := host.Describe(t.Context(), e, options("serve"))
	if err != nil || d.Name != "memory" || d.Version != "1.2.3" || len(d.Services) != 3 {
		t.Fatalf("%+v, %v", d, err)
	}
	var wrong *host.ConfigError
	if err := host.CheckConfig(e, d); !errors.As(err, &wrong) || len(wrong.Problems) != 1 || wrong.Problems[0].Path != "no" {
		t.Errorf("the configuration: %v", err)
	}
	e.Services = []driver.Service{"oracle"}
	if _, err := host.Describe(t.Context(), e, options("serve")); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("a service that it has not: %v", err)
	}
}
