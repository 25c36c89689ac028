package host_test

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
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

// pidOf returns the process that a line of the log is about.
func pidOf(t *testing.T, line string) int {
	t.Helper()
	found := regexp.MustCompile(`pid=(\d+)`).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("no process id in %q", line)
	}
	pid, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// suspend stops a process without ending it.
func suspend(t *testing.T, p *host.Plugin) {
	t.Helper()
	kill(t, p, syscall.SIGSTOP)
	eventually(t, "the process stands still", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Status().PID))
		return err == nil && bytes.Contains(stat, []byte(") T "))
	})
}

func TestBatchesBeyondTheLimitsOfMessagesGoThrough(t *testing.T) {
	t.Parallel()
	s := must(t, start(t, "serve", nil).Store)
	migrate(t, s)
	const mebibyte = 1 << 20
	body := bytes.Repeat([]byte("x"), mebibyte)

	// One group cannot be split: beyond gRPC's own 4 MiB, up to our limit.
	var group driver.Group
	for i := range 20 {
		group = append(group, put(fmt.Sprintf("group%02d", i), body))
	}
	if err := write(t.Context(), s, group...); err != nil {
		t.Fatalf("a group of 20 MiB: %v", err)
	}
	// Groups are.
	var groups []driver.Group
	var keys []driver.Key
	for i := range 80 {
		groups = append(groups, driver.Group{put(fmt.Sprintf("single%02d", i), body)})
		keys = append(keys, key(fmt.Sprintf("single%02d", i)), key(fmt.Sprintf("absent%02d", i)))
	}
	resp, err := s.Write(t.Context(), driver.WriteRequest{Groups: groups})
	if err != nil || len(resp.Results) != len(groups) {
		t.Fatalf("%d results of %d groups, %v", len(resp.Results), len(groups), err)
	}
	for i, r := range resp.Results {
		if r.Err != nil || len(r.Versions) != 1 {
			t.Errorf("group %d: %+v", i, r)
		}
	}
	found, err := s.Get(t.Context(), driver.GetRequest{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range found.Records {
		if there := i%2 == 0; there != (r != nil) || there && (r.Key != keys[i] || len(r.Body) != mebibyte) {
			t.Errorf("record %d of %q is wrong", i, keys[i])
		}
	}
	var scanned int
	for req := (driver.ScanRequest{Kind: "run", Part: "p"}); ; {
		page, err := s.Scan(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		scanned += len(page.Records)
		if req.Cursor = page.Next; page.Next == "" {
			break
		}
	}
	if scanned != 100 {
		t.Errorf("a scan found %d records, want 100", scanned)
	}
	// What cannot be sent is refused as a whole, and changes nothing.
	group = nil
	for i := range 70 {
		group = append(group, put(fmt.Sprintf("much%02d", i), body))
	}
	wantError(t, write(t.Context(), s, group...), driver.TooLarge, driver.NotApplied, "67108864")
	if r, err := get(t.Context(), s, "much00"); r != nil || err != nil {
		t.Errorf("the group was applied: %v, %v", r, err)
	}
}

func TestProcessThatWasKilledIsStartedAgainWithTheSameChecks(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", func(e *host.Entry, _ *host.Options) {
		sum, err := host.Sum(e.Path)
		if err != nil {
			t.Fatal(err)
		}
		e.SHA256 = sum
	})
	s := must(t, p.Store)
	for n := 2; n < 5; n++ {
		migrate(t, s) // the process is configured each time
		if err := write(t.Context(), s, put("a", nil)); err != nil {
			t.Fatal(err)
		}
		kill(t, p, syscall.SIGKILL)
		awaitStarts(t, p, n)
	}
	if problem := p.Status().Problem; problem == "" {
		t.Error("the status does not say what was wrong")
	}
}

func TestWriteInAProcessThatDiesHasAnUnknownOutcomeAndReadsAreSimplyUnavailable(t *testing.T) {
	t.Parallel()
	s := must(t, start(t, "die in a write", nil).Store)
	migrate(t, s)
	if _, err := get(t.Context(), s, "a"); err != nil {
		t.Fatal(err)
	}
	wantError(t, write(t.Context(), s, put("a", nil)), driver.Unavailable, driver.Unknown, "plugin test ended during the call")

	log := &record{}
	p := start(t, "slow", func(_ *host.Entry, o *host.Options) { o.Log = log.logger() })
	s = must(t, p.Store)
	migrate(t, s)
	failed := make(chan error, 1)
	go func() {
		_, err := get(t.Context(), s, "a")
		failed <- err
	}()
	log.await(t, "a read has begun")
	kill(t, p, syscall.SIGKILL)
	wantError(t, <-failed, driver.Unavailable, driver.NotApplied)
	migrate(t, s) // waits for the next process
}

func TestSignalsToAPluginDoNotEndIt(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", nil)
	s := must(t, p.Store)
	migrate(t, s)
	if err := write(t.Context(), s, put("a", []byte("still here"))); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		kill(t, p, signal)
		if r, err := get(t.Context(), s, "a"); err != nil || r == nil {
			t.Errorf("after %s: %v, %v", signal, r, err)
		}
	}
	if group, err := syscall.Getpgid(p.Status().PID); err != nil || group != p.Status().PID {
		t.Errorf("the plugin is in group %d, %v: signals to the host's group reach it", group, err)
	}
}

func TestPluginDiesWithItsHost(t *testing.T) {
	t.Parallel()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append(os.Environ(), modeEnv+"=host")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || syscall.Kill(pid, 0) != nil {
		t.Fatalf("there is no plugin %q: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	eventually(t, "the plugin is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

func TestChildrenOfAPluginEndWithItAndDoNotHideItsEnd(t *testing.T) {
	t.Parallel()
	p := start(t, "parent", nil)
	first := p.Status().PID
	kill(t, p, syscall.SIGKILL)
	// The child has the plugin's standard error open, for which go-plugin would wait.
	if _, err := get(t.Context(), must(t, p.Store), "a"); err != nil && driver.CodeOf(err) != driver.Unavailable && driver.CodeOf(err) != driver.Invalid {
		t.Error(err)
	}
	awaitStarts(t, p, 2)
	eventually(t, "the child is gone", func() bool { return errors.Is(syscall.Kill(-first, 0), syscall.ESRCH) })
}

func TestNothingThatAPluginWritesHarmsTheHost(t *testing.T) {
	t.Parallel()
	log := &record{}
	p := start(t, "chatty", func(_ *host.Entry, o *host.Options) { o.Log = log.logger() })
	if _, err := get(t.Context(), must(t, p.Store), "a"); err != nil && driver.CodeOf(err) != driver.Invalid {
		t.Fatal(err)
	}
	line := log.await(t, "the table is nearly full")
	for _, part := range []string{"level=WARN", "table=runs", "percent=97", "plugin=test"} {
		if !strings.Contains(line, part) {
			t.Errorf("log line %q does not have %s", line, part)
		}
	}
	log.await(t, "that was all")
	log.await(t, "printed by mistake")
	if log.find("nobody wants to know this") != "" {
		t.Error("the plugin logs at a level that the host does not take")
	}
	if line := log.find(`{\"@message\": 1}`); !strings.Contains(line, "level=WARN") {
		t.Errorf("the line that go-plugin's parser panics at is %q in the log", line)
	}
}

func TestCloseLetsCallsEnd(t *testing.T) {
	t.Parallel()
	log := &record{}
	p := start(t, "slow", func(_ *host.Entry, o *host.Options) { o.Log = log.logger() })
	s := must(t, p.Store)
	migrate(t, s)
	ended := make(chan error, 1)
	go func() {
		_, err := get(t.Context(), s, "a")
		ended <- err
	}()
	log.await(t, "a read has begun")
	pid := p.Status().PID
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the call that was going on: %v", err)
	}
	if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		t.Error("the process is still there")
	}
	_, err := get(t.Context(), s, "a")
	wantError(t, err, driver.Unavailable, driver.NotApplied, "closed")
}

func TestLastDriverThatIsClosedClosesThePlugin(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", func(e *host.Entry, _ *host.Options) {
		e.Services = []driver.Service{driver.StoreService, driver.QueueService}
	})
	s, q := must(t, p.Store), must(t, p.Queue)
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Ensure(t.Context(), driver.EnsureRequest{Queue: "q"}); err != nil {
		t.Errorf("the other driver: %v", err)
	}
	if err := q.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if state := p.Status().State; state != host.Closed {
		t.Errorf("the plugin is %s", state)
	}
}

func TestPanicOfADriverIsAnErrorOfTheCall(t *testing.T) {
	t.Parallel()
	log := &record{}
	p := start(t, "panic", func(_ *host.Entry, o *host.Options) { o.Log = log.logger() })
	s := must(t, p.Store)
	migrate(t, s)
	wantError(t, write(t.Context(), s, put("a", nil)), driver.Internal, driver.Unknown, "panicked: index out of luck")
	if _, err := get(t.Context(), s, "a"); err != nil {
		t.Errorf("the next call: %v", err)
	}
	if line := log.await(t, "a call panicked"); !strings.Contains(line, "main_test.go") {
		t.Errorf("log line %q has no stack", line)
	}
	if starts := p.Status().Starts; starts != 1 {
		t.Errorf("the plugin was started %d times", starts)
	}
}

func TestPluginThatKeepsEndingIsLeftAloneUntilItIsMended(t *testing.T) {
	t.Parallel()
	p := start(t, "", func(e *host.Entry, _ *host.Options) { *e = called(t, "die in a write") })
	s := must(t, p.Store)
	eventually(t, "the plugin is broken", func() bool {
		_ = write(t.Context(), s, put("a", nil)) // which it does not survive
		return p.Status().State == host.Broken
	})
	wantError(t, write(t.Context(), s, put("a", nil)), driver.Unavailable, driver.NotApplied, "plugin test is broken", "exit status 9")
	if err := p.Replace(t.Context(), called(t, "exit")); err == nil {
		t.Error("a program that does not start was taken")
	}
	if err := p.Replace(t.Context(), called(t, "serve")); err != nil {
		t.Fatal(err)
	}
	migrate(t, s)
	if err := write(t.Context(), s, put("a", nil)); err != nil {
		t.Error(err)
	}
}

func TestProcessThatHangsIsReplaced(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", func(_ *host.Entry, o *host.Options) { o.HealthInterval = 100 * time.Millisecond })
	s := must(t, p.Store)
	suspend(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := get(ctx, s, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call with a deadline: %v", err)
	}
	awaitStarts(t, p, 2)
	migrate(t, s)
}

func TestCallWithoutDeadlineEndsNevertheless(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", func(_ *host.Entry, o *host.Options) { o.CallTimeout = 200 * time.Millisecond })
	s := must(t, p.Store)
	migrate(t, s)
	suspend(t, p)
	defer kill(t, p, syscall.SIGCONT)
	wantError(t, write(t.Context(), s, put("a", nil)), driver.Unavailable, driver.Unknown, "did not answer within 200ms")
}

func TestReplacingAProcessLosesNoCall(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", func(e *host.Entry, _ *host.Options) {
		e.Services = []driver.Service{driver.StoreService, driver.QueueService}
	})
	s, q := must(t, p.Store), must(t, p.Queue)
	calling, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for i := range 8 {
		callers.Go(func() {
			for n := 0; calling.Err() == nil; n++ {
				// The store of each process is empty, so each call brings what it needs.
				if _, err := s.Migrate(t.Context(), driver.MigrateRequest{}); err != nil {
					t.Errorf("migrate: %v", err)
				}
				if err := q.Ensure(t.Context(), driver.EnsureRequest{Queue: strconv.Itoa(i)}); err != nil {
					t.Errorf("ensure: %v", err)
				}
			}
		})
	}
	callers.Go(func() { // waits all the time
		for calling.Err() == nil {
			_, err := q.Receive(calling, driver.ReceiveRequest{Queue: "0", Max: 1, Wait: time.Minute, Lease: time.Minute})
			if err != nil && calling.Err() == nil && driver.CodeOf(err) != driver.Invalid { // a new process knows no queue yet
				t.Errorf("receive: %v", err)
			}
		}
	})
	for range 3 {
		before := p.Status()
		if err := p.Replace(t.Context(), entry(t)); err != nil {
			t.Fatal(err)
		}
		if now := p.Status(); now.PID == before.PID || now.State != host.Ready {
			t.Errorf("after the replacement: %+v", now)
		}
	}
	stop()
	callers.Wait()
}

// called returns the catalogue's entry for this test binary under a name that is a mode.
func called(t *testing.T, mode string) host.Entry {
	t.Helper()
	e := entry(t, driver.StoreService)
	path := filepath.Join(t.TempDir(), mode)
	if err := os.Symlink(e.Path, path); err != nil {
		t.Fatal(err)
	}
	e.Path, e.Env = path, nil
	return e
}

func TestReplacementThatFailsChangesNothing(t *testing.T) {
	t.Parallel()
	p := start(t, "serve", nil)
	s := must(t, p.Store)
	migrate(t, s)
	if err := write(t.Context(), s, put("a", []byte("1"))); err != nil {
		t.Fatal(err)
	}
	before := p.Status()
	bad := entry(t)
	bad.Path = "/nowhere/plugin"
	if err := p.Replace(t.Context(), bad); driver.CodeOf(err) != driver.Invalid {
		t.Errorf("no such program: %v", err)
	}
	bad = entry(t)
	bad.Config = []byte(`{"no": "such setting"}`)
	if err := p.Replace(t.Context(), bad); err == nil {
		t.Error("a configuration that it does not take was taken")
	}
	if r, err := get(t.Context(), s, "a"); err != nil || r == nil || p.Status().PID != before.PID {
		t.Errorf("the process before is gone: %v, %v", r, err)
	}
	// That a process cannot be used is only known for sure after the one before has handed over.
	for _, mode := range []string{"poor", "refuse to open"} {
		if err := p.Replace(t.Context(), called(t, mode)); err == nil {
			t.Errorf("%s: it was taken", mode)
		}
		if now := p.Status(); now.State != host.Ready || now.Description.Name != "memory" {
			t.Errorf("%s: the one before is not back: %+v", mode, now)
		}
		migrate(t, s)
	}
	if err := p.Replace(t.Context(), called(t, "serve version 2")); err != nil {
		t.Fatal(err)
	}
	if v := p.Status().Description.Version; v != "2.0.0" {
		t.Errorf("version %s runs, want the new one", v)
	}
	kill(t, p, syscall.SIGKILL)
	awaitStarts(t, p, before.Starts+4)
	if v := p.Status().Description.Version; v != "2.0.0" {
		t.Errorf("version %s was started again, want the new one", v)
	}
}

func TestHostReattachesToAPluginThatRuns(t *testing.T) {
	t.Parallel()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, "--debug")
	cmd.Env = append(os.Environ(), modeEnv+"=serve")
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text string
	for lines := bufio.NewScanner(out); text == "" && lines.Scan(); {
		if _, value, ok := strings.Cut(lines.Text(), host.ReattachEnv+"="); ok {
			text = strings.Trim(value, "'")
		}
	}
	reattach, err := host.ParseReattach(text)
	if err != nil || reattach["memory"].PID != cmd.Process.Pid {
		t.Fatalf("%q: %+v, %v", text, reattach, err)
	}
	for range 2 { // a host that is started again finds it again
		p, err := host.Start(t.Context(), host.Entry{Name: "memory", Services: []driver.Service{driver.StoreService}}, host.Options{Reattach: reattach})
		if err != nil {
			t.Fatal(err)
		}
		s := must(t, p.Store)
		migrate(t, s)
		if err := write(t.Context(), s, put("a", nil)); err != nil {
			t.Error(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := syscall.Kill(cmd.Process.Pid, 0); err != nil {
			t.Fatalf("the plugin has ended with the host: %v", err)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v", err)
	}
	if _, err := host.ParseReattach("{"); err == nil {
		t.Error("garbage was taken")
	}
}

func TestPluginSaysWhatItIsWithoutAHost(t *testing.T) {
	t.Parallel()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Env = append(os.Environ(), modeEnv+"=demanding")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("describe")
	var d struct {
		Name, Version string
		Protocol      int
		Services      []string
		ConfigSchema  struct{ Properties map[string]any }
	}
	if err != nil || json.Unmarshal([]byte(out), &d) != nil {
		t.Fatalf("%s, %v", out, err)
	}
	if d.Name != "demanding" || d.Version != "1" || d.Protocol != 1 || len(d.Services) != 1 || d.ConfigSchema.Properties["table"] == nil {
		t.Errorf("described as %+v", d)
	}
	if out, err := run(); err == nil || !strings.Contains(out, "is a plugin of POP") {
		t.Errorf("started by hand: %s, %v", out, err)
	}
	if out, err := run("serve", "me"); err == nil || !strings.Contains(out, "usage:") {
		t.Errorf("with wrong arguments: %s, %v", out, err)
	}
}
