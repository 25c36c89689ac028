package sdk

import (
	"io"
	"log/slog"
	"strings"
)

// timeLayout is that of go-plugin's log entries.
const timeLayout = "2006-01-02T15:04:05.000000Z07:00"

// newLogger returns a logger whose lines the host understands: JSON with the names that go-plugin gives to time, level and
// message.
func newLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return a
		}
		switch a.Key {
		case slog.TimeKey:
			return slog.String("@timestamp", a.Value.Time().Format(timeLayout))
		case slog.LevelKey:
			return slog.String("@level", strings.ToLower(a.Value.String()))
		case slog.MessageKey:
			return slog.String("@message", a.Value.String())
		}
		return a
	}}))
}
