package onaws

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

var kills = flag.Int("kills", 3, "how often a server or a plugin is killed")

const (
	adminToken = "token-of-the-test"

	objects = `
kind: ResourcePool
id: soak
customerId: soak
title: soak
---
kind: Customer
id: soak
title: soak
resourcePoolId: soak
---
kind: Insight
id: soak
customerId: soak
title: soak
resourcePoolId: soak
mappers: {operationType: [note]}
`
	handlers = `
handlers:
  note:
    command: [/bin/sh, -c, 'echo "$POP_AGENDA_ID/$POP_OPERATION/$POP_FENCE" >> "$NOTES"; echo "{\"n\": 1}" > "$POP_RESULT_FILE"']
    env: {NOTES: %q}
`
	settings = `
drivers: {store: aws, queue: aws}
plugins:
  aws:
    path: %q
    env: [AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY]
    config: {region: us-east-1, endpoint: %q}
`
)

// TestTwoServersOnOneTableLoseAndDoubleNothingWhateverIsKilled runs two servers with the plugin on one table, a puller at each, and
// kills servers and plugins while agendas flow. Every agenda that was accepted must succeed, and no operation may start twice
// under one fence.
func TestTwoServersOnOneTableLoseAndDoubleNothingWhateverIsKilled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	servers := []*process{h.serve(0), h.serve(1)}
	h.run(0, "apply", "-f", h.write("objects.yaml", objects))
	for i := range servers {
		h.start(fmt.Sprintf("puller-%d", i), "pull", "--insight", "soak", "--handlers", filepath.Join(h.dir, "handlers.yaml"),
			"--session", fmt.Sprintf("w%d", i), "--work", filepath.Join(h.dir, fmt.Sprintf("work-%d", i)), "--server", h.url(i), "--token", adminToken)
	}

	submitting, stop := context.WithCancel(t.Context())
	var submitters sync.WaitGroup
	for i := range servers {
		submitters.Go(func() { h.submitUntil(submitting, i) })
	}
	for n := range *kills {
		<-time.After(time.Second + time.Duration(rand.IntN(1000))*time.Millisecond)
		if n%3 == 2 {
			h.killPlugin(servers[n%2])
			continue
		}
		servers[n%2].kill()
		servers[n%2] = h.serve(n % 2)
	}
	<-time.After(time.Second)
	stop()
	submitters.Wait()
	t.Logf("%d agendas were accepted over %d kills", len(h.accepted), *kills)
	if len(h.accepted) < 5**kills {
		t.Errorf("only %d agendas were accepted: too few to prove anything", len(h.accepted))
	}
	for id := range h.accepted {
		h.awaitSuccess(id)
	}
	h.checkNotes()
}

// house is where servers and pullers run.
type house struct {
	*testing.T
	dir   string
	addrs [2]string

	mu       sync.Mutex
	accepted map[string]bool
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{T: t, dir: t.TempDir(), accepted: map[string]bool{}}
	for _, program := range []string{"pop", "pop-plugin-aws"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(h.dir, program), "github.com/pop-platform/pop/cmd/"+program)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
	}
	for i := range h.addrs {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		h.must(err)
		h.addrs[i] = l.Addr().String()
		h.must(l.Close())
	}
	endpoint := awstest.New(awstest.Options{IndexLag: 50 * time.Millisecond}).Start(t)
	h.write("pop.yaml", fmt.Sprintf(settings, filepath.Join(h.dir, "pop-plugin-aws"), endpoint))
	h.write("handlers.yaml", fmt.Sprintf(handlers, filepath.Join(h.dir, "notes")))
	h.write("tokens.yaml", fmt.Sprintf("tokens:\n- {token: \"sha256:%x\", subject: admin, global: true, roles: [read, submit, operate, pull]}\n", sha256.Sum256([]byte(adminToken))))
	return h
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
	cmd := exec.CommandContext(context.WithoutCancel(h.Context()), filepath.Join(h.dir, "pop"), args...)
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

// submitUntil submits agendas one after the other, each until it is accepted, until the context ends.
func (h *house) submitUntil(ctx context.Context, server int) {
	c := h.client(server)
	for i := 0; ctx.Err() == nil; i++ {
		a := model.Agenda{Meta: model.Meta{CustomerID: "soak"}, MaximumAttempts: model.MaxMaximumAttempts, Operations: []model.Operation{
			{Name: "a", Type: "note"}, {Name: "b", Type: "note", Payload: []byte(`"@<a.out::/n>"`)},
		}}
		for h.Context().Err() == nil {
			got, err := c.Submit(h.Context(), a, fmt.Sprintf("%d-%d", server, i))
			if err == nil {
				h.mu.Lock()
				h.accepted[got.Agenda.ID] = true
				h.mu.Unlock()
				break
			}
			// A server hears of the objects that another has taken in within two seconds.
			if kind := model.KindOf(err); kind == model.Invalid && i > 0 || kind == model.Conflict {
				h.Errorf("a submission is refused: %v", err)
				return
			}
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (h *house) awaitSuccess(id string) {
	h.Helper()
	for p, err := range h.client(0).Watch(h.Context(), id) {
		if err != nil {
			h.Fatalf("accepted agenda %s: %v", id, err)
		}
		if p.State == model.Complete && p.Outcome != model.Succeeded {
			h.Errorf("accepted agenda %s %s: %s", id, p.Outcome, p.Message)
		}
	}
}

// checkNotes checks what the handlers noted: both operations of every agenda started, none twice under one fence.
func (h *house) checkNotes() {
	h.Helper()
	notes, err := os.ReadFile(filepath.Join(h.dir, "notes"))
	h.must(err)
	starts, ran := map[string]int{}, map[string]bool{}
	for line := range bytes.Lines(notes) {
		start := strings.TrimSpace(string(line))
		if starts[start]++; starts[start] == 2 {
			h.Errorf("started twice under one fence: %s", start)
		}
		ran[start[:strings.LastIndexByte(start, '/')]] = true
	}
	for id := range h.accepted {
		if !ran[id+"/a"] || !ran[id+"/b"] {
			h.Errorf("agenda %s succeeded without all its operations", id)
		}
	}
}
