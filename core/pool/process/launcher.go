//go:build unix

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/pool/handler"
	"github.com/pop-platform/pop/core/pool/registry"
)

// DefaultMaxResult is the largest result of an operation, in bytes, if the configuration names none.
const DefaultMaxResult = 1 << 20

const (
	// maxOperations is the largest list of operations that a handler may add to its agenda, in bytes.
	maxOperations = 2 << 20
	// linger is how long processes that a handler started may outlive it, as those of a shell's pipe do for a moment.
	linger = time.Second
	// progressInterval is how often the progress file of a running handler is read.
	progressInterval = 250 * time.Millisecond
)

// Handlers says how to run an operation type. [registry.Registry] is one.
type Handlers interface {
	Lookup(operationType string) (registry.Handler, error)
}

// Config is the configuration of a [Launcher].
type Config struct {
	// Root is the folder for the attempts' own folders. It belongs to one launcher at a time, which removes what an earlier
	// one left behind.
	Root      string
	Handlers  Handlers
	MaxResult int64 // largest result in bytes; default DefaultMaxResult
	Log       *slog.Logger
}

// Launcher is a [pool.Launcher] that runs operations as processes of this machine.
type Launcher struct {
	cfg      Config
	lock     *os.File
	attempts atomic.Int64

	mu       sync.Mutex
	guardian *guardian
	missing  map[string]bool // operation types without a handler that were logged
}

// maxMissing bounds the operation types without a handler that are logged, as whoever submits an agenda may name any.
const maxMissing = 500

// isNews reports whether it is worth a line in the log that an operation type has no handler.
func (l *Launcher) isNews(operationType string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.missing[operationType] || len(l.missing) >= maxMissing {
		return false
	}
	l.missing[operationType] = true
	return true
}

// New returns a launcher. It must be closed.
func New(cfg Config) (*Launcher, error) {
	if cfg.MaxResult == 0 {
		cfg.MaxResult = DefaultMaxResult
	}
	root, err := filepath.Abs(cfg.Root) // handlers may run in another folder
	if err != nil {
		return nil, fmt.Errorf("process launcher: %w", err)
	}
	cfg.Root = root
	lock, err := claimRoot(root)
	if err != nil {
		return nil, fmt.Errorf("process launcher: %w", err)
	}
	guardian, err := startGuardian(root)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("process launcher: start guardian: %w", err), lock.Close())
	}
	return &Launcher{cfg: cfg, lock: lock, guardian: guardian, missing: map[string]bool{}}, nil
}

// Close kills what still runs and releases the root folder. No Launch may follow or be under way.
func (l *Launcher) Close() error {
	return errors.Join(l.guardian.close(), l.lock.Close())
}

// guard returns the guardian, or a new one if somebody has killed it.
func (l *Launcher) guard() (*guardian, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.guardian.alive() {
		l.cfg.Log.Error("the guardian of the handlers has ended, another one is started", "error", l.guardian.err)
		g, err := startGuardian(l.cfg.Root)
		if err != nil {
			return nil, fmt.Errorf("start guardian: %w", err)
		}
		_ = l.guardian.pipe.Close() // nobody reads it
		l.guardian = g
	}
	return l.guardian, nil
}

// Launch runs the handler of the task's operation and returns what it left in its result file.
func (l *Launcher) Launch(ctx context.Context, task *pool.Task) (json.RawMessage, error) {
	h, err := l.cfg.Handlers.Lookup(task.Operation.Type)
	if err != nil {
		if l.isNews(task.Operation.Type) {
			l.cfg.Log.Warn("an operation type has no handler here; its operations fail", "type", task.Operation.Type,
				"agenda", task.AgendaID, "operation", task.Operation.Name, "error", err)
		}
		return nil, pool.NonRetryable("%v", err)
	}
	files := attemptFiles{dir: filepath.Join(l.cfg.Root, fmt.Sprintf("%s%d", attemptPrefix, l.attempts.Add(1)))}
	defer func() {
		if err := files.remove(); err != nil {
			l.cfg.Log.Warn("folder of an attempt not removed", "folder", files.dir, "error", err)
		}
	}()
	secrets, err := readSecrets(h.Secrets)
	if err != nil {
		return nil, fmt.Errorf("prepare handler: %w", err)
	}
	if err := files.write(task, secrets); err != nil {
		return nil, fmt.Errorf("prepare handler: %w", err)
	}

	mask := newMask(secrets)
	end, err := l.run(ctx, h, task, files, mask)
	if err != nil {
		return nil, fmt.Errorf("%s could not be started: %w", filepath.Base(h.Command[0]), err)
	}
	what := end.verdict(h)
	if what == "" {
		result, err := files.result(l.cfg.MaxResult)
		var generated []model.Operation
		var written json.RawMessage
		if err == nil {
			generated, written, err = files.operations(maxOperations)
		}
		switch {
		case err != nil:
			what = mask.text(err.Error())
		case mask.in(result):
			what = "wrote a result that holds one of its secrets"
		case mask.in(written):
			what = "adds an operation that holds one of its secrets"
		default:
			task.Generate(generated...)
			return result, nil
		}
	}
	return nil, end.failure(task, h, what, mask)
}

var errTimeout = errors.New("timed out")

// run starts the handler and returns when no process of it is left.
func (l *Launcher) run(ctx context.Context, h registry.Handler, task *pool.Task, files attemptFiles, mask *mask) (*ending, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, errTimeout)
	defer cancel()
	output, err := newOutput(mask, task.Print)
	if err != nil {
		return nil, err
	}
	defer output.close()

	guardian, err := l.guard()
	if err != nil {
		return nil, err
	}

	end := &ending{output: output}
	killAt := time.Time{}
	cmd := exec.CommandContext(ctx, h.Command[0], h.Command[1:]...)
	cmd.Dir = h.WorkDir
	if cmd.Dir == "" {
		cmd.Dir = files.dir
	}
	cmd.Env = environment(h, task, files)
	cmd.Stdout, cmd.Stderr = output.write, output.write
	cmd.WaitDelay = h.Grace
	cmd.Cancel = func() error {
		sig := syscall.SIGTERM
		if errors.Is(context.Cause(ctx), pool.ErrSessionLost) {
			sig = syscall.SIGKILL
		}
		err := syscall.Kill(-cmd.Process.Pid, sig)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		end.cause, killAt = context.Cause(ctx), time.Now().Add(h.Grace)
		return err
	}
	if _, err := os.Stat(cmd.Dir); err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(cmd.Path); err != nil {
		return nil, err
	}
	guardian.guard(cmd, h.Limits)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	output.collect()
	stopProgress := followProgress(files.progressFile(), task, mask, l.cfg.Log)

	_ = cmd.Wait() // its error repeats what the state and the cause say
	end.state = cmd.ProcessState
	if killAt.IsZero() {
		killAt = time.Now().Add(linger)
	}
	end.leftovers = !groupEnds(pid, killAt)
	guardian.forget(pid)
	if end.cause != nil { // what has left the group is to be stopped as well
		killMarked(files.variable() + "\x00")
	}
	if end.escaped = !output.ends(); end.escaped {
		killMarked(files.variable() + "\x00")
	}
	stopProgress()
	return end, nil
}

// groupEnds waits for the processes of a group to end, kills them when it is time, and reports whether they ended by themselves.
func groupEnds(pgid int, killAt time.Time) bool {
	var ticker *time.Ticker
	for groupAlive(pgid) {
		if !time.Now().Before(killAt) {
			_ = syscall.Kill(-pgid, syscall.SIGKILL) // if it fails, the group has just ended
			return false
		}
		if ticker == nil {
			ticker = time.NewTicker(5 * time.Millisecond)
			defer ticker.Stop()
		}
		<-ticker.C
	}
	return true
}

func groupAlive(pgid int) bool {
	// An executor that is a container's first process inherits orphans and must reap them.
	for {
		if pid, err := syscall.Wait4(-pgid, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
			break
		}
	}
	return !errors.Is(syscall.Kill(-pgid, 0), syscall.ESRCH)
}

// ending is how a handler ended.
type ending struct {
	state     *os.ProcessState
	cause     error // why it was told to stop; nil if it was not
	leftovers bool  // processes of its group had to be killed
	escaped   bool  // a process outside of its group kept its output open
	output    *output
}

// verdict returns what is wrong with the ending, or nothing.
func (e *ending) verdict(h registry.Handler) string {
	status, _ := e.state.Sys().(syscall.WaitStatus)
	switch {
	case errors.Is(e.cause, errTimeout):
		return fmt.Sprintf("was stopped because it had not ended after %s", h.Timeout)
	case e.cause != nil:
		return fmt.Sprintf("was stopped: %v", e.cause)
	case status.Signaled() && exceeded(status.Signal(), h.Limits) != "":
		return exceeded(status.Signal(), h.Limits)
	case status.Signaled():
		return fmt.Sprintf("was killed by signal %d (%s)", status.Signal(), status.Signal())
	case !e.state.Success():
		return fmt.Sprintf("exited with status %d", e.state.ExitCode())
	case e.leftovers:
		return "ended before processes that it had started; they were killed"
	case e.escaped:
		return "ended, but a process that it had started and that left its process group still held its output; it was killed"
	}
	return ""
}

// failedByItself reports whether the handler ended with a status that says that it failed.
func (e *ending) failedByItself() bool {
	status, _ := e.state.Sys().(syscall.WaitStatus)
	return e.cause == nil && status.Exited() && status.ExitStatus() != 0
}

// diagnosis is the payload of a failure's diagnostic event.
type diagnosis struct {
	Operation string   `json:"operation"`
	Handler   []string `json:"handler"`
	ExitCode  *int     `json:"exitCode,omitempty"`
	Signal    string   `json:"signal,omitempty"`
	Output    string   `json:"output,omitempty"`
}

func (e *ending) failure(task *pool.Task, h registry.Handler, what string, mask *mask) *pool.OperationError {
	d := diagnosis{Operation: task.Operation.Name, Output: e.output.tail()}
	for _, arg := range h.Command {
		d.Handler = append(d.Handler, mask.text(arg))
	}
	if status, _ := e.state.Sys().(syscall.WaitStatus); status.Signaled() {
		d.Signal = status.Signal().String()
	} else {
		code := e.state.ExitCode()
		d.ExitCode = &code
	}
	f := &pool.OperationError{DiagnosticEvent: model.DiagnosticEvent{Message: filepath.Base(h.Command[0]) + " " + what}}
	switch last := lastLine(d.Output); {
	case last == "":
	case e.failedByItself(): // and so the last that it said is why
		f.Message = last + " (" + f.Message + ")"
	default:
		f.Message += "; it said last: " + last
	}
	if e.cause == nil && e.state.ExitCode() == handler.ExitNonRetryable {
		f.StatusCode = model.StatusNonRetryable
	}
	f.Payload, _ = json.Marshal(d) // strings and a number: cannot fail
	return f
}

// lastLine returns the last line that is not blank, shortened.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	line := strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
	if len(line) > 200 {
		line = strings.ToValidUTF8(line[:200], "") + "..."
	}
	return line
}
