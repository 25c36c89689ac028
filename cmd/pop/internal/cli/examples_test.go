package cli

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandHasAnExampleThatIsUnderstood runs the examples with a context that has ended, so that nothing comes of them.
func TestEveryCommandHasAnExampleThatIsUnderstood(t *testing.T) {
	t.Chdir(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	try := func(args ...string) (int, string) {
		var out bytes.Buffer
		status := Run(ctx, args, Process{Stdin: strings.NewReader("{}"), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Version: "test"})
		return status, out.String()
	}
	tried := 0
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Example == "" {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for line := range strings.Lines(c.Example) {
			_, command, ok := strings.Cut(line, "pop ")
			if !ok {
				t.Errorf("%s: %q does not call pop", c.CommandPath(), line)
				continue
			}
			command, _, _ = strings.Cut(command, " | ")
			command, _, _ = strings.Cut(command, " 2>>")
			if status, said := try(words(command)...); status == exitUsage {
				t.Errorf("%s: %s\n%s", c.CommandPath(), line, said)
			}
			tried++
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{}).root())
	if tried < 35 {
		t.Errorf("only %d examples", tried)
	}
}

// words splits a command of an example; a quoted word may hold spaces.
func words(command string) (all []string) {
	for i, part := range strings.FieldsFunc(command, func(r rune) bool { return r == '\'' }) {
		if i%2 == 1 {
			all = append(all, part)
			continue
		}
		for j, part := range strings.Split(part, `"`) {
			if j%2 == 1 {
				all = append(all, part)
			} else {
				all = append(all, strings.Fields(part)...)
			}
		}
	}
	return all
}
