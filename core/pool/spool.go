package pool

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pop-platform/pop/core/model"
)

// maxSpoolBytes bounds a spool. What does not fit is kept in memory only.
const maxSpoolBytes = 256 << 20

const (
	spoolPrefix  = "report-"
	spoolSuffix  = ".json"
	spoolPartial = ".new"
)

// spool keeps reports in a folder, each in a file of its own that is on disk when put returns. Files are named in the order in which
// they were made. It belongs to one puller at a time and is not safe for concurrent use.
type spool struct {
	dir   string
	sizes map[string]int64 // of files, by name
	size  int64
	next  int
}

var errSpoolFull = fmt.Errorf("the spool would hold more than %d bytes", maxSpoolBytes)

// openSpool opens the spool of the puller with a name. A folder may hold those of several.
func openSpool(folder, name string) (*spool, error) {
	hash := sha256.Sum256([]byte(name)) // names may hold what names of folders may not
	s := &spool{dir: filepath.Join(folder, hex.EncodeToString(hash[:8])), sizes: map[string]int64{}, next: 1}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	names, err := s.names()
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	for _, name := range names {
		info, err := os.Stat(filepath.Join(s.dir, name))
		if err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
		s.account(name, info.Size())
	}
	if len(names) > 0 {
		last := strings.TrimSuffix(strings.TrimPrefix(names[len(names)-1], spoolPrefix), spoolSuffix)
		if _, err := fmt.Sscanf(last, "%d", &s.next); err != nil {
			return nil, fmt.Errorf("open spool: %s: %w", names[len(names)-1], err)
		}
		s.next++
	}
	return s, nil
}

// names returns the names of the files, in order. What a crash has left half written is removed.
func (s *spool) names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		switch name := entry.Name(); {
		case strings.HasSuffix(name, spoolPartial):
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, name)))
		case strings.HasPrefix(name, spoolPrefix) && strings.HasSuffix(name, spoolSuffix):
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

func (s *spool) newName() string {
	s.next++
	return fmt.Sprintf("%s%016d%s", spoolPrefix, s.next-1, spoolSuffix)
}

func (s *spool) account(name string, size int64) {
	s.size += size - s.sizes[name]
	if s.sizes[name] = size; size == 0 {
		delete(s.sizes, name)
	}
}

// put writes a report to the file with a name, in place of what was there.
func (s *spool) put(name string, report *model.Report) error {
	data, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if s.size-s.sizes[name]+int64(len(data)) > maxSpoolBytes {
		return errSpoolFull
	}
	path := filepath.Join(s.dir, name)
	if err := writeSynced(path+spoolPartial, data); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := os.Rename(path+spoolPartial, path); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.account(name, int64(len(data)))
	return s.sync()
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// sync makes the names of files durable.
func (s *spool) sync() error {
	dir, err := os.Open(s.dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// get reads a file.
func (s *spool) get(name string) (model.Report, error) {
	var report model.Report
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return report, fmt.Errorf("spool: %s: %w", name, err)
	}
	return report, nil
}

// remove removes a file. That need not be durable: a report may come twice.
func (s *spool) remove(name string) error {
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	s.account(name, 0)
	return nil
}
