//go:build unix

package process

import (
	"fmt"
	"syscall"
)

// leastRoom is how much room there has to be for the files of attempts, and for results that wait for the server.
const leastRoom = 16 << 20

// Fit returns an error if the disk of the root folder is so full that operations would fail for it.
func (l *Launcher) Fit() error { return room(l.cfg.Root, leastRoom) }

func room(dir string, least uint64) error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("folder %s cannot be looked at: %w", dir, err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < least {
		return fmt.Errorf("the disk of %s is full: %d MiB are free, and %d are needed; free some, or take another folder", dir, free>>20, least>>20)
	}
	return nil
}
