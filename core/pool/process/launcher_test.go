//go:build unix

package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/pool/registry"
)

// shell is a handler table of one type, a script for sh.
type shell registry.Handler

func (s shell) Lookup(operationType string) (registry.Handler, error) {
	if operationType != "script" {
		return registry.Handler{}, model.Errorf(model.NotFound, "no handler for operation type %q", operationType)
	}
	return registry.Handler(s), nil
}

func script(text string) shell {
	return shell{Command: []string{"/bin/sh", "-c", text}, Timeout: time.Minute, Grace: time.Minute}
}

func newLauncher(t testing.TB, handlers Handlers) *Launcher {
	t.Helper()
	l, err := New(Config{Root: filepath.Join(t.TempDir(), "work"), Handlers: handlers, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(l.cfg.Root, attemptPrefix+"*"))
		if err := errors.Join(err, l.Close()); err != nil {
			t.Error(err)
		}
		if len(left) > 0 {
			t.Errorf("folders left behind: %v", left)
		}
	})
	return l
}

func task() *pool.Task {
	return &pool.Task{
		Lease:     model.Lease{AgendaID: "a1", Fence: 7},
		Agenda:    &model.Agenda{Meta: model.Meta{CustomerID: "acme"}},
		Operation: model.Operation{Name: "op 1", Type: "script", Payload: json.RawMessage(`{"n": 1}`)},
		Attempt:   1,
	}
}

func TestLaunchSpeaksTheHandlerContract(t *testing.T) {
	t.Setenv("PASSED", "passed on")
	t.Setenv("SECRET", "kept")
	s := script(`
env | sort | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= > $POP_WORK_DIR/env
printf '{"payload": %s, "params": %s, "last": %s, "env": "%s", "cwd": "%s"}' \
  "$(cat $POP_PAYLOAD_FILE)" "$(cat $POP_PARAMS_FILE)" "$(cat $POP_LAST_PROGRESS_FILE)" \
  "$(sed "s|$POP_WORK_DIR|DIR|" $POP_WORK_DIR/env | tr '\n' ';')" "$(pwd | sed "s|$POP_WORK_DIR|DIR|")" > $POP_RESULT_FILE`)
	s.Env, s.PassEnv = map[string]string{"OWN": "set"}, []string{"PASSED", "ABSENT"}
	tk := task()
	tk.Operation.Params = model.Params{"k": json.RawMessage(`"v"`)}
	tk.Attempt = 2
	tk.InsightID, tk.Agenda.LinkID, tk.Agenda.CID = "media", "order 7", "c-1"
	tk.LastProgress = &model.OperationProgress{Operation: "op 1", AttemptCount: 1, Params: model.Params{"job": json.RawMessage(`9`)}}
	got, err := newLauncher(t, s).Launch(t.Context(), tk)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{
		"OWN=set", "PASSED=passed on", "PATH=" + os.Getenv("PATH"), "POP_AGENDA_ID=a1", "POP_ATTEMPT=2", "POP_CID=c-1", "POP_CUSTOMER_ID=acme", "POP_FENCE=7",
		"POP_IDEMPOTENCY_KEY=a1/op 1/7", "POP_INSIGHT_ID=media", "POP_LAST_PROGRESS_FILE=DIR/.pop-last-progress.json", "POP_LINK_ID=order 7", "POP_OPERATION=op 1",
		"POP_OPERATIONS_FILE=DIR/.pop-operations.json", "POP_PARAMS_FILE=DIR/.pop-params.json", "POP_PAYLOAD_FILE=DIR/.pop-payload.json", "POP_PROGRESS_FILE=DIR/.pop-progress.jsonl",
		"POP_RESULT_FILE=DIR/.pop-result.json", "POP_WORK_DIR=DIR", "",
	}
	want := map[string]any{
		"payload": map[string]any{"n": 1.0}, "params": map[string]any{"k": "v"},
		"last": map[string]any{
			"operation": "op 1", "processingState": "", "percentComplete": 0.0, "attemptCount": 1.0, "params": map[string]any{"job": 9.0},
		},
		"env": strings.Join(env, ";"), "cwd": "DIR",
	}
	var decoded map[string]any
	if err := json.Unmarshal(got, &decoded); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if diff := cmp.Diff(want, decoded); diff != "" {
		t.Errorf("what the handler saw (-want +got):\n%s", diff)
	}
}

func TestLaunchRunsInTheHandlersWorkDir(t *testing.T) {
	t.Parallel()
	s := script(`printf '"%s"' "$(pwd -P)" > $POP_RESULT_FILE`)
	s.WorkDir = t.TempDir()
	got, err := newLauncher(t, s).Launch(t.Context(), task())
	want, _ := filepath.EvalSymlinks(s.WorkDir)
	if err != nil || string(got) != `"`+want+`"` {
		t.Errorf("ran in %s, %v; want %s", got, err, want)
	}
}

func TestLaunchReturnsWhatTheResultFileHolds(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ script, want string }{
		"no file":           {`true`, ""},
		"an empty file":     {`: > $POP_RESULT_FILE`, ""},
		"blanks":            {`echo > $POP_RESULT_FILE`, ""},
		"JSON":              {`echo '{"a": [1]}' > $POP_RESULT_FILE`, `{"a": [1]}`},
		"output is no JSON": {`echo garbage; echo 3 > $POP_RESULT_FILE; head -c 3000000 /dev/zero`, `3`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := newLauncher(t, script(tc.script)).Launch(t.Context(), task())
			if err != nil || string(got) != tc.want {
				t.Errorf("Launch = %s, %v; want %s", got, err, tc.want)
			}
		})
	}
}

func TestAFailureNamesTheCauseFirstThenTheHandler(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script       string
		message      string
		nonRetryable bool
		payload      string // part of it
	}{
		"exit status":        {`echo starting; echo no such codec >&2; exit 3`, "no such codec (sh exited with status 3)", false, `"exitCode":3,"output":"starting\nno such codec"`},
		"non-retryable":      {`exit 65`, "sh exited with status 65", true, `"exitCode":65`},
		"signal":             {`kill -SEGV $$`, "sh was killed by signal 11 (segmentation fault)", false, `"signal":"segmentation fault"`},
		"garbage as output":  {`head -c 100000 /dev/urandom; echo; echo last; exit 1`, "last (sh exited with status 1)", false, "last"},
		"huge output":        {`yes | head -c 20000000; exit 1`, "y (sh exited with status 1)", false, strings.Repeat(`y\n`, 49) + `y"`},
		"invalid result":     {`echo oops > $POP_RESULT_FILE; echo log`, `sh wrote a result that is not JSON: "oops"; it said last: log`, false, `"exitCode":0`},
		"result too large":   {`head -c 2000000 /dev/zero > $POP_RESULT_FILE`, "sh wrote a result of more than 1048576 bytes", false, ""},
		"result too deep":    {`{ yes [ | head -n 501; yes ] | head -n 501; } > $POP_RESULT_FILE`, "sh wrote a result that is nested deeper than 500 levels", false, ""},
		"result not UTF-8":   {`printf '"\377"' > $POP_RESULT_FILE`, "sh wrote a result that is not UTF-8 at byte 2", false, ""},
		"result a pipe":      {`mkfifo $POP_RESULT_FILE`, "sh left a result that cannot be read: .pop-result.json is not a regular file", false, ""},
		"result a link":      {`ln -s /etc/passwd $POP_RESULT_FILE`, "sh left a result that cannot be read", false, ""},
		"children left":      {`sleep 1000 & sleep 1000 > /dev/null 2>&1 &`, "sh ended before processes that it had started; they were killed", false, ""},
		"child has left too": {`setsid sleep 3 &`, "sh ended, but a process that it had started and that left its process group still held its output; it was killed", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := newLauncher(t, script(tc.script)).Launch(t.Context(), task())
			var f *pool.OperationError
			if !errors.As(err, &f) {
				t.Fatalf("error is %v; want an OperationError", err)
			}
			if !strings.HasPrefix(f.Message, tc.message) {
				t.Errorf("message is %q; want %q first", f.Message, tc.message)
			}
			if got := f.StatusCode == model.StatusNonRetryable; got != tc.nonRetryable {
				t.Errorf("non-retryable is %t", got)
			}
			if !strings.Contains(string(f.Payload), tc.payload) || !strings.Contains(string(f.Payload), `"operation":"op 1"`) || !json.Valid(f.Payload) {
				t.Errorf("payload is %.300s; want the operation and %s", f.Payload, tc.payload)
			}
			if len(f.Payload) > 2*tailBytes {
				t.Errorf("payload has %d bytes", len(f.Payload))
			}
		})
	}
}

func TestARootFolderThatIsLockedForAMomentIsWaitedFor(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "work")
	cfg := Config{Root: root, Handlers: script("true"), Log: slog.New(slog.DiscardHandler)}
	before, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), root+" is in use by another process") {
		t.Errorf("a folder that is in use: %v", err)
	}
	closed := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { closed <- before.Close() }) // as an executor that is killed, and a handler that it was just starting
	after, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(<-closed, after.Close()); err != nil {
		t.Error(err)
	}
}

func TestAnOperationTypeWithoutAHandlerIsLoggedOnce(t *testing.T) {
	t.Parallel()
	l := newLauncher(t, script("true"))
	var log bytes.Buffer
	l.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	for _, operationType := range []string{"other", "script", "other", "third"} {
		tk := task()
		tk.Operation.Type = operationType
		_, _ = l.Launch(t.Context(), tk)
	}
	if got := log.String(); strings.Count(got, "level=WARN") != 2 || strings.Count(got, "type=other ") != 1 || strings.Count(got, "type=third ") != 1 {
		t.Errorf("logged:\n%s", got)
	}
	for i := range maxMissing + 100 {
		tk := task()
		tk.Operation.Type = fmt.Sprint("made up ", i)
		_, _ = l.Launch(t.Context(), tk)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != maxMissing || len(l.missing) != maxMissing {
		t.Errorf("%d types are logged and %d remembered, want %d", n, len(l.missing), maxMissing)
	}
}

func TestAnOperationThatCannotBeStartedFails(t *testing.T) {
	t.Parallel()
	absent := script("")
	absent.Command = []string{"/no/such/handler"}
	nowhere := script("true")
	nowhere.WorkDir = "/no/such/folder"
	for name, tc := range map[string]struct {
		handlers     Handlers
		operation    string
		want         string
		nonRetryable bool
	}{
		"unknown type":   {script(""), "other", `no handler for operation type "other"`, true},
		"no program":     {absent, "script", "handler could not be started: ", false},
		"no work folder": {nowhere, "script", "/no/such/folder", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tk := task()
			tk.Operation.Type = tc.operation
			_, err := newLauncher(t, tc.handlers).Launch(t.Context(), tk)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Launch = %v; want %q", err, tc.want)
			}
			var f *pool.OperationError
			if got := errors.As(err, &f) && f.StatusCode == model.StatusNonRetryable; got != tc.nonRetryable {
				t.Errorf("non-retryable is %t", got)
			}
		})
	}
}

func TestAHandlerThatHangsIsStoppedAtItsTimeout(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		script string
		grace  time.Duration
		output string
	}{
		"it heeds SIGTERM":            {`trap 'echo tidied; exit 0' TERM; echo up; while :; do sleep 0.01; done`, time.Minute, "tidied"},
		"it ignores SIGTERM":          {`trap '' TERM; echo up; while :; do sleep 0.01; done`, 50 * time.Millisecond, "up"},
		"its child heeds SIGTERM":     {`(trap 'sleep 0.2; echo child tidied; exit' TERM; while :; do sleep 0.01; done) & echo up; trap 'exit' TERM; while :; do sleep 0.01; done`, time.Minute, "child tidied"},
		"its child ignores SIGTERM":   {`(trap '' TERM; while :; do sleep 0.01; done) & echo up; trap 'exit' TERM; while :; do sleep 0.01; done`, 50 * time.Millisecond, "up"},
		"it has stopped its own self": {`echo up; kill -STOP $$`, 50 * time.Millisecond, "up"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := script(tc.script)
			s.Timeout, s.Grace = 500*time.Millisecond, tc.grace
			_, err := newLauncher(t, s).Launch(t.Context(), task())
			var f *pool.OperationError
			if !errors.As(err, &f) || !strings.Contains(f.Message, "was stopped because it had not ended after 500ms") {
				t.Fatalf("Launch = %v; want a failure that tells of the timeout", err)
			}
			var d diagnosis
			if err := json.Unmarshal(f.Payload, &d); err != nil || !strings.Contains(d.Output, tc.output) {
				t.Errorf("payload is %s, %v; want %q in its output", f.Payload, err, tc.output)
			}
		})
	}
}

func TestACancelledContextStopsTheHandler(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cause error
		want  string
	}{
		"gracefully":                         {pool.ErrRevoked, `tidied"`},
		"at once if the session is lost":     {pool.ErrSessionLost, `"signal":"killed","output":"up"`},
		"gracefully when the executor stops": {pool.ErrDraining, `tidied"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancelCause(t.Context())
			tk := task()
			// A handler that is being heard has set its trap.
			tk.OnProgress = func(pool.Progress) { cancel(tc.cause) }
			_, err := newLauncher(t, script(`trap 'echo tidied; exit 0' TERM; echo up; echo '{"percent": 1}' >> $POP_PROGRESS_FILE; while :; do sleep 0.01; done`)).Launch(ctx, tk)
			var f *pool.OperationError
			if !errors.As(err, &f) || !strings.Contains(f.Message, "was stopped: "+tc.cause.Error()) {
				t.Fatalf("Launch = %v; want a failure that tells why", err)
			}
			if !strings.Contains(string(f.Payload), tc.want) {
				t.Errorf("payload is %s; want %s", f.Payload, tc.want)
			}
		})
	}
}

func TestProgressIsReportedWhileTheHandlerRunsAndALastTime(t *testing.T) {
	t.Parallel()
	tk := task()
	var mu sync.Mutex
	var got []pool.Progress
	flag := filepath.Join(t.TempDir(), "go")
	tk.OnProgress = func(p pool.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if got = append(got, p); len(got) == 1 {
			if err := os.WriteFile(flag, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	_, err := newLauncher(t, script(`
echo '{"percent": 10, "message": "first", "params": {"job": 1}}' >> $POP_PROGRESS_FILE
while [ ! -e `+flag+` ]; do sleep 0.01; done
{ echo garbage; printf '{"params": {"not UTF-8": "\377"}}\n'; echo '{"percent": 40, "message": "second"}'; echo '{"percent": 50}'; printf '{"percent": 60'; } >> $POP_PROGRESS_FILE`)).Launch(t.Context(), tk)
	if err != nil {
		t.Fatal(err)
	}
	want := []pool.Progress{
		{Percent: 10, Message: "first", Params: model.Params{"job": json.RawMessage("1")}},
		{Percent: 50, Message: "second"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestOfAFloodOfProgressTheEndCounts(t *testing.T) {
	t.Parallel()
	tk := task()
	var last pool.Progress
	tk.OnProgress = func(p pool.Progress) { last = p }
	_, err := newLauncher(t, script(`{ yes '{"percent": 1, "message": "early"}' | head -c 1000000; echo; echo '{"percent": 99}'; } >> $POP_PROGRESS_FILE`)).Launch(t.Context(), tk)
	if err != nil || last.Percent != 99 {
		t.Errorf("last progress %+v, %v; want 99 percent", last, err)
	}
}

func TestG29_TheRootFolderBelongsToOneLauncherWhichTidiesIt(t *testing.T) {
	t.Parallel()
	l := newLauncher(t, script("true"))
	if _, err := New(l.cfg); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second launcher on the same folder = %v; want a refusal", err)
	}

	cfg := Config{Root: t.TempDir(), Handlers: script("true"), Log: slog.New(slog.DiscardHandler)}
	for _, dir := range []string{attemptPrefix + "12", "other"} {
		if err := os.Mkdir(filepath.Join(cfg.Root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	left, err := filepath.Glob(filepath.Join(cfg.Root, "*"))
	if diff := cmp.Diff([]string{filepath.Join(cfg.Root, guardianFile), filepath.Join(cfg.Root, lockFile), filepath.Join(cfg.Root, "other")}, left); diff != "" || err != nil {
		t.Errorf("left in the folder (-want +got):\n%s%v", diff, err)
	}
}

func TestManyHandlersAtOnce(t *testing.T) {
	t.Parallel()
	l := newLauncher(t, script(`cat $POP_PAYLOAD_FILE > $POP_RESULT_FILE`))
	var group sync.WaitGroup
	for range 40 {
		group.Go(func() {
			if got, err := l.Launch(t.Context(), task()); err != nil || string(got) != `{"n": 1}` {
				t.Errorf("Launch = %s, %v", got, err)
			}
		})
	}
	group.Wait()
}

func BenchmarkLaunch(b *testing.B) {
	s := script("")
	s.Command = []string{"/bin/true"}
	l := newLauncher(b, s)
	for b.Loop() {
		if _, err := l.Launch(b.Context(), task()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is what Launch cannot be cheaper than: starting the same program and waiting for it.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}
