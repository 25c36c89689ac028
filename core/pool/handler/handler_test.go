package handler

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// contract lays out what an executor gives to a handler.
func contract(t *testing.T, payload, lastProgress string) (env map[string]string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	env = map[string]string{
		"POP_PAYLOAD_FILE": write("payload", payload), "POP_PARAMS_FILE": write("params", `{"depth": 3}`),
		"POP_RESULT_FILE": filepath.Join(dir, "result"), "POP_OPERATIONS_FILE": filepath.Join(dir, "operations"), "POP_PROGRESS_FILE": filepath.Join(dir, "progress"),
		"POP_AGENDA_ID": "a1", "POP_OPERATION": "op", "POP_CUSTOMER_ID": "acme", "POP_FENCE": "7", "POP_ATTEMPT": "2",
		"POP_IDEMPOTENCY_KEY": "a1/op/7", "POP_WORK_DIR": dir,
	}
	if lastProgress != "" {
		env["POP_LAST_PROGRESS_FILE"] = write("last", lastProgress)
	}
	return env
}

func perform1(t *testing.T, env map[string]string, f func(context.Context, *Task) (any, error)) (code int, stderr string) {
	t.Helper()
	var out strings.Builder
	code = run(func(name string) string { return env[name] }, &out, f)
	return code, out.String()
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRunGivesTheTaskAndWritesResultAndProgress(t *testing.T) {
	t.Parallel()
	env := contract(t, `{"name": "Ann"}`, `{"percentComplete": 50, "params": {"checkpoint": {"page": 4}}}`)
	code, stderr := perform1(t, env, func(_ context.Context, task *Task) (any, error) {
		var in struct{ Name string }
		var from struct{ Page int }
		if err := task.Decode(&in); err != nil {
			return nil, err
		}
		if ok, err := task.Restore(&from); !ok || err != nil {
			t.Errorf("Restore = %t, %v; want the last checkpoint", ok, err)
		}
		if err := errors.Join(task.Progress(60, "page 5"), task.Checkpoint(map[string]int{"page": 5})); err != nil {
			return nil, err
		}
		want := Task{
			AgendaID: "a1", Operation: "op", CustomerID: "acme", Fence: 7, Attempt: 2, IdempotencyKey: "a1/op/7",
			WorkDir: env["POP_WORK_DIR"], Params: map[string]json.RawMessage{"depth": json.RawMessage("3")},
		}
		if diff := cmp.Diff(want, *task, cmp.FilterPath(func(p cmp.Path) bool {
			name := p.Last().String()
			return name == ".payload" || name == ".last" || name == ".progressFile" || name == ".secretsDir" || name == ".operations"
		}, cmp.Ignore())); diff != "" {
			t.Errorf("task (-want +got):\n%s", diff)
		}
		return map[string]any{"hello": in.Name, "from": from.Page}, nil
	})
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d, stderr %q", code, stderr)
	}
	if got, want := read(t, env["POP_RESULT_FILE"]), `{"from":4,"hello":"Ann"}`; got != want {
		t.Errorf("result %s; want %s", got, want)
	}
	want := `{"message":"page 5","percent":60}` + "\n" + `{"params":{"checkpoint":{"page":5}}}` + "\n"
	if got := read(t, env["POP_PROGRESS_FILE"]); got != want {
		t.Errorf("progress %s; want %s", got, want)
	}
}

func TestGeneratedOperationsAreLeftIfTheTaskSucceeds(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		env := contract(t, `{}`, ``)
		perform1(t, env, func(_ context.Context, task *Task) (any, error) {
			task.Generate(Operation{Name: "part 1", Type: "transcode", Payload: map[string]int{"part": 1}})
			task.Generate(Operation{Name: "join", Type: "join", Params: map[string]any{"dependsOn": "part 1"}, When: "always"})
			if fails {
				return nil, errors.New("not yet")
			}
			return nil, nil
		})
		if _, err := os.Stat(env["POP_OPERATIONS_FILE"]); fails {
			if err == nil {
				t.Error("a failed task has left operations")
			}
			continue
		}
		want := `[{"name":"part 1","type":"transcode","payload":{"part":1}},{"name":"join","type":"join","params":{"dependsOn":"part 1"},"when":"always"}]`
		if got := read(t, env["POP_OPERATIONS_FILE"]); got != want {
			t.Errorf("operations %s; want %s", got, want)
		}
	}
}

func TestRunExitsAsTheFailureDeserves(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		payload string
		f       func(context.Context, *Task) (any, error)
		code    int
		stderr  string
	}{
		"an error":           {`{}`, func(context.Context, *Task) (any, error) { return nil, errors.New("disk on fire") }, 1, "disk on fire"},
		"a permanent error":  {`{}`, func(context.Context, *Task) (any, error) { return nil, Permanent(errors.New("no such codec")) }, ExitNonRetryable, "no such codec"},
		"a payload unlike":   {`[]`, func(_ context.Context, t *Task) (any, error) { return nil, t.Decode(&struct{}{}) }, ExitNonRetryable, "payload: "},
		"a result unlike":    {`{}`, func(context.Context, *Task) (any, error) { return func() {}, nil }, ExitNonRetryable, "result: "},
		"no result":          {`{}`, func(context.Context, *Task) (any, error) { return nil, nil }, 0, ""},
		"no last checkpoint": {`{}`, func(_ context.Context, t *Task) (any, error) { _, err := t.Restore(nil); return nil, err }, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := contract(t, tc.payload, "")
			code, stderr := perform1(t, env, tc.f)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("exit %d, stderr %q; want %d and %q", code, stderr, tc.code, tc.stderr)
			}
			if _, err := os.Stat(env["POP_RESULT_FILE"]); err == nil {
				t.Error("there is a result file")
			}
		})
	}
}

func TestRunSaysSoWhenItIsNotStartedAsAHandler(t *testing.T) {
	t.Parallel()
	code, stderr := perform1(t, nil, func(context.Context, *Task) (any, error) { t.Error("called"); return nil, nil })
	if code != 1 || !strings.Contains(stderr, "not started as a handler") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

func TestASecretIsReadByItsName(t *testing.T) {
	t.Parallel()
	env := contract(t, `{}`, "")
	env["POP_SECRETS_DIR"] = t.TempDir()
	if err := os.WriteFile(filepath.Join(env["POP_SECRETS_DIR"], "KEY"), []byte("value\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stderr := perform1(t, env, func(_ context.Context, task *Task) (any, error) {
		if got, err := task.Secret("KEY"); got != "value" || err != nil {
			t.Errorf("Secret = %q, %v", got, err)
		}
		_, err := task.Secret("OTHER")
		return nil, err
	})
	if code != ExitNonRetryable || !strings.Contains(stderr, `no secret "OTHER"`) {
		t.Errorf("exit %d, stderr %q; want a permanent failure that names the secret", code, stderr)
	}
}
