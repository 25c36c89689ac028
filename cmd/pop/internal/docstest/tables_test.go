package docstest

import (
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool/process"
	"github.com/pop-platform/pop/core/pool/registry"
	"github.com/pop-platform/pop/core/workflow"
)

// TestEveryFieldIsDescribed holds the tables of fields against the types.
func TestEveryFieldIsDescribed(t *testing.T) {
	t.Parallel()
	p := read(t, "docs/objects.md")
	for _, test := range []struct {
		heading string
		of      any
	}{
		{"## Fields that every object has", model.Meta{}},
		{"## Customer", model.Customer{}},
		{"## ResourcePool", model.ResourcePool{}},
		{"## Insight", model.Insight{}},
		{"## AgendaTemplate", model.AgendaTemplate{}},
		{"## AgendaTemplate", wire.Run{}},
		{"## Agenda", model.Agenda{}},
		{"### Operation", model.Operation{}},
		{"## AgendaProgress", model.AgendaProgress{}},
		{"## AgendaProgress", model.DiagnosticEvent{}},
		{"## OperationProgress", model.OperationProgress{}},
	} {
		section := p.section(t, test.heading)
		for _, name := range names(reflect.TypeOf(test.of)) {
			if !strings.Contains(section, "`"+name+"`") && !strings.Contains(section, `"`+name+`"`) && name != "id" {
				t.Errorf("%s does not say what %s is", test.heading, name)
			}
		}
	}
}

// names returns the JSON names of a struct's fields, without those that every object has.
func names(of reflect.Type) []string {
	var found []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name != "":
			found = append(found, name)
		case field.Anonymous && field.Type != reflect.TypeFor[model.Meta]():
			found = append(found, names(field.Type)...)
		}
	}
	return found
}

// TestLimitsAreThoseOfTheCode fails when a constant changes, and names the row to change with it.
func TestLimitsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	rows := cells(read(t, "docs/objects.md").section(t, "## Limits"))
	for _, limit := range []struct {
		row, text string
		holds     bool
	}{
		{"body of a request", "8 MiB", wire.MaxBodyBytes == 8<<20},
		{"result of one operation", "1 MiB", process.DefaultMaxResult == 1<<20},
		{"the progress of an agenda with all results, and with what was generated", "32 MiB", engine.MaxProgressBytes == 32<<20},
		{"what references put into one payload", "64 MiB", workflow.MaxInserted == 64<<20},
		{"operations of an agenda", "10,000", model.MaxOperations == 10_000},
		{"attempts of an agenda", "20", model.MaxMaximumAttempts == 20},
		{"agendas in a batch, reports in a call, agendas in a pull", "100", wire.MaxBatch == 100 && engine.MaxBatch == 100},
		{"issues in a problem", "100", workflow.MaxIssues == 100},
		{"page of a list", "1,000", wire.MaxPage == 1000 && wire.DefaultPage == 100},
		{"long poll", "30 s", wire.MaxWaitMs == 30_000},
	} {
		row, ok := rows[limit.row]
		if !ok || row[1] != limit.text || !limit.holds {
			t.Errorf("%s: the page says %v, and the code something else than %s", limit.row, row, limit.text)
		}
	}
	if model.DefaultMaximumAttempts != 3 || model.DefaultQueueSize != 100 || model.DefaultWeight != 1 {
		t.Error("docs/objects.md: a default has changed")
	}
	if registry.DefaultTimeout.Hours() != 1 || registry.DefaultGrace.Seconds() != 10 || engine.DefaultLease.Seconds() != 15 {
		t.Error("docs/execution.md: a time has changed")
	}
}

// TestErrorKindsHaveTheirStatus holds the table of errors against what the API answers.
func TestErrorKindsHaveTheirStatus(t *testing.T) {
	t.Parallel()
	rows := cells(read(t, "docs/objects.md").section(t, "## Errors"))
	for _, kind := range []model.ErrorKind{
		model.Invalid, model.Malformed, model.Unauthenticated, model.Forbidden, model.NotFound, model.Conflict, model.Fenced, model.Stale,
		model.TooLarge, model.Unavailable, model.Internal,
	} {
		if row := rows["`"+string(kind)+"`"]; row == nil || row[1] != strconv.Itoa(wire.StatusOf(kind)) {
			t.Errorf("%s: the page says %v, the API answers %d", kind, row, wire.StatusOf(kind))
		}
	}
}

var flagName = regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z-]+)`)

// TestEveryFlagIsDescribed holds the tables of flags against the help of the commands.
func TestEveryFlagIsDescribed(t *testing.T) {
	t.Parallel()
	section := read(t, "docs/operation.md").section(t, "## Flags")
	for _, command := range []string{"dev", "serve", "pull"} {
		_, table, found := strings.Cut(section, "| `pop "+command+"` |")
		table, _, _ = strings.Cut(table, "\n\n")
		_, help := try(t, []string{command, "--help"})
		for _, m := range flagName.FindAllStringSubmatch(help, -1) {
			common := slices.Contains([]string{"--help", "--server", "--token", "--token-file", "--token-command", "--output"}, m[1])
			if !found || !common && !strings.Contains(table, "| `"+m[1]+"` |") {
				t.Errorf("%s of pop %s is not described", m[1], command)
			}
		}
		for _, m := range regexp.MustCompile("`(--[a-z-]+)` \\|").FindAllStringSubmatch(table, -1) {
			if !strings.Contains(help, m[1]+" ") {
				t.Errorf("pop %s has no %s", command, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`POP_[A-Z_]+`).FindAllString(table, -1) {
			if !strings.Contains(help, "[$"+m+"]") {
				t.Errorf("pop %s does not read %s", command, m)
			}
		}
	}
}
