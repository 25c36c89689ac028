package soak

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/host"
)

var pluginKills = flag.Int("plugin-kills", 100, "how often the plugin is killed")

const pluginConfig = `
drivers: {store: process, queue: process}
plugins:
  process:
    path: %s
    sha256: %s
    config: {dir: %s}
`

// TestKillingThePluginAtAnyMomentLosesAndDoublesNothing kills the process that holds store and queue while agendas flow through a
// server that goes on. Every agenda that was accepted must succeed, and no operation may start twice under one fence. At last it
// kills the server, with which the plugin must end.
func TestKillingThePluginAtAnyMomentLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	s := newSoak(t)
	plugin := s.build("pop-plugin-local")
	sum, err := host.Sum(plugin)
	s.must(err)
	s.args = []string{"--config", s.write("pop.yaml", fmt.Sprintf(pluginConfig, plugin, sum, filepath.Join(s.dir, "records")))}
	s.start()
	s.run("apply", "-f", s.write("objects.yaml", objects))

	submitting, stop := context.WithCancel(t.Context())
	var submitters sync.WaitGroup
	for i := range 4 {
		submitters.Go(func() { s.submitUntil(submitting, i) })
	}
	var pauses []time.Duration
	for n := range *pluginKills {
		<-time.After(time.Duration(rand.IntN(100)) * time.Millisecond)
		s.must(syscall.Kill(s.awaitChild(plugin), syscall.SIGKILL))
		killed := time.Now()
		s.submitOne(fmt.Sprintf("after-kill-%d", n))
		pauses = append(pauses, time.Since(killed))
	}
	stop()
	submitters.Wait()
	slices.Sort(pauses)
	t.Logf("%d agendas were accepted over %d kills; the next one after a kill took %s, at most %s",
		len(s.accepted), *pluginKills, pauses[len(pauses)/2], pauses[len(pauses)-1])
	away := s.awayTimes()
	t.Logf("until the next process was ready %d times took %s, at most %s", len(away), away[len(away)/2], away[len(away)-1])
	if len(s.accepted) < *pluginKills {
		t.Errorf("only %d agendas were accepted: too few to prove anything", len(s.accepted))
	}
	for id := range s.accepted {
		s.awaitSuccess(id)
	}
	s.checkNotes()

	pid := s.awaitChild(plugin)
	s.kill()
	s.eventually("the plugin is gone with its server", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

// submitOne submits an agenda until it is accepted.
func (s *soak) submitOne(key string) {
	s.Helper()
	agenda := model.Agenda{Meta: model.Meta{CustomerID: "soak"}, MaximumAttempts: model.MaxMaximumAttempts, Operations: []model.Operation{
		{Name: "a", Type: "note"}, {Name: "b", Type: "note", Payload: []byte(`"@<a.out::/n>"`)},
	}}
	s.eventually("an agenda is accepted after a kill", func() bool {
		got, err := s.client.Submit(s.Context(), agenda, key)
		if err != nil {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.accepted[got.Agenda.ID] = true
		return true
	})
}

// awayTimes returns for how long there was no plugin each time, as the server's log has it.
func (s *soak) awayTimes() (away []time.Duration) {
	s.Helper()
	log, err := os.ReadFile(s.log.Name())
	s.must(err)
	for _, found := range regexp.MustCompile(`msg="the plugin is ready" .* after=(\S+)`).FindAllSubmatch(log, -1) {
		after, err := time.ParseDuration(string(found[1]))
		s.must(err)
		away = append(away, after)
	}
	slices.Sort(away)
	return away
}

func (s *soak) eventually(what string, is func() bool) {
	s.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(end) {
			s.Fatalf("it is not so within 30 s: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// awaitChild returns the process of a program that the server has started.
func (s *soak) awaitChild(program string) (pid int) {
	s.Helper()
	parent := fmt.Sprintf("PPid:\t%d\n", s.server.Process.Pid)
	s.eventually("the server runs "+program, func() bool {
		found, err := filepath.Glob("/proc/[0-9]*")
		s.must(err)
		for _, dir := range found {
			if exe, err := os.Readlink(dir + "/exe"); err != nil || exe != program {
				continue
			}
			status, err := os.ReadFile(dir + "/status")
			if err == nil && strings.Contains(string(status), parent) && !strings.Contains(string(status), "State:\tZ") {
				pid, err = strconv.Atoi(filepath.Base(dir))
				return err == nil
			}
		}
		return false
	})
	return pid
}
