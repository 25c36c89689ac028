//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// starter starts processes from one thread that lives as long as it does. On Linux a handler dies with its parent, and the
// parent is the thread that started it, not the process.
type starter struct{ requests chan startRequest }

type startRequest struct {
	cmd  *exec.Cmd
	done chan error
}

func newStarter() *starter {
	s := &starter{requests: make(chan startRequest)}
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		for r := range s.requests {
			r.done <- r.cmd.Start()
		}
	}()
	return s
}

func (s *starter) start(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	s.requests <- startRequest{cmd, done}
	return <-done
}

func (s *starter) stop() { close(s.requests) }

// guardian is a shell in a session of its own that is told which process groups run. When the executor goes away, by
// whatever means, its pipe ends, and it kills those that are left: also what handlers started, which no parent-death signal
// reaches, and also where there is none.
type guardian struct {
	cmd  *exec.Cmd
	pipe *os.File
}

const guardianScript = `trap '' INT TERM HUP QUIT
live=
while read -r op group; do
  case $op in
  +) live="$live $group" ;;
  -) rest=; for g in $live; do [ "$g" = "$group" ] || rest="$rest $g"; done; live=$rest ;;
  esac
done
for g in $live; do kill -s KILL -- "-$g" 2>/dev/null; done
exit 0`

func startGuardian() (*guardian, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/bin/sh", "-c", guardianScript) //nolint:noctx // outlives every context on purpose
	cmd.Stdin = read
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = read.Close() // the shell has its own copy
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return &guardian{cmd, write}, nil
}

// watch and unwatch write lines that are short enough to stay whole. Without a guardian, handlers still run.
func (g *guardian) watch(pgid int)   { _, _ = fmt.Fprintf(g.pipe, "+ %d\n", pgid) }
func (g *guardian) unwatch(pgid int) { _, _ = fmt.Fprintf(g.pipe, "- %d\n", pgid) }

func (g *guardian) close() error {
	return errors.Join(g.pipe.Close(), g.cmd.Wait())
}
