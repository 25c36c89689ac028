package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// binary is the program under test, as its users get it.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "pop-test")
		if err == nil {
			defer func() { _ = os.RemoveAll(dir) }()
			binary = filepath.Join(dir, "pop")
			var out []byte
			if out, err = exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
				err = fmt.Errorf("build pop: %w: %s", err, out)
			}
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// patience is how long a test waits for what should happen soon, on a machine that is busy.
const patience = 60 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

// result is what a command did.
type result struct {
	stdout, stderr string
	status         int
}

// terminal runs commands as somebody would type them.
type terminal struct {
	t   *testing.T
	dir string
	env []string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	return &terminal{t: t, dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}}
}

func (x *terminal) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = x.dir, x.env
	return cmd
}

// run runs a command with standard input to its end.
func (x *terminal) run(stdin string, args ...string) result {
	x.t.Helper()
	cmd := x.command(x.t.Context(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		x.t.Fatalf("pop %s: %v", strings.Join(args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// do runs a command that must succeed, and returns what it printed.
func (x *terminal) do(args ...string) string {
	x.t.Helper()
	r := x.run("", args...)
	if r.status != 0 {
		x.t.Fatalf("pop %s: exit status %d\n%s%s", strings.Join(args, " "), r.status, r.stdout, r.stderr)
	}
	return r.stdout
}

// fail runs a command that must fail with a status, and returns what it printed to standard error.
func (x *terminal) fail(status int, args ...string) string {
	x.t.Helper()
	r := x.run("", args...)
	if r.status != status {
		x.t.Fatalf("pop %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), r.status, status, r.stdout, r.stderr)
	}
	return r.stderr
}

// write writes a file into the folder that commands run in.
func (x *terminal) write(name, text string) string {
	x.t.Helper()
	path := filepath.Join(x.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		x.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		x.t.Fatal(err)
	}
	return path
}

func (x *terminal) exists(name string) bool {
	_, err := os.Stat(filepath.Join(x.dir, name))
	return err == nil
}

// daemon is a running pop dev or pop serve.
type daemon struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	first string      // line that it printed
	said  *syncBuffer // what it printed after that
	log   *syncBuffer
	ended chan struct{} // closed when it has ended
}

// dev starts pop dev on a port of its own. Commands of the terminal talk to it from then on.
func (x *terminal) dev(args ...string) *daemon {
	x.t.Helper()
	d := &daemon{t: x.t, said: &syncBuffer{}, log: &syncBuffer{}, ended: make(chan struct{})}
	d.cmd = x.command(context.Background(), append([]string{"dev", "--addr", "127.0.0.1:0"}, args...)...)
	d.cmd.Stderr = d.log
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		x.t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		x.t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() {
		_ = d.cmd.Wait()
		x.t.Fatalf("pop dev ended at once: %s", d.log)
	}
	d.first = lines.Text()
	go func() {
		for lines.Scan() {
			_, _ = fmt.Fprintln(d.said, lines.Text())
		}
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	x.t.Cleanup(d.kill)
	_, rest, _ := strings.Cut(d.first, "http://")
	addr, _, _ := strings.Cut(rest, ",")
	d.url = "http://" + addr
	x.env = append(x.env, "POP_SERVER="+d.url)
	c := x.client()
	eventually(x.t, "pop dev is ready", func() bool { return c.Ready(x.t.Context()) == nil })
	return d
}

// kill ends the process as a power failure would.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.ended
}

// stop asks the process to end, and returns its exit status.
func (d *daemon) stop() int {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	d.wait()
	return d.cmd.ProcessState.ExitCode()
}

func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) wait() {
	d.t.Helper()
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.t.Fatalf("the process did not end: %s", d.log)
	}
}

// client returns a client of the server that the terminal talks to.
func (x *terminal) client() *client.Client {
	x.t.Helper()
	url, token := "", ""
	for _, v := range x.env {
		if value, ok := strings.CutPrefix(v, "POP_SERVER="); ok {
			url = value
		}
		if value, ok := strings.CutPrefix(v, "POP_TOKEN="); ok {
			token = value
		}
	}
	c, err := client.New(url, client.Options{Token: token})
	if err != nil {
		x.t.Fatal(err)
	}
	return c
}

// submit submits an agenda and returns its id.
func (x *terminal) submit(agenda string) string {
	x.t.Helper()
	r := x.run(agenda, "agenda", "submit", "-")
	if r.status != 0 {
		x.t.Fatalf("submit: %s", r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// await waits until an agenda is in a state.
func (x *terminal) await(id string, state model.State) model.AgendaProgress {
	x.t.Helper()
	c := x.client()
	var p model.AgendaProgress
	eventually(x.t, fmt.Sprintf("agenda %s is %s", id, state), func() bool {
		var err error
		p, _, err = c.Progress(x.t.Context(), id)
		return err == nil && p.State == state
	})
	return p
}

// shown returns what pop agenda get shows of an agenda.
func (x *terminal) shown(id string) wire.Submitted {
	x.t.Helper()
	var s wire.Submitted
	if err := json.Unmarshal([]byte(x.do("agenda", "get", id, "-o", "json")), &s); err != nil {
		x.t.Fatal(err)
	}
	return s
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}
