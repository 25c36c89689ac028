//go:build unix

package process

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	tailBytes = 64 << 10
	tailLines = 50
	// longLine is when a line is handed on in parts.
	longLine = 16 << 10
)

// output is the pipe that takes a handler's standard output and error. It hands on whole lines and keeps the last of them, in both
// cases without the secrets.
type output struct {
	read, write *os.File
	mask        *mask
	emit        func([]byte)

	done  chan struct{} // closed when there is no more to read; then what follows may be used
	data  []byte
	ended bool // rather than given up on
}

func newOutput(m *mask, emit func([]byte)) (*output, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return &output{read: read, write: write, mask: m, emit: emit, done: make(chan struct{})}, nil
}

// collect starts reading. It is called once the handler has its own copy of the writing end.
func (o *output) collect() {
	_ = o.write.Close() // what the handler writes does not go through this one
	go func() {
		defer close(o.done)
		buf := make([]byte, 8<<10)
		var line []byte // what is not handed on yet
		for {
			n, err := o.read.Read(buf)
			line = append(line, buf[:n]...)
			if whole := bytes.LastIndexByte(line, '\n') + 1; whole > 0 {
				o.take(o.mask.bytes(line[:whole]))
				line = append(line[:0], line[whole:]...)
			}
			if len(line) > longLine+o.mask.held() {
				line = o.mask.bytes(line)
				part := max(0, len(line)-o.mask.held())
				o.take(line[:part])
				line = append([]byte(nil), line[part:]...)
			}
			if err != nil {
				o.take(o.mask.bytes(line))
				o.ended = errors.Is(err, io.EOF)
				return
			}
		}
	}()
}

func (o *output) take(text []byte) {
	if len(text) == 0 {
		return
	}
	o.emit(text)
	o.data = append(o.data, text...)
	if len(o.data) > 2*tailBytes {
		o.data = append(o.data[:0], o.data[len(o.data)-tailBytes:]...)
	}
}

// ends waits for the end of the output and reports whether it came in time. It is called when the handler's group is gone.
func (o *output) ends() bool {
	_ = o.read.SetReadDeadline(time.Now().Add(linger)) // pipes support deadlines
	<-o.done
	return o.ended
}

func (o *output) close() {
	_ = o.write.Close() // only to release them
	_ = o.read.Close()
}

// tail returns the end of the output as text. It is called after ends.
func (o *output) tail() string {
	text := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(o.data), "\uFFFD"))
	text = strings.TrimRight(text, "\n")
	start := max(0, len(text)-tailBytes)
	for start < len(text) && !utf8.RuneStart(text[start]) {
		start++
	}
	text = text[start:]
	at := len(text)
	for range tailLines {
		if at = strings.LastIndexByte(text[:at], '\n'); at < 0 {
			return text
		}
	}
	return text[at+1:]
}
