//go:build unix && !linux

package host

import (
	"os/exec"
	"syscall"
)

// isolate gives the process a group of its own, so that a signal to the host's group does not end backends before the host has
// drained, and so that its children end with it. When the host dies, the SDK notices.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return killGroup(cmd) }
}
