package output

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrintsInEachFormat(t *testing.T) {
	t.Parallel()
	value := map[string]any{"id": "a", "payload": json.RawMessage(`{"x": "@\u003cb.out\u003e \\u003c"}`)}
	rows := Rows{Header: []string{"ID", "TITLE"}, Cells: [][]string{{"a", ""}, {"longer", "t"}}}
	for _, c := range []struct {
		format Format
		want   string
	}{
		{Table, "ID      TITLE\na\nlonger  t\n"},
		{JSON, "{\n  \"id\": \"a\",\n  \"payload\": {\n    \"x\": \"@<b.out> \\\\u003c\"\n  }\n}\n"},
		{YAML, "id: a\npayload:\n  x: '@<b.out> \\u003c'\n"},
	} {
		t.Run(string(c.format), func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			if err := (Printer{&buf, c.format}).Print(value, rows); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, buf.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnEventIsOneLineOfJSON(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	p := Printer{&buf, JSON}
	for range 2 {
		if err := p.Event(map[string]any{"a": []int{1}}); err != nil {
			t.Fatal(err)
		}
	}
	if want := "{\"a\":[1]}\n{\"a\":[1]}\n"; buf.String() != want {
		t.Errorf("got %q, want %q", buf.String(), want)
	}
}

func TestTextOfOthersCannotSteerTheTerminal(t *testing.T) {
	t.Parallel()
	if got := Clean("a\x1b[2Jb\nc\u202ed\t"); got != "a[2Jb cd" {
		t.Errorf("got %q", got)
	}
	var buf bytes.Buffer
	if err := (Printer{&buf, Table}).Rows(Rows{Cells: [][]string{{"x\x1b]0;t\x07", "y"}}}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(buf.String(), "\x1b\x07") {
		t.Errorf("control characters got through: %q", buf.String())
	}
}

func TestAnUnknownFormatIsRefusedWithTheKnownOnes(t *testing.T) {
	t.Parallel()
	f := Table
	if err := f.Set("xml"); err == nil || !strings.Contains(err.Error(), "table, json, yaml") || f != Table {
		t.Errorf("got %v, format %q", err, f)
	}
}
