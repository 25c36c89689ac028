//go:build unix

package process

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/pop-platform/pop/core/pool/registry"
)

// ulimits returns the commands of a shell that set limits for what it becomes. They hold for each process by itself, which is what
// every kernel has; a bound on a handler as a whole is the work of the cgroup that the puller runs in.
func ulimits(l registry.Limits) string {
	var set strings.Builder
	limit := func(flags string, value int64) {
		fmt.Fprintf(&set, "ulimit %s %d || exit 126; ", flags, value)
	}
	if l.Memory > 0 {
		limit("-d", max(1, l.Memory>>10))
	}
	if l.CPU > 0 {
		seconds := int64((l.CPU + time.Second - 1) / time.Second)
		limit("-S -t", seconds)          // SIGXCPU says why
		limit("-H -t", seconds+cpuGrace) // SIGKILL does not
	}
	if l.OpenFiles > 0 {
		limit("-n", l.OpenFiles)
	}
	if l.FileSize > 0 {
		limit("-f", max(1, l.FileSize>>9)) // POSIX counts in blocks of 512 bytes
	}
	return set.String()
}

// cpuGrace is how many seconds of CPU a process has to heed SIGXCPU.
const cpuGrace = 5

// exceeded returns which limit a signal tells of, or nothing.
func exceeded(s syscall.Signal, l registry.Limits) string {
	switch {
	case s == syscall.SIGXCPU && l.CPU > 0:
		return fmt.Sprintf("used more CPU time than its limit of %s", l.CPU)
	case s == syscall.SIGXFSZ && l.FileSize > 0:
		return fmt.Sprintf("wrote a file beyond its limit of %d bytes", l.FileSize)
	}
	return ""
}
