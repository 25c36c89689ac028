package config

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
)

// Local is the name of the drivers that are linked into the server.
const Local = "local"

// Config is the configuration of a server. Each field that is not a list of things has, next to its name in the file, a
// variable of the environment and a flag; "docs" of the command line prints them all.
type Config struct {
	Server  Server            `json:"server"`
	Drivers Drivers           `json:"drivers"`
	Plugins map[string]Plugin `json:"plugins"`
}

// Server says what the server keeps and where it listens.
type Server struct {
	Addr       string `json:"addr" env:"POP_ADDR" flag:"addr" default:"127.0.0.1:8080" doc:"address to listen on"`
	Data       string `json:"data" env:"POP_DATA" flag:"data" default:".pop" doc:"folder for all that is kept here"`
	Tokens     string `json:"tokens" env:"POP_TOKENS" flag:"tokens" doc:"file of tokens, for the authorizer local"`
	KeepLogs   string `json:"keepLogs" env:"POP_KEEP_LOGS" flag:"keep-logs" default:"168h" doc:"how long to keep what operations print"`
	Name       string `json:"name" env:"POP_NAME" flag:"name" doc:"the server's id among those that share its store; random if it is empty"`
	Advertise  string `json:"advertise" env:"POP_ADVERTISE" flag:"advertise" doc:"URL under which those reach it, such as http://10.0.0.7:8080"`
	OwnerLease string `json:"ownerLease" env:"POP_OWNER_LEASE" flag:"owner-lease" default:"15s" doc:"how long insights wait for another server when theirs has gone"`
	LogLevel   string `json:"logLevel" env:"POP_LOG_LEVEL" flag:"log-level" default:"info" doc:"least important messages to log: debug, info, warn or error"`
}

// Drivers says which drivers serve: those that are linked in, or those of a plugin by its name.
type Drivers struct {
	Store      string `json:"store" env:"POP_STORE" flag:"store" default:"local" doc:"driver that keeps the records: local, or a plugin"`
	Queue      string `json:"queue" env:"POP_QUEUE" flag:"queue" default:"local" doc:"driver that carries hints to pullers: local, or a plugin"`
	Authorizer string `json:"authorizer" env:"POP_AUTHORIZER" flag:"authorizer" default:"local" doc:"driver that says who calls: local, or a plugin"`
}

// Plugin is a program that serves drivers, or a provider that is linked in. It is an entry of the catalogue: only what [Drivers]
// name is started.
type Plugin struct {
	Path   string   `json:"path" doc:"the program, by its absolute path"`
	Linked string   `json:"linked" doc:"in place of a program, drivers that are linked into the server and need settings: oidc"`
	SHA256 string   `json:"sha256" doc:"checksum of the program, which is looked at before each start; without one the server warns"`
	Env    []string `json:"env" doc:"names of the only variables of the server's environment that the program gets"`
	Config Settings `json:"config" doc:"settings of the plugin itself, as its own documentation has them; a text ${NAME} stands for a variable of the server's environment"`
}

// Settings are what a plugin is configured with. They may hold secrets, so they are never shown.
type Settings json.RawMessage

const redacted = "[redacted]"

// String hides the settings.
func (Settings) String() string { return redacted }

// GoString hides the settings.
func (Settings) GoString() string { return redacted }

// LogValue hides the settings.
func (Settings) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON hides the settings.
func (Settings) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// UnmarshalJSON keeps the settings as they are.
func (s *Settings) UnmarshalJSON(text []byte) error {
	*s = append((*s)[:0], text...)
	return nil
}

// names returns the plugins of the catalogue.
func (c Config) names() []string { return slices.Sorted(maps.Keys(c.Plugins)) }
