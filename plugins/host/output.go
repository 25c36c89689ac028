package host

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

const (
	// maxLine is how much of a line is kept; the rest is dropped.
	maxLine = 64 << 10
	// maxSaid is how much is kept of what a plugin said last, for the error if it does not start.
	maxSaid = 2 << 10
	// maxTrace is how many lines are logged of one panic.
	maxTrace = 500
)

// output makes log messages of what a plugin writes. Nothing a plugin can write does more than that.
type output struct {
	log *slog.Logger

	mu    sync.Mutex
	said  []string // the last lines
	trace int      // lines left of a panic that is being written
}

func newOutput(log *slog.Logger) *output { return &output{log: log} }

// stderr returns a writer for what the process logs.
func (o *output) stderr() io.Writer { return &lines{each: o.logged} }

// stdout returns a writer for what was printed by mistake.
func (o *output) stdout() io.Writer {
	return &lines{each: func(line string) { o.log.Info("the plugin printed a line", "line", line) }}
}

// last returns what the plugin said last, in one line.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.said, " | ")
}

// logged logs a line: a message if it is one, else as it is.
func (o *output) logged(line string) {
	level, message, attrs, structured := parse(line)
	o.mu.Lock()
	text := line
	if structured {
		text = message
		for _, a := range attrs {
			text += " " + a.String()
		}
	}
	if text != "" {
		o.said = append(o.said, text)
		for total := o.size(); total > maxSaid && len(o.said) > 1; total = o.size() {
			o.said = o.said[1:]
		}
	}
	switch {
	case structured:
		o.trace = 0
	case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "):
		o.trace = maxTrace
	}
	traced := o.trace > 0
	if traced {
		o.trace--
	}
	o.mu.Unlock()
	switch {
	case structured:
		o.log.LogAttrs(context.Background(), level, message, attrs...)
	case traced:
		o.log.Error("the plugin is crashing", "line", line)
	case line != "":
		o.log.Warn("the plugin wrote a line that is no log message", "line", line)
	}
}

func (o *output) size() (n int) {
	for _, s := range o.said {
		n += len(s)
	}
	return n
}

// parse takes a line of JSON for a message, if it has one that is a text.
func parse(line string) (level slog.Level, message string, attrs []slog.Attr, ok bool) {
	if !strings.HasPrefix(line, "{") {
		return 0, "", nil, false
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		return 0, "", nil, false
	}
	if message, ok = fields["@message"].(string); !ok {
		return 0, "", nil, false
	}
	level = slog.LevelInfo
	if name, isText := fields["@level"].(string); isText {
		if name == "trace" {
			name = "debug"
		}
		_ = level.UnmarshalText([]byte(name)) // an unknown level counts as info
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !strings.HasPrefix(name, "@") {
			attrs = append(attrs, slog.Any(name, fields[name]))
		}
	}
	return level, message, attrs, true
}

// lines is a writer that calls each for every line, with its beginning if it is long.
type lines struct {
	each func(line string)

	mu   sync.Mutex
	rest []byte
}

// Write never fails: what writes here has nobody to tell.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, after, complete := bytes.Cut(p, []byte{'\n'})
		l.rest = append(l.rest, line[:min(len(line), maxLine-len(l.rest))]...)
		p = after
		if complete {
			l.each(strings.ToValidUTF8(strings.TrimSuffix(string(l.rest), "\r"), "\ufffd"))
			l.rest = l.rest[:0]
		}
	}
	return n, nil
}
