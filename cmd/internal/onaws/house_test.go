package onaws

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/cmd/internal/addrtest"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

const (
	adminToken = "token-of-the-test"

	// ownerLease is shorter than servers have it, as each takeover takes about as long. Half of it and less is left to a server to renew it
	// in, on a machine that may be busy.
	ownerLease = 6 * time.Second

	settings = `
server: {ownerLease: %s}
drivers: {store: aws, queue: aws}
plugins:
  aws:
    path: %q
    env: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]
    config: {region: us-east-1, endpoint: %q}
`
)

// programs builds pop and its plugin, once for all tests, and returns the folder that they are in.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pop-onaws-")
	if err != nil {
		return "", err
	}
	const root = "github.com/pop-platform/pop/cmd/"
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-o", dir, root+"pop", root+"pop-plugin-aws").CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build: %w\n%s", err, out)
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, _ := programs(); dir != "" {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// house is where servers and pullers run.
type house struct {
	*testing.T
	dir   string // of the settings, and of what servers and pullers leave
	bin   string // of the programs
	addrs [2]string
	deny  atomic.Bool // everything, at AWS

	mu       sync.Mutex
	accepted map[string]bool
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, dir: t.TempDir(), accepted: map[string]bool{}}
	var err error
	h.bin, err = programs()
	h.must(err)
	for i := range h.addrs {
		h.addrs[i] = addrtest.Free(t)
	}
	endpoint := awstest.New(awstest.Options{IndexLag: 50 * time.Millisecond, Allow: h.policy()}).Start(t)
	h.write("pop.yaml", fmt.Sprintf(settings, ownerLease, filepath.Join(h.bin, "pop-plugin-aws"), endpoint))
	h.write("tokens.yaml", fmt.Sprintf("tokens:\n- {token: \"sha256:%x\", subject: admin, global: true, roles: [read, submit, operate, pull]}\n", sha256.Sum256([]byte(adminToken))))
	return h
}

// policy returns what the policy allows that the plugin prints for the role of a server.
func (h *house) policy() func(awstest.Access) bool {
	h.Helper()
	cmd := exec.CommandContext(h.Context(), filepath.Join(h.bin, "pop-plugin-aws"), "policy", "--account", awstest.Account, "--region", "us-east-1")
	document, err := cmd.Output()
	h.must(err)
	grants, err := awstest.Grants(string(document))
	h.must(err)
	return func(a awstest.Access) bool {
		return !h.deny.Load() && slices.ContainsFunc(grants, func(g awstest.Grant) bool { return g.Allows(a) })
	}
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *house) write(name, content string) string {
	h.Helper()
	path := filepath.Join(h.dir, name)
	h.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

func (h *house) url(i int) string { return "http://" + h.addrs[i] }

func (h *house) client(i int) *client.Client {
	h.Helper()
	c, err := client.New(h.url(i), client.Options{Token: adminToken})
	h.must(err)
	return c
}

func (h *house) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(h.Context()), filepath.Join(h.bin, "pop"), args...)
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
	return cmd
}

// run runs a client command.
func (h *house) run(server int, args ...string) {
	h.Helper()
	if out, err := h.command(append([]string{"--server", h.url(server), "--token", adminToken}, args...)...).CombinedOutput(); err != nil {
		h.Fatalf("pop %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

type process struct {
	cmd *exec.Cmd
}

func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Signal(syscall.SIGKILL)
		_ = p.cmd.Wait()
	}
}

// start starts a command that runs until it is killed.
func (h *house) start(name string, args ...string) *process {
	h.Helper()
	p := &process{h.command(args...)}
	log, err := os.OpenFile(filepath.Join(h.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	h.must(err)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	h.must(p.cmd.Start())
	h.Cleanup(func() {
		p.kill()
		_ = log.Close()
		if h.Failed() {
			text, _ := os.ReadFile(log.Name())
			h.Logf("the end of the log of %s:\n%s", name, text[max(0, len(text)-4000):])
		}
	})
	return p
}

// serve starts a server and waits until it answers.
func (h *house) serve(i int) *process {
	h.Helper()
	p := h.start(fmt.Sprintf("server-%d", i), "serve", "--config", filepath.Join(h.dir, "pop.yaml"), "--addr", h.addrs[i],
		"--data", filepath.Join(h.dir, fmt.Sprintf("data-%d", i)), "--tokens", filepath.Join(h.dir, "tokens.yaml"))
	c := h.client(i)
	for deadline := time.Now().Add(time.Minute); c.Ready(h.Context()) != nil; {
		if time.Now().After(deadline) {
			h.Fatal("the server does not answer within a minute of its start")
		}
		<-time.After(10 * time.Millisecond)
	}
	return p
}

// pull starts a puller for insights at a server.
func (h *house) pull(i int, registry string, insights ...string) *process {
	h.Helper()
	args := []string{
		"pull", "--server", h.url(i), "--token", adminToken, "--handlers", registry,
		"--session", fmt.Sprintf("w%d", i), "--work", filepath.Join(h.dir, fmt.Sprintf("work-%d", i)),
	}
	for _, id := range insights {
		args = append(args, "--insight", id)
	}
	return h.start(fmt.Sprintf("puller-%d", i), args...)
}

// awaitEnd waits until an agenda has ended.
func (h *house) awaitEnd(server int, id string) (end model.AgendaProgress) {
	h.Helper()
	for p, err := range h.client(server).Watch(h.Context(), id) {
		if err != nil {
			h.Fatalf("watch agenda %s: %v", id, err)
		}
		end = p
	}
	return end
}

// killPlugin kills the plugin of a server: it is the only child that the server has.
func (h *house) killPlugin(server *process) {
	h.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", server.cmd.Process.Pid))
	h.must(err)
	killed := 0
	for _, thread := range threads {
		children, _ := os.ReadFile(thread) // a thread may have ended
		for field := range strings.FieldsSeq(string(children)) {
			pid, err := strconv.Atoi(field)
			h.must(err)
			if syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
	}
	if killed == 0 {
		h.Error("the server had no plugin to kill")
	}
}
