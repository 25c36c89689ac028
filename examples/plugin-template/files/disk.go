package files

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/pop-platform/pop/plugins/driver"
)

// What is in the folder besides the records, whose files are named by a hash of their keys: a key may be longer than a name of
// a file, and hold what no name can.
const (
	lockFile   = "lock"
	schemaFile = "schema.json"
	recordExt  = ".record"
	newExt     = ".new" // of a file that is being written
)

func (s *Store) recordFile(k driver.Key) string {
	sum := sha256.Sum256([]byte(keyText(k)))
	return filepath.Join(s.Dir, hex.EncodeToString(sum[:])+recordExt)
}

// load opens the folder and reads what is in it.
func (s *Store) load() error {
	if s.Dir == "" {
		return driver.Errorf(driver.Invalid, "files: open", "dir is empty: name a folder")
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fault("open", err)
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(s.Dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fault("open", err)
	}
	// The lock ends with the process, however that ends.
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return driver.Errorf(driver.Unavailable, "files: open", "%s is in use by another process: stop it, or take another folder", s.Dir)
	}
	names, err := os.ReadDir(s.Dir)
	if err != nil {
		return fault("open", err)
	}
	for _, entry := range names {
		path := filepath.Join(s.Dir, entry.Name())
		switch {
		case entry.Name() == schemaFile:
			err = readJSON(path, &s.kinds)
		case strings.HasSuffix(path, newExt):
			err = os.Remove(path) // it was never acknowledged
		case strings.HasSuffix(path, recordExt):
			var r driver.Record
			if err = readJSON(path, &r); err == nil {
				s.index(r)
			}
		}
		if err != nil {
			return fault("open", err)
		}
	}
	return nil
}

// read returns a record with its body.
func (s *Store) read(known *driver.Record) (*driver.Record, error) {
	var r driver.Record
	if err := readJSON(s.recordFile(known.Key), &r); err != nil {
		return nil, fault("read", err)
	}
	return &r, nil
}

func (s *Store) writeRecord(r driver.Record) error { return replace(s.recordFile(r.Key), r) }

func (s *Store) removeRecord(k driver.Key) error {
	if err := os.Remove(s.recordFile(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault("delete", err)
	}
	return nil
}

func (s *Store) writeSchema(kinds map[driver.Kind][]string) error {
	if err := replace(filepath.Join(s.Dir, schemaFile), kinds); err != nil {
		return err
	}
	if err := syncDir(s.Dir); err != nil {
		return fault("migrate", err)
	}
	return nil
}

// corrupt is a file that is not what was written.
type corrupt struct {
	path string
	err  error
}

func (c *corrupt) Error() string {
	return fmt.Sprintf("%s is damaged: restore it from a backup (%v)", c.path, c.err)
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return &corrupt{path, err}
	}
	return nil
}

// replace writes a file in one step: whoever reads it sees the old content or the new, also after a crash. That it is still there
// after a power failure takes a sync of the folder too.
func replace(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return driver.Errorf(driver.Internal, "files: write", "%w", err)
	}
	f, err := os.OpenFile(path+newExt, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fault("write", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+newExt, path)
	}
	if err != nil {
		return fault("write", err)
	}
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// fault says what an error of the file system means for whoever called.
func fault(op string, err error) *driver.Error {
	code := driver.Unavailable
	var broken *corrupt
	switch {
	case errors.As(err, &broken):
		code = driver.Corrupt
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		code = driver.Denied
	case errors.Is(err, syscall.ENOTDIR):
		code = driver.Invalid
	}
	return driver.Errorf(code, "files: "+op, "%w", err)
}
