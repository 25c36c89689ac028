package host

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// newHCLog returns what go-plugin logs to. Its own lines are for whoever debugs this package. The loggers that it makes for the
// output of plugins are off, so that it does not parse that output itself: a line like {"@message": 1} makes its parser panic,
// and the host with it. Package output parses it.
func newHCLog(log *slog.Logger) hclog.Logger {
	return &hcLogger{Logger: off(), log: log}
}

func off() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Level: hclog.Off}) }

// hcLogger passes everything on to slog, as debug messages.
type hcLogger struct {
	hclog.Logger
	log *slog.Logger
}

func (l *hcLogger) Log(_ hclog.Level, msg string, args ...any) {
	attrs := make([]slog.Attr, 0, len(args)/2)
	for i := 0; i+1 < len(args); i += 2 {
		attrs = append(attrs, slog.Any(fmt.Sprint(args[i]), args[i+1]))
	}
	l.log.LogAttrs(context.Background(), slog.LevelDebug, "go-plugin: "+msg, attrs...)
}

func (l *hcLogger) Trace(string, ...any)           {}
func (l *hcLogger) Debug(msg string, args ...any)  { l.Log(hclog.Debug, msg, args...) }
func (l *hcLogger) Info(msg string, args ...any)   { l.Log(hclog.Info, msg, args...) }
func (l *hcLogger) Warn(msg string, args ...any)   { l.Log(hclog.Warn, msg, args...) }
func (l *hcLogger) Error(msg string, args ...any)  { l.Log(hclog.Error, msg, args...) }
func (l *hcLogger) Named(string) hclog.Logger      { return off() }
func (l *hcLogger) ResetNamed(string) hclog.Logger { return off() }
func (l *hcLogger) With(...any) hclog.Logger       { return l }

// levelOf returns the least important level that a logger takes.
func levelOf(ctx context.Context, log *slog.Logger) slog.Level {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(ctx, level) {
			return level
		}
	}
	return slog.LevelError
}
