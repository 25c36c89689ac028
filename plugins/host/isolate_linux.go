package host

import (
	"os/exec"
	"syscall"
)

// isolate gives the process a group of its own, so that a signal to the host's group does not end backends before the host has
// drained, and so that its children end with it; and has the kernel kill it when the host dies. To
// the kernel that is when the thread dies that started it, so nothing in a host may end a goroutine that is locked to its thread.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd) }
}
