//go:build unix

package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// killMarked kills the processes whose environment holds a marker. It finds those that have left their process group, as daemons do,
// on systems that have /proc. They may start others meanwhile, so it looks again.
func killMarked(marker string) {
	for range 20 {
		found := marked(marker)
		if len(found) == 0 {
			return
		}
		for _, pid := range found {
			_ = syscall.Kill(pid, syscall.SIGKILL) // if it fails, the process has just ended
		}
		<-time.After(time.Millisecond) // a killed process keeps its environment until it has ended
	}
}

func marked(marker string) (pids []int) {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is right
	for _, file := range environs {
		env, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(env, []byte(marker)) {
			continue // most likely of somebody else, or gone
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
