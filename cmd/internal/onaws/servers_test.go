package onaws

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
)

var kills = flag.Int("kills", 3, "how often a server or a plugin is killed")

const (
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
)

// TestTwoServersOnOneTableLoseAndDoubleNothingWhateverIsKilled runs two servers with the plugin on one table, a puller at each, and
// kills servers and plugins while agendas flow. Every agenda that was accepted must succeed, and no operation may start twice
// under one fence.
func TestTwoServersOnOneTableLoseAndDoubleNothingWhateverIsKilled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.whileAgendasFlow(func(servers []*process) {
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
	})
	t.Logf("%d agendas were accepted over %d kills", len(h.accepted), *kills)
	if len(h.accepted) < 5**kills {
		t.Errorf("only %d agendas were accepted: too few to prove anything", len(h.accepted))
	}
}

// TestAnInsightMovesWithinTheLeaseWhenItsServerIsKilled kills the server that schedules the insight, and once the other one has
// taken it over and the killed one is back, that other one.
func TestAnInsightMovesWithinTheLeaseWhenItsServerIsKilled(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.whileAgendasFlow(func(servers []*process) {
		for range servers {
			i, old := h.owner(0, 1)
			killed := time.Now()
			servers[i].kill()
			meanwhile := h.submit(1-i, "after "+old.Server)
			_, next := h.owner(1 - i)
			if next.Epoch <= old.Epoch || next.Server == old.Server {
				t.Errorf("the insight moved from %+v to %+v, want another server and a higher epoch", old, next)
			}
			// Half a lease more is for a machine that is so busy that the server is late.
			moved := next.Since.Sub(killed)
			if moved > ownerLease+ownerLease/2 {
				t.Errorf("the insight moved %s after its server was killed, and the lease is %s", moved, ownerLease)
			}
			h.awaitSuccess(1-i, meanwhile)
			t.Logf("with a lease of %s the insight moved after %s, and what was submitted in between had succeeded after %s", ownerLease, moved, time.Since(killed))
			servers[i] = h.serve(i)
		}
	})
}

// whileAgendasFlow runs two servers with a puller at each and submits agendas to both while it does something with the servers. Whatever
// that is, what was accepted must succeed.
func (h *house) whileAgendasFlow(do func(servers []*process)) {
	h.Helper()
	registry := h.write("handlers.yaml", fmt.Sprintf(handlers, filepath.Join(h.dir, "notes")))
	servers := []*process{h.serve(0), h.serve(1)}
	h.run(0, "apply", "-f", h.write("objects.yaml", objects))
	for i := range servers {
		h.pull(i, registry, "soak")
		h.submit(i, fmt.Sprintf("first of %d", i))
	}
	submitting, stop := context.WithCancel(h.Context())
	var submitters sync.WaitGroup
	for i := range servers {
		submitters.Go(func() { h.submitUntil(submitting, i) })
	}
	do(servers)
	stop()
	submitters.Wait()
	for id := range h.accepted {
		h.awaitSuccess(0, id)
	}
	h.checkNotes()
}

// owner waits until one of the servers says that it schedules the insight, and returns which one and what it says.
func (h *house) owner(servers ...int) (int, model.Owner) {
	h.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		for _, i := range servers {
			if owner, err := h.client(i).Owner(h.Context(), "soak"); err == nil && owner.Here && owner.Alive {
				return i, owner
			}
		}
	}
	h.Fatalf("none of the servers %v schedules the insight within two minutes", servers)
	return 0, model.Owner{}
}

// submitUntil submits agendas one after the other until the context ends.
func (h *house) submitUntil(ctx context.Context, server int) {
	for i := 0; ctx.Err() == nil; i++ {
		h.submit(server, fmt.Sprintf("%d-%d", server, i))
		<-time.After(50 * time.Millisecond)
	}
}

// submit submits an agenda until it is accepted, and returns its id.
func (h *house) submit(server int, key string) string {
	c, start := h.client(server), time.Now()
	for h.Context().Err() == nil {
		got, err := c.Submit(h.Context(), noting(), key)
		if err == nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.accepted[got.Agenda.ID] = true
			return got.Agenda.ID
		}
		// A server hears of the objects that another has taken in within two seconds.
		if kind := model.KindOf(err); kind == model.Conflict || kind == model.Invalid && time.Since(start) > time.Minute {
			h.Errorf("a submission is refused: %v", err)
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	return ""
}

// noting returns an agenda of two operations, the second of which needs the result of the first.
func noting() model.Agenda {
	return model.Agenda{Meta: model.Meta{CustomerID: "soak"}, MaximumAttempts: model.MaxMaximumAttempts, Operations: []model.Operation{
		{Name: "a", Type: "note"}, {Name: "b", Type: "note", Payload: []byte(`"@<a.out::/n>"`)},
	}}
}

func (h *house) awaitSuccess(server int, id string) {
	h.Helper()
	if p := h.awaitEnd(server, id); p.Outcome != model.Succeeded {
		h.Errorf("accepted agenda %s %s: %s", id, p.Outcome, p.Message)
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
