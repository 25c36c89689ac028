package handler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ExitNonRetryable is the exit status of a handler that failed in a way that another attempt would only repeat. It is
// EX_DATAERR of sysexits.h.
const ExitNonRetryable = 65

// Task is one attempt of an operation.
type Task struct {
	AgendaID       string
	Operation      string
	CustomerID     string
	Fence          int64  // grows with every run of the agenda
	Attempt        int    // 1 for the first
	IdempotencyKey string // names the attempt, for systems that are to perform an effect only once
	WorkDir        string // removed when the attempt ends
	Params         map[string]json.RawMessage

	payload      []byte
	last         lastProgress
	progressFile string
	secretsDir   string
	operations   []Operation
}

// Operation is an operation that another one adds to its agenda. Its fields are those of an operation of an agenda; see the
// documentation of agendas for those that this type has not.
type Operation struct {
	Name    string         `json:"name"`
	Type    string         `json:"type"`
	Payload any            `json:"payload,omitempty"`
	Params  map[string]any `json:"params,omitempty"`
	When    string         `json:"when,omitempty"`
}

// Generate adds operations to the agenda, should this one succeed. They may refer to each other, to this one and to all others.
func (t *Task) Generate(operations ...Operation) {
	t.operations = append(t.operations, operations...)
}

type lastProgress struct {
	Params map[string]json.RawMessage `json:"params"`
}

const checkpointKey = "checkpoint"

// Decode stores the operation's payload in the value that v points to. Its error is permanent.
func (t *Task) Decode(v any) error {
	if err := json.Unmarshal(t.payload, v); err != nil {
		return Permanent(fmt.Errorf("payload: %w", err))
	}
	return nil
}

// Secret returns a secret that the handler's registry entry names, without the line break at its end.
func (t *Task) Secret(name string) (string, error) {
	if t.secretsDir == "" || name != filepath.Base(name) {
		return "", Permanent(fmt.Errorf("the registry entry of this handler names no secret %q", name))
	}
	value, err := os.ReadFile(filepath.Join(t.secretsDir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", Permanent(fmt.Errorf("the registry entry of this handler names no secret %q", name))
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(value), "\n"), "\r"), err
}

// Progress reports how far the operation has come.
func (t *Task) Progress(percent float64, message string) error {
	return t.append(map[string]any{"percent": percent, "message": message})
}

// Checkpoint saves a value for the next attempt, should this one fail: how far it came, or the id of outside work.
func (t *Task) Checkpoint(v any) error {
	return t.append(map[string]any{"params": map[string]any{checkpointKey: v}})
}

// Restore stores the last checkpoint of the attempt before in the value that v points to. It reports whether there was one.
func (t *Task) Restore(v any) (bool, error) {
	saved, ok := t.last.Params[checkpointKey]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(saved, v); err != nil {
		return false, fmt.Errorf("checkpoint: %w", err)
	}
	return true, nil
}

func (t *Task) append(line map[string]any) error {
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	f, err := os.OpenFile(t.progressFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	if _, err := f.Write(append(data, '\n')); err != nil {
		return errors.Join(fmt.Errorf("progress: %w", err), f.Close())
	}
	return f.Close()
}

type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// Permanent marks an error that another attempt would only repeat, such as a payload that makes no sense.
func Permanent(err error) error { return permanent{err} }

// Run performs the operation that the process was started for, and exits. The result of f, any JSON, is the operation's
// result. The context ends when the process is told to stop. An error of f is printed and fails the operation.
func Run(f func(ctx context.Context, t *Task) (any, error)) {
	os.Exit(run(os.Getenv, os.Stderr, f)) //nolint:forbidigo // a handler is told by variables what to do
}

func run(getenv func(string) string, stderr io.Writer, f func(ctx context.Context, t *Task) (any, error)) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := perform(ctx, getenv, f)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(stderr, err) // nowhere else to say it
	if errors.As(err, new(permanent)) {
		return ExitNonRetryable
	}
	return 1
}

func perform(ctx context.Context, getenv func(string) string, f func(ctx context.Context, t *Task) (any, error)) error {
	t, err := load(getenv)
	if err != nil {
		return err
	}
	result, err := f(ctx, t)
	if err != nil {
		return err
	}
	if len(t.operations) > 0 {
		if err := write(getenv("POP_OPERATIONS_FILE"), t.operations); err != nil {
			return fmt.Errorf("operations: %w", err)
		}
	}
	if result == nil {
		return nil
	}
	if err := write(getenv("POP_RESULT_FILE"), result); err != nil {
		return fmt.Errorf("result: %w", err)
	}
	return nil
}

// write leaves a value in a file. Renaming keeps half of it from being taken for the whole.
func write(file string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return Permanent(err)
	}
	if err := os.WriteFile(file+".tmp", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".tmp", file)
}

func load(getenv func(string) string) (*Task, error) {
	t := &Task{
		AgendaID:       getenv("POP_AGENDA_ID"),
		Operation:      getenv("POP_OPERATION"),
		CustomerID:     getenv("POP_CUSTOMER_ID"),
		IdempotencyKey: getenv("POP_IDEMPOTENCY_KEY"),
		WorkDir:        getenv("POP_WORK_DIR"),
		progressFile:   getenv("POP_PROGRESS_FILE"),
		secretsDir:     getenv("POP_SECRETS_DIR"),
	}
	if t.progressFile == "" {
		return nil, errors.New("not started as a handler: POP_PROGRESS_FILE is not set")
	}
	var err error
	if t.Fence, err = strconv.ParseInt(getenv("POP_FENCE"), 10, 64); err != nil {
		return nil, fmt.Errorf("POP_FENCE: %w", err)
	}
	if t.Attempt, err = strconv.Atoi(getenv("POP_ATTEMPT")); err != nil {
		return nil, fmt.Errorf("POP_ATTEMPT: %w", err)
	}
	if t.payload, err = os.ReadFile(getenv("POP_PAYLOAD_FILE")); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if err := readJSON(getenv("POP_PARAMS_FILE"), &t.Params); err != nil {
		return nil, fmt.Errorf("params: %w", err)
	}
	if file := getenv("POP_LAST_PROGRESS_FILE"); file != "" {
		if err := readJSON(file, &t.last); err != nil {
			return nil, fmt.Errorf("last progress: %w", err)
		}
	}
	return t, nil
}

func readJSON(file string, v any) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}
