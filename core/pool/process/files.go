//go:build unix

package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/pool/registry"
)

const (
	attemptPrefix = "attempt-"
	lockFile      = ".lock"
)

// claimRoot makes the root folder this process's alone and removes the folders of attempts that were killed.
func claimRoot(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(root, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%s is in use by another process", root)
		}
		return nil, errors.Join(err, lock.Close())
	}
	left, err := filepath.Glob(filepath.Join(root, attemptPrefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// attemptFiles are the files of the handler contract. They are hidden, so as not to be in the way of a handler that uses
// the folder as its working folder.
type attemptFiles struct{ dir string }

func (f attemptFiles) payloadFile() string      { return f.dir + "/.pop-payload.json" }
func (f attemptFiles) paramsFile() string       { return f.dir + "/.pop-params.json" }
func (f attemptFiles) lastProgressFile() string { return f.dir + "/.pop-last-progress.json" }
func (f attemptFiles) resultFile() string       { return f.dir + "/.pop-result.json" }
func (f attemptFiles) progressFile() string     { return f.dir + "/.pop-progress.jsonl" }

func (f attemptFiles) write(task *pool.Task) error {
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return err
	}
	payload := []byte(task.Operation.Payload)
	if len(payload) == 0 {
		payload = []byte("null")
	}
	if err := os.WriteFile(f.payloadFile(), payload, 0o600); err != nil {
		return err
	}
	params := []byte("{}")
	if len(task.Operation.Params) > 0 {
		var err error
		if params, err = json.Marshal(task.Operation.Params); err != nil {
			return err
		}
	}
	if err := os.WriteFile(f.paramsFile(), params, 0o600); err != nil {
		return err
	}
	if task.LastProgress == nil {
		return nil
	}
	last, err := json.Marshal(task.LastProgress)
	if err != nil {
		return err
	}
	return os.WriteFile(f.lastProgressFile(), last, 0o600)
}

// result reads the result file.
func (f attemptFiles) result(limit int64) (json.RawMessage, error) {
	file, err := openRegular(f.resultFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("left a result that cannot be read: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("left a result that cannot be read: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("wrote a result of more than %d bytes", limit)
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, nil
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("wrote a result that is not JSON: %.60q", data)
	}
	if err := model.CheckJSON(data, model.MaxResultDepth); err != nil {
		return nil, fmt.Errorf("wrote a result that %w", err)
	}
	return data, nil
}

func (f attemptFiles) remove() error { return os.RemoveAll(f.dir) }

// openRegular opens a file that a handler wrote. It refuses what could block the reader or lead it elsewhere.
func openRegular(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", filepath.Base(path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// environment returns all variables that a handler gets.
func environment(h registry.Handler, task *pool.Task, files attemptFiles) []string {
	env := make([]string, 0, 13+len(h.PassEnv)+len(h.Env))
	for _, name := range append([]string{"PATH"}, h.PassEnv...) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range h.Env {
		env = append(env, name+"="+value) // of two equal names the last one counts
	}
	env = append(env,
		"POP_PAYLOAD_FILE="+files.payloadFile(),
		"POP_PARAMS_FILE="+files.paramsFile(),
		"POP_RESULT_FILE="+files.resultFile(),
		"POP_PROGRESS_FILE="+files.progressFile(),
		"POP_WORK_DIR="+files.dir,
		"POP_AGENDA_ID="+task.AgendaID,
		"POP_OPERATION="+task.Operation.Name,
		"POP_CUSTOMER_ID="+task.Agenda.CustomerID,
		"POP_FENCE="+strconv.FormatInt(task.Fence, 10),
		"POP_ATTEMPT="+strconv.Itoa(task.Attempt),
		"POP_IDEMPOTENCY_KEY="+task.IdempotencyKey(),
	)
	if task.LastProgress != nil {
		env = append(env, "POP_LAST_PROGRESS_FILE="+files.lastProgressFile())
	}
	for i, variable := range env {
		env[i] = strings.ReplaceAll(variable, "\x00", "") // a NUL would keep the handler from being started
	}
	return env
}
