//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/pop-platform/pop/core/pool/registry"
)

// guardian is a shell in a session of its own that knows which process groups run. When the executor goes away, by whatever
// means, it kills those that are left, and what has left its group but not its environment.
//
// Each handler is started by a shell that tells the guardian of its group and then becomes the handler. So there is no moment
// at which a handler runs and the guardian does not know: it is told before, and its pipe doesn't end while somebody who is
// about to tell it something holds the other side. A parent-death signal would reach the handler only, not what the handler
// started, and exists on Linux alone.
type guardian struct {
	cmd   *exec.Cmd
	pipe  *os.File
	ended chan struct{}
	err   error // of its end
}

const (
	guardianScript = `trap '' INT TERM HUP QUIT
live=
while read -r op group; do
  case $op in
  +) live="$live $group" ;;
  -) rest=; for g in $live; do [ "$g" = "$group" ] || rest="$rest $g"; done; live=$rest ;;
  esac
done
for g in $live; do kill -s KILL -- "-$g" 2>/dev/null; done
[ -r /proc/self/environ ] || exit 0
while found=$(grep -lsF -e "$1" /proc/[0-9]*/environ); [ "$found" ]; do
  for f in $found; do pid=${f#/proc/}; kill -s KILL "${pid%/environ}" 2>/dev/null; done
done
exit 0`

	// handlerScript leads a process group, so that its id is the group's.
	handlerScript = `echo "+ $$" >&3; exec 3>&-; `
	becomeHandler = `exec "$@"`
)

func startGuardian(root string) (*guardian, error) {
	lock, err := lockGuardian(root)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }() // the shell has its own copy
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	marker := attemptFiles{filepath.Join(root, attemptPrefix)}.variable()
	cmd := exec.Command("/bin/sh", "-c", guardianScript, "sh", marker) //nolint:noctx // outlives every context on purpose
	cmd.Stdin = read
	cmd.ExtraFiles = []*os.File{lock}
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	_ = read.Close() // the shell has its own copy
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	g := &guardian{cmd: cmd, pipe: write, ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		g.err = cmd.Wait()
	}()
	return g, nil
}

// guard makes a command that has not been started lead a group that the guardian watches, within limits.
func (g *guardian) guard(cmd *exec.Cmd, limits registry.Limits) {
	cmd.Args = append([]string{"sh", "-c", handlerScript + ulimits(limits) + becomeHandler, cmd.Path, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	cmd.ExtraFiles = []*os.File{g.pipe} // number 3
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// forget tells that a group has ended. The line is short enough to stay whole among others.
func (g *guardian) forget(pgid int) { _, _ = fmt.Fprintf(g.pipe, "- %d\n", pgid) }

func (g *guardian) alive() bool {
	select {
	case <-g.ended:
		return false
	default:
		return true
	}
}

// close makes the guardian kill what is left.
func (g *guardian) close() error {
	err := g.pipe.Close()
	<-g.ended
	return errors.Join(err, g.err)
}
