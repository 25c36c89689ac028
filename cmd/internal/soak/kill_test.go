package soak

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
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

var kills = flag.Int("kills", 200, "how often the server is killed")

// objects is what agendas of the soak need. The handler notes each start in one write, so that the notes of processes that run at the
// same time do not mix.
const objects = `
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

const handlers = `
handlers:
  note:
    command: [/bin/sh, -c, 'echo "$POP_AGENDA_ID/$POP_OPERATION/$POP_FENCE" >> "$NOTES"; echo "{\"n\": 1}" > "$POP_RESULT_FILE"']
    env: {NOTES: %q}
`

// TestKillingTheServerAtAnyMomentLosesAndDoublesNothing kills `pop dev`, which is server, scheduler, puller and executor in one,
// while agendas flow, and starts it again. Every agenda that was accepted must succeed, and no operation may start twice under one
// fence.
func TestKillingTheServerAtAnyMomentLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := newSoak(t)
	s.start()
	s.run("apply", "-f", s.write("objects.yaml", objects))

	submitting, stop := context.WithCancel(t.Context())
	var submitters sync.WaitGroup
	for i := range 4 {
		submitters.Go(func() { s.submitUntil(submitting, i) })
	}
	for range *kills {
		<-time.After(time.Duration(rand.IntN(300)) * time.Millisecond)
		s.kill()
		s.start()
	}
	stop()
	submitters.Wait()
	t.Logf("%d agendas were accepted over %d kills", len(s.accepted), *kills)
	if len(s.accepted) < *kills {
		t.Errorf("only %d agendas were accepted: too few to prove anything", len(s.accepted))
	}
	for id := range s.accepted {
		s.awaitSuccess(id)
	}
	s.checkNotes()
}

type soak struct {
	*testing.T
	binary, dir, addr string
	args              []string // more of them for the server
	server            *exec.Cmd
	log               *os.File
	client            *client.Client

	mu       sync.Mutex
	accepted map[string]bool
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	dir := t.TempDir()
	s := &soak{T: t, dir: dir, binary: filepath.Join(dir, "pop"), addr: addrtest.Free(t), accepted: map[string]bool{}}
	s.build("pop")
	var err error
	s.log, err = os.Create(filepath.Join(dir, "server.log"))
	s.must(err)
	s.client, err = client.New("http://"+s.addr, client.Options{})
	s.must(err)
	s.write("handlers.yaml", fmt.Sprintf(handlers, filepath.Join(dir, "notes")))
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			log, _ := os.ReadFile(s.log.Name())
			t.Logf("the end of the server's log:\n%s", log[max(0, len(log)-8000):])
		}
	})
	return s
}

// build builds one of the commands into the soak's folder.
func (s *soak) build(name string) (path string) {
	s.Helper()
	path = filepath.Join(s.dir, name)
	build := exec.CommandContext(s.Context(), "go", "build", "-o", path, "github.com/pop-platform/pop/cmd/"+name)
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

func (s *soak) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *soak) write(name, content string) string {
	s.Helper()
	path := filepath.Join(s.dir, name)
	s.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

// run runs a client command.
func (s *soak) run(args ...string) {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), s.binary, append([]string{"--server", "http://" + s.addr}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.Fatalf("pop %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// start starts the server and waits until it answers.
func (s *soak) start() {
	s.Helper()
	s.server = exec.CommandContext(context.WithoutCancel(s.Context()), s.binary, append([]string{
		"dev", "--no-samples", "--addr", s.addr, "--data", filepath.Join(s.dir, "data"), "--handlers", filepath.Join(s.dir, "handlers.yaml"),
	}, s.args...)...)
	s.server.Stdout, s.server.Stderr = s.log, s.log
	s.must(s.server.Start())
	deadline := time.Now().Add(20 * time.Second)
	for s.client.Ready(s.Context()) != nil {
		if time.Now().After(deadline) {
			s.Fatal("the server does not answer within 20 s of its start")
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (s *soak) kill() {
	if s.server.ProcessState != nil {
		return
	}
	_ = s.server.Process.Signal(syscall.SIGKILL)
	_ = s.server.Wait()
}

// submitUntil submits agendas one after the other, each until it is accepted, until the context ends.
func (s *soak) submitUntil(ctx context.Context, submitter int) {
	for i := 0; ctx.Err() == nil; i++ {
		agenda := model.Agenda{Meta: model.Meta{CustomerID: "soak"}, MaximumAttempts: model.MaxMaximumAttempts, Operations: []model.Operation{
			{Name: "a", Type: "note"}, {Name: "b", Type: "note", Payload: []byte(`"@<a.out::/n>"`)},
		}}
		for {
			got, err := s.client.Submit(s.Context(), agenda, fmt.Sprintf("%d-%d", submitter, i))
			if err == nil {
				s.mu.Lock()
				s.accepted[got.Agenda.ID] = true
				s.mu.Unlock()
				break
			}
			if kind := model.KindOf(err); kind == model.Invalid || kind == model.Conflict {
				s.Errorf("a submission is refused: %v", err)
				return
			}
			if s.Context().Err() != nil {
				return
			}
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (s *soak) awaitSuccess(id string) {
	s.Helper()
	for p, err := range s.client.Watch(s.Context(), id) {
		if err != nil {
			s.Fatalf("accepted agenda %s: %v", id, err)
		}
		if p.State == model.Complete && p.Outcome != model.Succeeded {
			s.Errorf("accepted agenda %s %s: %s", id, p.Outcome, p.Message)
		}
	}
}

// checkNotes checks what the handlers noted: both operations of every agenda started, none twice under one fence.
func (s *soak) checkNotes() {
	s.Helper()
	notes, err := os.Open(filepath.Join(s.dir, "notes"))
	s.must(err)
	defer func() { _ = notes.Close() }()
	all, err := io.ReadAll(notes)
	s.must(err)
	starts, ran := map[string]int{}, map[string]bool{}
	for line := range bytes.Lines(all) {
		start := strings.TrimSpace(string(line))
		if starts[start]++; starts[start] == 2 {
			s.Errorf("started twice under one fence: %s", start)
		}
		ran[start[:strings.LastIndexByte(start, '/')]] = true
	}
	for id := range s.accepted {
		if !ran[id+"/a"] || !ran[id+"/b"] {
			s.Errorf("agenda %s succeeded without all its operations", id)
		}
	}
}
