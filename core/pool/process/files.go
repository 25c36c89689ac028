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
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/pool/registry"
)

const (
	attemptPrefix = "attempt-"
	lockFile      = ".lock"
	guardianFile  = ".guardian"
)

// guardianWait is how long an earlier executor's guardian may take to kill its handlers. It takes milliseconds.
const guardianWait = 30 * time.Second

// claimWait is how long a root folder has to be locked to count as in use. An executor that is killed while it starts a handler leaves the
// lock to the shell that is to become that one, until it has begun.
const claimWait = 2 * time.Second

// claimRoot makes the root folder this process's alone and removes the folders of attempts that were killed.
func claimRoot(root string) (*os.File, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(root, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for start := time.Now(); ; <-time.After(10 * time.Millisecond) {
		err := flock(lock)
		if err == nil {
			break
		}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			if time.Since(start) < claimWait {
				continue
			}
			err = fmt.Errorf("%s is in use by another process", root)
		}
		return nil, errors.Join(err, lock.Close())
	}
	if err := awaitGuardian(root); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	killMarked(attemptFiles{filepath.Join(root, attemptPrefix)}.variable()) // its guardian was killed, too
	left, err := filepath.Glob(filepath.Join(root, attemptPrefix+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func flock(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// lockGuardian returns the file that a guardian holds locked for as long as there may be processes of its handlers.
func lockGuardian(root string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(root, guardianFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// awaitGuardian waits until the guardian of an earlier executor has killed its handlers, lest one of them runs beside its successor.
func awaitGuardian(root string) error {
	for deadline := time.Now().Add(guardianWait); ; <-time.After(5 * time.Millisecond) {
		file, err := lockGuardian(root)
		if err == nil {
			return file.Close()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("handlers of an earlier executor on %s are still being killed after %s", root, guardianWait)
		}
	}
}

// attemptFiles are the files of the handler contract. They are hidden, so as not to be in the way of a handler that uses
// the folder as its working folder.
type attemptFiles struct{ dir string }

func (f attemptFiles) payloadFile() string      { return f.dir + "/.pop-payload.json" }
func (f attemptFiles) paramsFile() string       { return f.dir + "/.pop-params.json" }
func (f attemptFiles) lastProgressFile() string { return f.dir + "/.pop-last-progress.json" }
func (f attemptFiles) resultFile() string       { return f.dir + "/.pop-result.json" }
func (f attemptFiles) operationsFile() string   { return f.dir + "/.pop-operations.json" }
func (f attemptFiles) progressFile() string     { return f.dir + "/.pop-progress.jsonl" }

func (f attemptFiles) secretsDir() string { return f.dir + "/.pop-secrets" }

// variable is how a handler is told its folder, and how a process is known to belong to it.
func (f attemptFiles) variable() string { return "POP_WORK_DIR=" + f.dir }

func (f attemptFiles) write(task *pool.Task, secrets []secret) error {
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return err
	}
	if err := f.writeSecrets(secrets); err != nil {
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

// writeSecrets writes each secret to a file of its own. Unlike variables, files are not handed on to every program that a handler starts.
func (f attemptFiles) writeSecrets(secrets []secret) error {
	if len(secrets) == 0 {
		return nil
	}
	if err := os.Mkdir(f.secretsDir(), 0o700); err != nil {
		return err
	}
	for _, s := range secrets {
		if err := os.WriteFile(filepath.Join(f.secretsDir(), s.name), s.value, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// result reads the result file.
func (f attemptFiles) result(limit int64) (json.RawMessage, error) {
	return f.read(f.resultFile(), "result", limit)
}

// operations reads the operations that the handler adds to the agenda, and returns them as they are written, too.
func (f attemptFiles) operations(limit int64) ([]model.Operation, json.RawMessage, error) {
	data, err := f.read(f.operationsFile(), "list of operations", limit)
	if err != nil || data == nil {
		return nil, nil, err
	}
	var compact bytes.Buffer // as payloads of agendas are that were submitted
	if err := json.Compact(&compact, data); err != nil {
		return nil, nil, err
	}
	decoder := json.NewDecoder(&compact)
	decoder.DisallowUnknownFields()
	var operations []model.Operation
	if err := decoder.Decode(&operations); err != nil {
		return nil, nil, fmt.Errorf("wrote a list of operations that is none: %w", err)
	}
	return operations, data, nil
}

// read reads a file of JSON that a handler may have written.
func (f attemptFiles) read(path, what string, limit int64) (json.RawMessage, error) {
	file, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("left a %s that cannot be read: %w", what, err)
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("left a %s that cannot be read: %w", what, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("wrote a %s of more than %d bytes; put what is large where the next operation finds it, and its address into the %[1]s", what, limit)
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, nil
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("wrote a %s that is not JSON: %.60q", what, data)
	}
	if err := model.CheckJSON(data, model.MaxResultDepth); err != nil {
		return nil, fmt.Errorf("wrote a %s that %w", what, err)
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
	env := make([]string, 0, 17+len(h.PassEnv)+len(h.Env))
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
		"POP_OPERATIONS_FILE="+files.operationsFile(),
		"POP_PROGRESS_FILE="+files.progressFile(),
		files.variable(),
		"POP_AGENDA_ID="+task.AgendaID,
		"POP_OPERATION="+task.Operation.Name,
		"POP_CUSTOMER_ID="+task.Agenda.CustomerID,
		"POP_FENCE="+strconv.FormatInt(task.Fence, 10),
		"POP_ATTEMPT="+strconv.Itoa(task.Attempt),
		"POP_IDEMPOTENCY_KEY="+task.IdempotencyKey(),
	)
	for name, value := range map[string]string{"POP_INSIGHT_ID": task.InsightID, "POP_LINK_ID": task.Agenda.LinkID, "POP_CID": task.Agenda.CID} {
		if value != "" {
			env = append(env, name+"="+value)
		}
	}
	if len(h.Secrets) > 0 {
		env = append(env, "POP_SECRETS_DIR="+files.secretsDir())
	}
	if task.LastProgress != nil {
		env = append(env, "POP_LAST_PROGRESS_FILE="+files.lastProgressFile())
	}
	for i, variable := range env {
		env[i] = strings.ReplaceAll(variable, "\x00", "") // a NUL would keep the handler from being started
	}
	return env
}
