package docstest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/pop-platform/pop/cmd/pop/internal/cli"
)

// exitUsage is what pop exits with if it cannot understand a command line.
const exitUsage = 2

// try has pop understand a command line and then do nothing: its context has ended.
func try(t *testing.T, args []string) (status int, said string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	status = cli.Run(ctx, args, cli.Process{
		Stdin: strings.NewReader("{}"), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, Version: "docs",
	})
	return status, out.String()
}

var inlineCode = regexp.MustCompile("`([^`\n]+)`")

// TestCommandsAreUnderstood holds every command in a block of shell against the command line's flags and arguments, and those in
// running text against its commands and flags.
func TestCommandsAreUnderstood(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	documents := pages(t)
	t.Chdir(t.TempDir()) // nothing that a command names is there, and nothing it might leave behind is here
	tried := 0
	check := func(where, text string, whole bool) {
		for _, words := range commands(text) {
			switch filepath.Base(words[0]) {
			case "make":
				if len(words) > 1 && !strings.Contains(words[1], "=") && !bytes.Contains(makefile, []byte("\n"+words[1]+":")) {
					t.Errorf("%s: %s: there is no such target", where, strings.Join(words, " "))
				}
			case "pop":
				tried++
				status, said := try(t, words[1:])
				if status == exitUsage && (whole || strings.Contains(said, "unknown ")) {
					t.Errorf("%s: %s\n%s", where, strings.Join(words, " "), said)
				}
			}
		}
	}
	for _, p := range documents {
		for _, b := range p.blocksOf("sh") {
			check(p.path, b.text, true)
		}
		for _, m := range inlineCode.FindAllStringSubmatch(p.prose, -1) {
			check(p.path, m[1], false)
		}
	}
	if tried < 30 {
		t.Errorf("only %d commands found", tried)
	}
}

// commands returns the simple commands of a shell script, as words. It knows as much of the shell as the documentation uses.
func commands(script string) [][]string {
	var all [][]string
	var words []string
	var word strings.Builder
	in := false // a word
	endWord := func() {
		if in {
			words = append(words, word.String())
		}
		word.Reset()
		in = false
	}
	end := func() {
		endWord()
		for len(words) > 1 && strings.Contains(words[0], "=") { // variables before a command
			words = words[1:]
		}
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	var quote rune
	comment, escaped := false, false
	for _, r := range script {
		switch {
		case comment:
			if comment = r != '\n'; !comment {
				end()
			}
		case escaped:
			if escaped = false; r != '\n' {
				word.WriteRune(r)
				in = true
			}
		case r == '\\' && quote != '\'':
			escaped = true
		case quote == r:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == '#' && !in:
			comment = true
		case strings.ContainsRune("\n;|&(){}<>", r):
			end()
		case r == ' ' || r == '\t':
			endWord()
		default:
			word.WriteRune(r)
			in = true
		}
	}
	end()
	return all
}
