package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pop-platform/pop/plugins/driver"
)

// maxSocketPath is the longest path of a Unix socket, less what go-plugin appends to the folder.
const maxSocketPath = 100 - len("/plugin0123456789")

// socketDir makes a folder for the socket of one process, and clears away what hosts that are gone have left.
func socketDir(base string) (string, error) {
	if base == "" {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("pop-plugins-%d", os.Getuid()))
	}
	if err := os.MkdirAll(base, 0o700); err != nil {
		return "", fmt.Errorf("make the folder for sockets: %w", err)
	}
	if info, err := os.Lstat(base); err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 || !own(info) {
		return "", driver.Errorf(driver.Denied, "launch", "%s must be a folder of this user that nobody else can open (mode 0700), as sockets go there: mend it, or name another folder for temporary files with TMPDIR", base)
	}
	sweep(base)
	dir, err := os.MkdirTemp(base, strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return "", fmt.Errorf("make the folder for sockets: %w", err)
	}
	if len(dir) > maxSocketPath {
		return "", errors.Join(
			driver.Errorf(driver.Invalid, "launch", "%s is too long a path for a Unix socket, which may have about 100 bytes: name a shorter folder for temporary files with TMPDIR", dir),
			os.Remove(dir))
	}
	return dir, nil
}

func own(info os.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return !ok || int(s.Uid) == os.Getuid()
}

// sweep removes the folders of hosts that are gone. One whose process id is somebody else's by now stays for another time.
func sweep(base string) {
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, e := range entries {
		before, _, ok := strings.Cut(e.Name(), "-")
		pid, err := strconv.Atoi(before)
		if ok && err == nil && pid > 0 && errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			_ = os.RemoveAll(filepath.Join(base, e.Name())) // it is in nobody's way
		}
	}
}
