package soak

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/cmd/internal/addrtest"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

var (
	chaosFor     = flag.Duration("chaos", 15*time.Second, "how long processes are killed and the network fails")
	chaosAgendas = flag.Int("agendas", 500, "how many agendas there are")
)

// chaosHandlers note each start and each success in one write. The first attempt of a flaky operation fails; that of a hanging one
// starts a daemon and a child, and never ends.
const chaosHandlers = `
defaults:
  env: {NOTES: %q}
  timeout: 30s
  grace: 100ms
handlers:
  note: {command: [/bin/sh, -c, %[2]q]}
  slow: {command: [/bin/sh, -c, 'echo "{\"percent\": 50}" >>"$POP_PROGRESS_FILE"; echo at work; sleep 0.4; %[3]s']}
  flaky: {command: [/bin/sh, -c, 'if [ "$POP_ATTEMPT" = 1 ]; then echo "not yet"; exit 1; fi; %[3]s']}
  hang: {command: [/bin/sh, -c, 'if [ "$POP_ATTEMPT" = 1 ]; then setsid sleep 1000 & sleep 1000; fi; %[3]s'], timeout: 1s}
  spread: {command: [/bin/sh, -c, 'o="$POP_OPERATION"; echo "[{\"name\": \"$o-x\", \"type\": \"note\"}, {\"name\": \"$o-y\", \"type\": \"flaky\", \"maximumAttempts\": 2, \"payload\": \"@<$o-x.out::/n>\"}]" >"$POP_OPERATIONS_FILE"; %[3]s']}
  doomed: {command: [/bin/sh, -c, 'echo "it cannot be done"; exit 65']}
`

const (
	noteStart   = `echo "s $POP_AGENDA_ID/$POP_OPERATION/$POP_FENCE/$POP_ATTEMPT" >>"$NOTES"; `
	noteSuccess = `echo "{\"n\": 1}" >"$POP_RESULT_FILE"; echo "e $POP_AGENDA_ID/$POP_OPERATION/$POP_FENCE" >>"$NOTES"`
)

// TestAgendasRunToTheirEndWhateverDies kills server and pullers, which are the executors, at random, and lets the network between
// them fail, while agendas run. Every agenda must end as it should, no operation may succeed twice under one fence, and no process
// may be left of a puller that was killed.
func TestAgendasRunToTheirEndWhateverDies(t *testing.T) {
	t.Parallel()
	c := newChaos(t)
	c.startServer()
	c.apply()
	for i := range c.pullers {
		c.pullers[i].start(c)
	}
	var submitting sync.WaitGroup
	const submitters = 4
	for s := range submitters {
		submitting.Go(func() {
			for i := s; i < *chaosAgendas; i += submitters {
				c.submit(i)
			}
		})
	}
	calm, over := context.WithTimeout(t.Context(), *chaosFor)
	defer over()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.wreak(calm)
	}()
	submitting.Wait()
	<-done
	c.awaitAll()
	for _, p := range c.pullers {
		p.stop(c)
	}
	c.checkNotes()
	c.checkLeftovers()
	t.Logf("%d agendas over %v", *chaosAgendas, c.did)
}

// chaos is a server and pullers that can be killed, and the network between them.
type chaos struct {
	*testing.T
	binary, dir, addr string
	proxy             *proxy
	server            *exec.Cmd
	log               *os.File
	client            *client.Client
	pullers           []*puller
	did               map[string]int

	mu       sync.Mutex
	accepted map[string]expected
}

// expected is how an agenda should end, and with how many operations.
type expected struct {
	outcome    model.Outcome
	operations int
}

type puller struct {
	name string
	cmd  *exec.Cmd
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	dir := t.TempDir()
	c := &chaos{T: t, dir: dir, binary: filepath.Join(dir, "pop"), addr: addrtest.Free(t), accepted: map[string]expected{}, did: map[string]int{}}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.binary, "github.com/pop-platform/pop/cmd/pop")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	c.proxy = newProxy(t, c.addr)
	var err error
	c.log, err = os.Create(filepath.Join(dir, "log"))
	c.must(err)
	c.client, err = client.New("http://"+c.addr, client.Options{Token: chaosToken})
	c.must(err)
	work := noteStart + noteSuccess
	c.write("handlers.yaml", fmt.Sprintf(chaosHandlers, filepath.Join(dir, "notes"), work, work))
	c.write("tokens.yaml", fmt.Sprintf("tokens: [{token: 'sha256:%x', subject: chaos, global: true, roles: [read, submit, operate, pull]}]", sha256.Sum256([]byte(chaosToken))))
	for i := range 3 {
		c.pullers = append(c.pullers, &puller{name: fmt.Sprint("w", i)})
	}
	t.Cleanup(func() {
		for _, p := range c.pullers {
			p.kill()
		}
		c.killServer()
		if t.Failed() {
			log, _ := os.ReadFile(c.log.Name())
			t.Logf("the end of the logs:\n%s", log[max(0, len(log)-12000):])
		}
	})
	return c
}

const chaosToken = "chaos-token"

func (c *chaos) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

func (c *chaos) write(name, content string) string {
	c.Helper()
	path := filepath.Join(c.dir, name)
	c.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

// begin starts pop with arguments, apart from the test's own group, so that it alone is hit by what is done to it.
func (c *chaos) begin(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(c.Context()), c.binary, args...)
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.Env = append(os.Environ(), "POP_TOKEN="+chaosToken)
	if err := cmd.Start(); err != nil {
		c.Error(err)
	}
	return cmd
}

func (c *chaos) startServer() {
	c.server = c.begin("serve", "--addr", c.addr, "--data", filepath.Join(c.dir, "data"), "--tokens", filepath.Join(c.dir, "tokens.yaml"))
	c.eventually("the server answers", func() bool { return c.client.Ready(c.Context()) == nil })
}

func (c *chaos) killServer() { kill(c.server) }

func kill(cmd *exec.Cmd) {
	if cmd == nil || cmd.ProcessState != nil {
		return
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// eventually waits for a condition, on a machine that may be busy.
func (c *chaos) eventually(what string, holds func() bool) bool {
	c.Helper()
	for deadline := time.Now().Add(60 * time.Second); !holds(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.Errorf("waited in vain until %s", what)
			return false
		}
	}
	return true
}

func (c *chaos) apply() {
	c.Helper()
	text := strings.ReplaceAll(strings.ReplaceAll(objects, "soak", "chaos"), "[note]", "[note, slow, flaky, hang, spread, doomed]")
	cmd := exec.CommandContext(c.Context(), c.binary, "--server", "http://"+c.addr, "--token", chaosToken, "apply", "-f", c.write("objects.yaml", text))
	if out, err := cmd.CombinedOutput(); err != nil {
		c.Fatalf("apply: %v\n%s", err, out)
	}
}

func (p *puller) work(c *chaos) string { return filepath.Join(c.dir, "work-"+p.name) }

func (p *puller) start(c *chaos) {
	p.cmd = c.begin("pull", "--server", "http://"+c.proxy.addr, "--insight", "chaos", "--handlers", filepath.Join(c.dir, "handlers.yaml"),
		"--session", p.name, "--work", p.work(c), "--slots", "12")
}

func (p *puller) kill() { kill(p.cmd) }

func (p *puller) stop(c *chaos) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		c.Errorf("puller %s: %v", p.name, err)
	}
}

// processes returns how many processes of handlers run below a folder.
func processes(folder string) int {
	marker := []byte("POP_WORK_DIR=" + folder)
	environs, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	n := 0
	for _, file := range environs {
		if env, err := os.ReadFile(file); err == nil && bytes.Contains(env, marker) {
			n++
		}
	}
	return n
}

// wreak does harm until the context ends, and mends it.
func (c *chaos) wreak(ctx context.Context) {
	between := func(low, high int) time.Duration { return time.Duration(low+rand.IntN(high-low)) * time.Millisecond }
	pause := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	harms := []struct {
		name string
		do   func()
	}{
		{"kills of the server", func() {
			c.killServer()
			pause(between(0, 1500))
			c.startServer()
		}},
		{"kills of a puller", func() {
			p := c.pullers[rand.IntN(len(c.pullers))]
			p.kill()
			c.eventually("no process is left of a puller that was killed", func() bool { return processes(p.work(c)) == 0 })
			pause(between(0, 1500))
			p.start(c)
		}},
		{"restarts of a puller at once", func() {
			p := c.pullers[rand.IntN(len(c.pullers))]
			p.kill()
			p.start(c)
		}},
		{"cuts of the network", func() {
			c.proxy.set(refusing)
			pause(between(0, 3000))
			c.proxy.set(through)
		}},
		{"halts of the network", func() {
			c.proxy.set(hanging)
			pause(between(500, 4000))
			c.proxy.set(through)
		}},
		{"halts of the server", func() {
			_ = c.server.Process.Signal(syscall.SIGSTOP)
			pause(between(500, 3000))
			_ = c.server.Process.Signal(syscall.SIGCONT)
		}},
		{"halts of a puller", func() {
			p := c.pullers[rand.IntN(len(c.pullers))]
			_ = p.cmd.Process.Signal(syscall.SIGSTOP)
			pause(between(500, 2000))
			_ = p.cmd.Process.Signal(syscall.SIGCONT)
		}},
		{"kills of all during an outage", func() {
			c.proxy.set(hanging)
			pause(between(1000, 2000))
			for _, p := range c.pullers {
				p.kill()
			}
			c.proxy.set(refusing) // requests that hang are not made
			c.proxy.set(through)
			for _, p := range c.pullers {
				p.start(c)
			}
		}},
	}
	for ctx.Err() == nil {
		pause(between(100, 700))
		harm := harms[rand.IntN(len(harms))]
		harm.do()
		c.did[harm.name]++
	}
}

// chaosAgenda returns an agenda of 3 to 12 operations, of which each may wait for some before it, and how it should end.
func chaosAgenda(i int) (model.Agenda, model.Outcome) {
	random := rand.New(rand.NewPCG(7, uint64(i))) // the same agendas in each run
	types := []string{"note", "note", "note", "note", "note", "note", "slow", "flaky"}
	at := 0.1 // seconds
	a := model.Agenda{Meta: model.Meta{CustomerID: "chaos"}, MaximumAttempts: model.MaxMaximumAttempts}
	for n := range 3 + i%10 {
		op := model.Operation{Name: fmt.Sprint("op", n), Type: types[random.IntN(len(types))]}
		if n > 0 && random.IntN(3) > 0 {
			op.Payload = fmt.Appendf(nil, `{"from": "@<op%d.out::/n>"}`, random.IntN(n))
		}
		if op.Type == "flaky" && i%2 == 0 { // or else the agenda is tried again
			op.MaximumAttempts, op.Backoff = 3, &model.Backoff{InitialSeconds: &at}
		}
		a.Operations = append(a.Operations, op)
	}
	if i%5 == 0 {
		a.Operations[0].Type, a.Operations[0].MaximumAttempts, a.Operations[0].Backoff = "spread", 0, nil
	}
	last := &a.Operations[len(a.Operations)-1]
	switch {
	case i%25 == 24:
		last.Type = "doomed"
		return a, model.Failed
	case i%10 == 9:
		last.Type = "hang"
	}
	return a, model.Succeeded
}

// submit submits an agenda until it is accepted.
func (c *chaos) submit(i int) {
	agenda, outcome := chaosAgenda(i)
	for {
		got, err := c.client.Submit(c.Context(), agenda, fmt.Sprint("chaos-", i))
		if err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			want := expected{outcome, len(agenda.Operations)}
			if agenda.Operations[0].Type == "spread" {
				want.operations += 2
			}
			c.accepted[got.Agenda.ID] = want
			return
		}
		if kind := model.KindOf(err); kind == model.Invalid || kind == model.Conflict || c.Context().Err() != nil {
			c.Errorf("a submission is refused: %v", err)
			return
		}
	}
}

func (c *chaos) awaitAll() {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 5*time.Minute)
	defer cancel()
	for id, want := range c.accepted {
		for p, err := range c.client.Watch(ctx, id) {
			if err != nil {
				c.Fatalf("agenda %s: %v", id, err)
			}
			if p.State != model.Complete {
				continue
			}
			if p.Outcome != want.outcome {
				c.Errorf("agenda %s %s, and should have %s: %s", id, p.Outcome, want.outcome, p.Message)
			}
			if want.outcome == model.Succeeded && len(p.Operations) != want.operations {
				c.Errorf("agenda %s has %d operations; want %d", id, len(p.Operations), want.operations)
			}
			for _, op := range p.Operations {
				if want.outcome == model.Succeeded && op.Outcome != model.Succeeded {
					c.Errorf("agenda %s: operation %s is %s %s", id, op.Operation, op.State, op.Outcome)
				}
			}
		}
	}
}

// checkNotes checks what the handlers noted: under one fence no attempt of an operation starts twice and none succeeds twice, and
// what has succeeded has done its work.
func (c *chaos) checkNotes() {
	c.Helper()
	all, err := os.ReadFile(filepath.Join(c.dir, "notes"))
	c.must(err)
	noted, succeeded, again := map[string]int{}, map[string]int{}, 0
	for line := range strings.Lines(string(all)) {
		line = strings.TrimSpace(line)
		if noted[line]++; noted[line] == 2 {
			c.Errorf("twice under one fence: %s", line)
		}
		if operation, ok := strings.CutPrefix(line, "e "); ok {
			operation = operation[:strings.LastIndexByte(operation, '/')]
			if succeeded[operation]++; succeeded[operation] == 2 {
				again++
			}
		}
	}
	operations, missing := 0, 0
	for id, want := range c.accepted {
		p, _, err := c.client.Progress(c.Context(), id)
		c.must(err)
		for _, op := range p.Operations {
			operations++
			if want.outcome == model.Succeeded && succeeded[id+"/"+op.Operation] == 0 {
				missing++
			}
		}
	}
	if missing > 0 {
		c.Errorf("%d operations have succeeded and done nothing", missing)
	}
	c.Logf("%d operations; %d were run again after they had ended, as their puller was killed before it could say so", operations, again)
}

// checkLeftovers checks that nothing is left: no process, no folder of an attempt, no result that was not delivered.
func (c *chaos) checkLeftovers() {
	c.Helper()
	if n := processes(c.dir); n > 0 {
		c.Errorf("%d processes are left", n)
	}
	for _, pattern := range []string{"work-*/attempt-*", "work-*/spool/*/*"} {
		if left, err := filepath.Glob(filepath.Join(c.dir, pattern)); err != nil || len(left) > 0 {
			c.Errorf("left: %v, %v", left, err)
		}
	}
}
