//go:build unix && !linux

package process

import "syscall"

// childAttributes puts a handler into a process group of its own.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
