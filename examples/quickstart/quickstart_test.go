package quickstart_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// patience is how long the test waits for one command, which may have to build the program.
const patience = 5 * time.Minute

var (
	fence = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	exits = regexp.MustCompile(`# exits with (\d+)$`)
)

// TestTheQuickstartWorksAsItIsWritten types the README's commands: the first block into one terminal, the rest into another.
func TestTheQuickstartWorksAsItIsWritten(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) < 2 {
		t.Fatalf("the README has %d blocks of commands", len(blocks))
	}
	addr := freeAddr(t)
	here := clone(t)
	env := append(os.Environ(), "POP_ADDR="+addr, "POP_SERVER=http://"+addr)

	server := newShell(t, here, env)
	server.send(blocks[0])
	c, err := client.New("http://"+addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "pop dev is ready", server, func() bool { return c.Ready(t.Context()) == nil })

	user := newShell(t, here, env)
	for _, block := range blocks[1:] {
		for line := range strings.Lines(block) {
			want := "0"
			if m := exits.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
				want = m[1]
			}
			if got := user.do(line); got != want {
				t.Fatalf("%s exits with %s, want %s\n%s\nserver:\n%s", line, got, want, user.output(), server.output())
			}
			if strings.Contains(line, ">>.pop/handlers.yaml") { // which takes people longer to go on after
				eventually(t, "the handlers are read again", server, func() bool { return strings.Contains(server.output(), "handler registry read again") })
			}
		}
	}
	check(t, c)
}

// check looks at what the README promises.
func check(t *testing.T, c *client.Client) {
	t.Helper()
	s, err := c.Link(t.Context(), "morning")
	if err != nil {
		t.Fatal(err)
	}
	if s.State != model.Complete || s.Outcome != model.Succeeded || len(s.Agendas) != 3 {
		t.Errorf("linkId morning: %s %s, %d agendas", s.State, s.Outcome, len(s.Agendas))
	}
	type operation struct {
		Attempts int
		Result   string
	}
	got := map[string]map[string]operation{}
	insights := map[string]string{}
	for p, err := range c.AllProgress(t.Context(), client.AgendaFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		operations, err := c.OperationProgresses(t.Context(), p.AgendaID)
		if err != nil {
			t.Fatal(err)
		}
		name := p.CustomerID + ": " + p.Title
		insights[name] = p.AgendaInsight.InsightID
		got[name] = map[string]operation{}
		for _, op := range operations {
			got[name][op.Operation] = operation{op.AttemptCount, string(op.ResultPayload)}
		}
	}
	want := map[string]map[string]operation{
		"acme: Report on a text": {
			"count": {1, `{"words":3}`}, "upper": {1, `{"text":"SO FEW WORDS"}`},
			"report": {1, `{"report":"SO FEW WORDS! (3 words)"}`}, "publish": {1, `{"published":true,"attempt":1}`},
		},
		"globex: Report on a text": {
			"count": {1, `{"words":4}`}, "upper": {1, `{"text":"THE QUICK BROWN FOX"}`},
			"report": {1, `{"report":"THE QUICK BROWN FOX! (4 words)"}`}, "publish": {1, `{"published":true,"attempt":1}`},
		},
		"acme: Report on a fox": {
			"count": {1, `{"words":5}`}, "upper": {1, `{"text":"THE QUICK BROWN FOX JUMPS"}`},
			"report": {1, `{"report":"THE QUICK BROWN FOX JUMPS! (5 words)"}`},
		},
		"globex: Published at the second attempt": {"count": {1, `{"words":4}`}, "publish": {2, `{"published":true,"attempt":2}`}},
		"globex: Hopeless":                        {"count": {1, `{"words":2}`}, "publish": {3, `{"published":true,"attempt":3}`}},
		"acme: Words one by one": {
			"split": {1, `{"words":4}`}, "publish": {2, `{"published":true,"attempt":2}`}, "alert": {}, "tidy": {1, `{"text":"TIDIED UP AFTER 2 ATTEMPTS"}`},
			"word-1": {1, `{"text":"TO"}`}, "word-2": {1, `{"text":"BE"}`}, "word-3": {1, `{"text":"OR"}`}, "word-4": {1, `{"text":"NOT"}`},
		},
		"acme: ": {"shout": {1, `{"text":"IT WORKS"}`}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if insights["globex: Hopeless"] != "urgent" || insights["globex: Published at the second attempt"] != "text" {
		t.Errorf("agendas were bound to other insights than the README says: %v", insights)
	}
}

// clone returns a folder that looks like the root of the repository, for commands to write into.
func clone(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, e := range entries {
		if name := e.Name(); name != "bin" && !strings.HasPrefix(name, ".") {
			if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, about *shell, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited %s in vain: %s\n%s", patience, what, about.output())
		}
	}
}

// shell is a shell that is typed into.
type shell struct {
	t        *testing.T
	stdin    io.WriteCloser
	statuses *bufio.Reader

	mu  sync.Mutex
	out bytes.Buffer
}

func newShell(t *testing.T, dir string, env []string) *shell {
	t.Helper()
	s := &shell{t: t}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.statuses = bufio.NewReader(read)
	cmd := exec.Command("/bin/sh")
	cmd.Dir, cmd.Env = dir, env
	cmd.Stdout, cmd.Stderr = s, s
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	t.Cleanup(func() {
		_ = s.stdin.Close()
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
		_ = cmd.Wait()
		_ = read.Close()
	})
	return s
}

// Write takes what the commands print.
func (s *shell) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(p)
}

func (s *shell) output() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.String()
}

func (s *shell) send(line string) {
	if _, err := io.WriteString(s.stdin, line); err != nil {
		s.t.Error(err)
	}
}

// do types a line and returns the exit status of the command.
func (s *shell) do(line string) string {
	s.t.Helper()
	_, _ = fmt.Fprintf(s, "$ %s", line)
	s.send(line + "echo $? >&3\n")
	status, err := s.statuses.ReadString('\n')
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", line, err, s.output())
	}
	return strings.TrimSpace(status)
}
