package host

import (
	"encoding/json"
	"fmt"
	"net"

	"github.com/hashicorp/go-plugin"

	"github.com/pop-platform/pop/plugins/internal/wire"
)

// ReattachEnv is the environment variable that holds what [ParseReattach] reads. A plugin that is started with --debug prints
// it.
const ReattachEnv = wire.ReattachEnv

// Reattach says where a plugin is that was started by hand, as in a debugger.
type Reattach = wire.Reattach

// ParseReattach returns plugins that are running already by their names in the catalogue; none for an empty text.
func ParseReattach(text string) (map[string]Reattach, error) {
	if text == "" {
		return nil, nil
	}
	var found map[string]Reattach
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return nil, fmt.Errorf(`%s must be like {"NAME": {"address": "/tmp/plugin123", "pid": 123}}, as a plugin prints that is started with --debug: %w`, ReattachEnv, err)
	}
	return found, nil
}

func reattachConfig(r Reattach) *plugin.ReattachConfig {
	return &plugin.ReattachConfig{
		Protocol: plugin.ProtocolGRPC, ProtocolVersion: wire.Protocol, Pid: r.PID, Test: true,
		Addr: &net.UnixAddr{Name: r.Address, Net: "unix"},
	}
}
