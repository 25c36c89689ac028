package doctor

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pop-platform/pop/cmd/pop/internal/node"
	"github.com/pop-platform/pop/core/pool/registry"
)

// Free space below which the store may stop taking writes soon, and below which it does.
const (
	lowSpace = 1 << 30
	noSpace  = 64 << 20
)

func checkData(ctx context.Context, r *report, data string) {
	info, err := os.Stat(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		checkNewData(r, data, func(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) })
		return
	case err != nil:
		r.fail("data folder", "give this user the right to use it, or take another with --data", "%v", err)
		return
	case !info.IsDir():
		r.fail("data folder", "take another with --data", "%s is a file", data)
		return
	}
	probe, err := os.CreateTemp(data, ".doctor-*")
	if err != nil {
		r.fail("data folder", "give this user the right to write there, or take another with --data", "%v", err)
	} else {
		err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		if err != nil {
			r.warn("data folder", "look at the file system", "%v", err)
		} else {
			r.ok("data folder", "%s can be written", data)
		}
	}
	checkSpace(r, data)
	if _, err := os.Stat(node.StoreDir(data)); err != nil {
		return
	}
	switch inUse, err := node.CheckStore(ctx, data); {
	case inUse:
		r.ok("store", "a server has it open")
	case err != nil:
		r.fail("store", "do what the message says", "%v", err)
	default:
		r.ok("store", "it opens, and no server has it open")
	}
}

// checkNewData says whether a data folder can be made, without making it.
func checkNewData(r *report, data string, writable func(dir string) error) {
	above := filepath.Dir(data)
	for info, err := os.Stat(above); err != nil || !info.IsDir(); info, err = os.Stat(above) {
		if above == filepath.Dir(above) {
			break
		}
		above = filepath.Dir(above)
	}
	if err := writable(above); err != nil {
		r.fail("data folder", "give this user the right to write there, or take another with --data", "%s is not there yet and cannot be made, %s: %v", data, above, err)
		return
	}
	r.ok("data folder", "%s is not there yet; the first start makes it", data)
	checkSpace(r, above)
}

func checkSpace(r *report, data string) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(data, &disk); err != nil {
		r.warn("disk space", "look at the file system", "%s: %v", data, err)
		return
	}
	const remedy = "free some space, or move the data folder to a larger disk"
	switch free := disk.Bavail * uint64(disk.Bsize); {
	case free < noSpace:
		r.fail("disk space", remedy, "%d MiB are free, too few for writes", free>>20)
	case free < lowSpace:
		r.warn("disk space", remedy, "only %d MiB are free", free>>20)
	default:
		r.ok("disk space", "%d GiB are free", free>>30)
	}
}

// checkHandlers returns the handlers of a file; nil if it cannot be read.
func checkHandlers(r *report, file string) *registry.Set {
	const check = "handlers"
	data, err := os.ReadFile(file)
	if err != nil {
		r.fail(check, "name the right file with --handlers", "%v", err)
		return nil
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		r.fail(check, "name the file by its whole path", "%v", err)
		return nil
	}
	set, err := registry.Parse(dir, data)
	if err != nil {
		r.fail(check, "mend the file", "%s: %v", file, err)
		return nil
	}
	problems := 0
	for _, issue := range set.Issues() {
		problems++
		r.fail(check, "mend the entry; operations of its type fail", "%s: %s %s", file, issue.Path, issue.Message)
	}
	for _, operationType := range set.Types() {
		h, err := set.Lookup(operationType)
		if err != nil {
			continue // told above
		}
		if _, err := exec.LookPath(h.Command[0]); err != nil {
			problems++
			r.fail(check, "install the program, correct its path, or make it executable", "%s: %s", operationType, strings.TrimPrefix(err.Error(), "exec: "))
		}
		if h.WorkDir == "" {
			continue
		}
		if info, err := os.Stat(h.WorkDir); err != nil || !info.IsDir() {
			problems++
			r.fail(check, "make the folder, or correct workDir", "%s: there is no folder %s", operationType, h.WorkDir)
		}
	}
	switch {
	case problems > 0:
	case len(set.Types()) == 0:
		r.warn(check, "name a program for each operation type", "%s names no handlers", file)
	default:
		r.ok(check, "%s: the programs for %d operation types are there", file, len(set.Types()))
	}
	return set
}

// checkTypes compares the operation types that insights take with those that have a handler. Other pullers may have the others, so
// it is only a warning.
func checkTypes(r *report, taken map[string][]string, file string, handled []string) {
	const check = "operation types"
	missing := 0
	for _, t := range slices.Sorted(maps.Keys(taken)) {
		if slices.ContainsFunc(handled, func(h string) bool { return strings.EqualFold(h, t) }) {
			continue
		}
		missing++
		r.warn(check, "name a handler of it there, unless a puller elsewhere has one", "%s has no handler of type %s, which insight %s takes",
			file, t, strings.Join(taken[t], ", "))
	}
	if len(taken) > 0 && missing == 0 {
		r.ok(check, "%s has a handler of each of the %d types that insights take", file, len(taken))
	}
}
