//go:build unix

package process

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/pool/registry"
)

// executorEnv makes the test binary an executor that runs one handler in the folder that it names.
const executorEnv = "PROCESS_TEST_EXECUTOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(executorEnv); dir != "" {
		runExecutor(dir)
	}
	os.Exit(m.Run())
}

// runExecutor runs a handler that writes its process id and that of its child to a file, and never ends. Its child has a child, and
// another one that has left the group and has a child of its own.
func runExecutor(dir string) {
	l, err := New(Config{
		Root: filepath.Join(dir, "work"), Log: slog.New(slog.DiscardHandler),
		Handlers: script(fmt.Sprintf(`trap '' TERM HUP; sh -c 'sleep 1000; :' & setsid sh -c 'sleep 1000; :' & echo $$ $! > %[1]s/new; mv %[1]s/new %[1]s/pids; wait`, dir)),
	})
	if err == nil {
		_, err = l.Launch(context.Background(), task())
	}
	fmt.Fprintln(os.Stderr, "the handler ended:", err)
	os.Exit(1)
}

func TestG08_NoProcessOutlivesAnExecutorThatIsKilled(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(pid int) error{
		"it alone":      func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"and its group": func(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			executor := exec.CommandContext(t.Context(), os.Args[0])
			executor.Env = append(os.Environ(), executorEnv+"="+dir)
			executor.Stderr = os.Stderr
			executor.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if err := executor.Start(); err != nil {
				t.Fatal(err)
			}
			var leader, child int
			await(t, "the handler to start", func() bool {
				pids, err := os.ReadFile(filepath.Join(dir, "pids"))
				if err != nil {
					return false
				}
				_, err = fmt.Sscan(string(pids), &leader, &child)
				return err == nil
			})
			if !alive(leader) || !alive(child) {
				t.Fatal("the handler does not run")
			}
			await(t, "five processes", func() bool { return len(marked("POP_WORK_DIR="+dir)) == 5 })
			if err := kill(executor.Process.Pid); err != nil {
				t.Fatal(err)
			}
			_ = executor.Wait() // it was killed
			await(t, "the handler to be killed", func() bool { return !alive(leader) })
			await(t, "the handler's child to be killed", func() bool { return !alive(child) })
			await(t, "all others to be killed", func() bool { return len(marked("POP_WORK_DIR="+dir)) == 0 })
		})
	}
}

func TestCloseKillsWhatIsLeft(t *testing.T) {
	t.Parallel()
	g, err := startGuardian(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		up := filepath.Join(t.TempDir(), "up")
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", ": > "+up+"; exec sleep 1000")
		g.guard(cmd, registry.Limits{})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		await(t, "a process to start", func() bool { _, err := os.Stat(up); return err == nil })
		return cmd
	}
	left, forgotten := start(), start()
	g.forget(forgotten.Process.Pid)
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	if err := left.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the watched process ended with %v; want it killed", err)
	}
	if !alive(forgotten.Process.Pid) {
		t.Error("the process that is not watched any more was killed")
	}
	_ = forgotten.Process.Kill()
	_ = forgotten.Wait()
}

func TestAGuardianThatWasKilledIsReplaced(t *testing.T) {
	t.Parallel()
	l := newLauncher(t, script("true"))
	first := l.guardian
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.ended
	if _, err := l.Launch(t.Context(), task()); err != nil {
		t.Errorf("Launch = %v", err)
	}
	if l.guardian == first || !l.guardian.alive() {
		t.Error("there is no new guardian")
	}
}

// alive reports whether a process runs. One that nobody has reaped does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(20 * time.Second); !done(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
