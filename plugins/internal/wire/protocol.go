package wire

import (
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// Protocol is the version of the protocol: the digit of package pluginv1, and the number that go-plugin negotiates.
const Protocol = 1

// The cookie tells a plugin that it was started by a host and not by a person. It is no secret.
const (
	CookieKey   = "POP_PLUGIN"
	CookieValue = "priority-operation-processing"
)

// PluginName is what go-plugin calls the one thing that a process serves.
const PluginName = "drivers"

// ReattachEnv is the environment variable that makes a host use plugins that are already running: a JSON object of
// [Reattach] by the plugin's name.
const ReattachEnv = "POP_REATTACH_PLUGINS"

// Reattach says where a plugin is that is already running.
type Reattach struct {
	Address string `json:"address"` // of a Unix socket
	PID     int    `json:"pid"`
}

// Limits of messages. gRPC's own is 4 MiB, and only for what it receives.
const (
	// MaxMessage is the largest message that either side takes. It bounds a group of a Write, and protects each side from
	// the memory that the other asks for.
	MaxMessage = 64 << 20
	// PartBytes is about how large the messages are into which a large batch is split.
	PartBytes = 4 << 20
	// Headroom is what a message may have besides the part of it that MaxMessage bounds.
	Headroom = 1 << 20
	// SocketBuffer is how much is read from and written to a socket at once.
	SocketBuffer = 128 << 10
	// MaxConfig is the largest configuration.
	MaxConfig = 1 << 20
)

var services = []struct {
	driver driver.Service
	proto  pluginv1.Service
}{
	{driver.StoreService, pluginv1.Service_SERVICE_STORE},
	{driver.QueueService, pluginv1.Service_SERVICE_QUEUE},
	{driver.AuthorizerService, pluginv1.Service_SERVICE_AUTHORIZER},
}

// ServiceToProto returns the message of a service.
func ServiceToProto(s driver.Service) pluginv1.Service {
	for _, pair := range services {
		if pair.driver == s {
			return pair.proto
		}
	}
	return pluginv1.Service_SERVICE_UNSPECIFIED
}

// ServiceFromProto returns the service of a message; "" for one that this program does not know.
func ServiceFromProto(s pluginv1.Service) driver.Service {
	for _, pair := range services {
		if pair.proto == s {
			return pair.driver
		}
	}
	return ""
}

// each turns all of a slice; nil for none.
func each[A, B any](in []A, turn func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = turn(v)
	}
	return out
}

// ServicesToProto returns the messages of services.
func ServicesToProto(s []driver.Service) []pluginv1.Service { return each(s, ServiceToProto) }

// ServicesFromProto returns the services of messages.
func ServicesFromProto(s []pluginv1.Service) []driver.Service { return each(s, ServiceFromProto) }

// DescriptionToProto returns the message of a description.
func DescriptionToProto(d driver.Description) *pluginv1.DescribeResponse {
	return &pluginv1.DescribeResponse{
		Name: text(d.Name), Version: text(d.Version), Protocol: Protocol, Services: ServicesToProto(d.Services), ConfigSchema: d.Schema,
	}
}

// DescriptionFromProto returns the description of a message.
func DescriptionFromProto(m *pluginv1.DescribeResponse) driver.Description {
	return driver.Description{
		Name: m.GetName(), Version: m.GetVersion(), Services: ServicesFromProto(m.GetServices()), Schema: m.GetConfigSchema(),
	}
}
