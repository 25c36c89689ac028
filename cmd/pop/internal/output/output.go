package output

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"

	"sigs.k8s.io/yaml"
)

// Format is a form of output. It is a flag's value.
type Format string

// The formats.
const (
	Table Format = "table"
	JSON  Format = "json"
	YAML  Format = "yaml"
)

// Formats lists the formats.
func Formats() []string { return []string{string(Table), string(JSON), string(YAML)} }

// String returns the format's name.
func (f *Format) String() string { return string(*f) }

// Type returns what help calls the value.
func (f *Format) Type() string { return strings.Join(Formats(), "|") }

// Set takes the name of a format.
func (f *Format) Set(name string) error {
	if !slices.Contains(Formats(), name) {
		return fmt.Errorf("must be one of %s", strings.Join(Formats(), ", "))
	}
	*f = Format(name)
	return nil
}

// Rows is what people get to see of a value.
type Rows struct {
	Header []string
	Cells  [][]string
}

// Add appends a row.
func (r *Rows) Add(cells ...string) { r.Cells = append(r.Cells, cells) }

// Printer prints values in one format.
type Printer struct {
	W      io.Writer
	Format Format
}

// Print prints a value: its rows in a table, or all of it.
func (p Printer) Print(value any, rows Rows) error {
	if p.Format == Table {
		return p.Rows(rows)
	}
	return p.Value(value)
}

// Rows prints a table.
func (p Printer) Rows(rows Rows) error {
	var buf bytes.Buffer
	w := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	if rows.Header != nil {
		_, _ = fmt.Fprintln(w, strings.Join(rows.Header, "\t")) // a buffer takes all
	}
	for _, cells := range rows.Cells {
		clean := make([]string, len(cells))
		for i, cell := range cells {
			clean[i] = Clean(cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(clean, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for line := range bytes.Lines(buf.Bytes()) {
		if _, err := fmt.Fprintf(p.W, "%s\n", bytes.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// Value prints a value in full, as YAML or as JSON.
func (p Printer) Value(value any) error {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	data := unescapeHTML(buf.Bytes())
	if p.Format == YAML {
		var err error
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	_, err := p.W.Write(data)
	return err
}

// Event prints one value of a stream: a line of JSON, or a YAML document.
func (p Printer) Event(value any) error {
	if p.Format == YAML {
		if _, err := fmt.Fprintln(p.W, "---"); err != nil {
			return err
		}
		return p.Value(value)
	}
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err := p.W.Write(unescapeHTML(buf.Bytes()))
	return err
}

// Clean makes text fit for a terminal and for one line: what others have written may hold control characters.
func Clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, text))
}

// unescapeHTML undoes the escapes that Go's encoder gives to <, > and & and that raw messages keep: references are hard to
// read with them.
func unescapeHTML(data []byte) []byte {
	out := make([]byte, 0, len(data))
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' || i+1 == len(data) {
			out = append(out, data[i])
			continue
		}
		if i+6 <= len(data) {
			switch string(data[i : i+6]) {
			case `\u003c`:
				out, i = append(out, '<'), i+5
				continue
			case `\u003e`:
				out, i = append(out, '>'), i+5
				continue
			case `\u0026`:
				out, i = append(out, '&'), i+5
				continue
			}
		}
		out, i = append(out, data[i], data[i+1]), i+1
	}
	return out
}
