//go:build unix

package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/pool/registry"
)

// The tests named after a gap fail on what the original does; docs/gaps.md lists them all.

// startLong starts a process that nobody stops but the test's end, with a variable in its environment.
func startLong(t *testing.T, variable string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 1000; :")
	cmd.Env = append(os.Environ(), variable)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

func TestG07_ANewExecutorKillsWhatItsPredecessorLeftBeforeItStartsAnything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "work")
	left := startLong(t, "POP_WORK_DIR="+filepath.Join(root, attemptPrefix)+"7") // its executor and its guardian were killed
	other := startLong(t, "POP_WORK_DIR="+filepath.Join(dir, "elsewhere", attemptPrefix)+"7")
	l, err := New(Config{Root: root, Handlers: script("true"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if len(marked("POP_WORK_DIR="+root)) > 0 {
		t.Error("what the predecessor has left still runs")
	}
	_ = left.Wait()
	if !alive(other.Process.Pid) {
		t.Error("the process of another executor was killed")
	}
}

func TestG07_ANewExecutorWaitsForTheGuardianOfItsPredecessor(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	guardian, err := startGuardian(root) // as if its executor had just been killed
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		l, err := New(Config{Root: root, Handlers: script("true"), Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = l.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	if err := guardian.close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

func TestG08_WhatIsStoppedIsStoppedWithWhatHasLeftItsGroup(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	s := script(fmt.Sprintf(`setsid sh -c 'setsid sleep 1000 & sleep 1000' >/dev/null 2>&1 & echo up > %s; sleep 1000`, pids))
	s.Timeout, s.Grace = 300*time.Millisecond, 50*time.Millisecond
	l := newLauncher(t, s)
	if _, err := l.Launch(t.Context(), task()); err == nil || !strings.Contains(err.Error(), "had not ended") {
		t.Fatalf("Launch = %v", err)
	}
	if left := marked("POP_WORK_DIR=" + l.cfg.Root); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
}

func TestG09_EachProcessSaysWhatItIsPartOf(t *testing.T) {
	t.Parallel()
	tk := task()
	tk.InsightID, tk.Attempt = "media", 3
	got, err := newLauncher(t, script(`sh -c 'tr "\0" "\n" < /proc/self/environ' | grep ^POP_ | sort > env; echo '""' > $POP_RESULT_FILE
for want in POP_AGENDA_ID=a1 POP_OPERATION="op 1" POP_ATTEMPT=3 POP_FENCE=7 POP_CUSTOMER_ID=acme POP_INSIGHT_ID=media; do grep -q "^$want$" env || exit 65; done`)).Launch(t.Context(), tk)
	if err != nil {
		t.Errorf("a process that the handler has started does not know: %s, %v", got, err)
	}
}

func TestG13_AnOperationWhoseProgressCannotBeReadHoldsNoOtherUp(t *testing.T) {
	t.Parallel()
	s := script(`if [ "$(cat $POP_PAYLOAD_FILE)" = 1 ]; then mkfifo $POP_PROGRESS_FILE; else echo '{"percent": 7}' > $POP_PROGRESS_FILE; fi
i=0; while [ $i -lt 40 ] && [ ! -e ../go ]; do sleep 0.1; i=$((i+1)); done; [ -e ../go ]`)
	l := newLauncher(t, s)
	var group sync.WaitGroup
	for _, payload := range []string{"1", "2"} {
		tk := task()
		tk.Operation.Payload = json.RawMessage(payload)
		tk.OnProgress = func(p pool.Progress) {
			if p.Percent == 7 {
				_ = os.WriteFile(filepath.Join(l.cfg.Root, "go"), nil, 0o600)
			}
		}
		group.Go(func() {
			if _, err := l.Launch(t.Context(), tk); err != nil {
				t.Errorf("payload %s: %v", payload, err)
			}
		})
	}
	group.Wait()
}

func TestG19_PayloadsAndProgressAreNotBoundByWhatAnEnvironmentTakes(t *testing.T) {
	t.Parallel()
	tk := task()
	large := `"` + strings.Repeat("x", 5<<20) + `"` // 40 times what Linux takes of one variable
	tk.Operation.Payload = json.RawMessage(large)
	tk.Operation.Params = model.Params{"p": json.RawMessage(large)}
	tk.LastProgress = &model.OperationProgress{AttemptCount: 1, Params: model.Params{"l": json.RawMessage(large)}}
	got, err := newLauncher(t, script(`for f in $POP_PAYLOAD_FILE $POP_PARAMS_FILE $POP_LAST_PROGRESS_FILE; do wc -c < $f; done | paste -sd, | sed 's/.*/[&]/' > $POP_RESULT_FILE`)).Launch(t.Context(), tk)
	var sizes []int
	if err == nil {
		err = json.Unmarshal(got, &sizes)
	}
	if err != nil || len(sizes) != 3 || sizes[0] != len(large) || sizes[1] < len(large) || sizes[2] < len(large) {
		t.Errorf("the handler saw %s bytes, %v", got, err)
	}
}

func TestG20_APayloadArrivesByteByByte(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`$(HOME) $$ $$(POP_FENCE) ${PATH} $POP_FENCE`, "`id` \\\\ \\\" ' % %s %%", "\\u0000 \\n \U0001F600 \\ud83d\\ude00",
	} {
		tk := task()
		tk.Operation.Payload = json.RawMessage(`{ "text":"` + text + `" }`)
		got, err := newLauncher(t, script(`cat $POP_PAYLOAD_FILE > $POP_RESULT_FILE`)).Launch(t.Context(), tk)
		if err != nil || !bytes.Equal(got, tk.Operation.Payload) {
			t.Errorf("payload %s came as %s, %v", tk.Operation.Payload, got, err)
		}
	}
}

func TestG21_AResultMayBeAsLargeAsItsBoundAndIsRefusedInClearWordsBeyond(t *testing.T) {
	t.Parallel()
	write := func(n int) shell {
		return script(fmt.Sprintf(`{ printf '"'; head -c %d /dev/zero | tr '\0' x; printf '"'; } > $POP_RESULT_FILE`, n-2))
	}
	got, err := newLauncher(t, write(DefaultMaxResult)).Launch(t.Context(), task()) // four times what all annotations of a pod may have
	if err != nil || len(got) != DefaultMaxResult {
		t.Errorf("a result of %d bytes: %d, %v", DefaultMaxResult, len(got), err)
	}
	_, err = newLauncher(t, write(DefaultMaxResult+1)).Launch(t.Context(), task())
	if err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes; put what is large where the next operation finds it") {
		t.Errorf("a larger one: %v", err)
	}
}

// withSecrets returns a script that has two secrets: one of a file, with quotes and a second line, and one of a variable.
func withSecrets(t *testing.T, text string) shell {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(`first "line"`+"\nsecond-line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := script(text)
	s.Secrets = map[string]registry.Source{"KEY": {File: file}, "PASSWORD": {Env: "PROCESS_TEST_PASSWORD"}}
	return s
}

func TestG22_SecretsAreFilesOfTheHandlerAndNothingElseHoldsThem(t *testing.T) {
	t.Setenv("PROCESS_TEST_PASSWORD", "hunter22")
	var log bytes.Buffer
	l := newLauncher(t, withSecrets(t, `
[ "$(cat $POP_SECRETS_DIR/PASSWORD)" = hunter22 ] && grep -q second-line $POP_SECRETS_DIR/KEY || exit 65
[ "$(stat -c %a $POP_SECRETS_DIR/KEY 2>/dev/null || echo 600)" = 600 ] || exit 66
env | grep -q -e hunter22 -e second-line && exit 67
cat $POP_SECRETS_DIR/KEY; echo "password: hunter22!"; printf hunter; sleep 0.1; printf '22\n'
echo '{"message": "using hunter22", "params": {"token": "first \"line\""}}' >> $POP_PROGRESS_FILE
echo "second-line hunter22 {hunter22"; exit 1`))
	l.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	tk := task()
	var printed, progress bytes.Buffer
	tk.OnOutput = func(text []byte) { printed.Write(text) }
	tk.OnProgress = func(p pool.Progress) { fmt.Fprintf(&progress, "%+v %s", p, p.Params["token"]) }
	_, err := l.Launch(t.Context(), tk)
	var failure *pool.OperationError
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"the failure": failure.Message + string(failure.Payload), "the output": printed.String(), "the progress": progress.String(), "the log": log.String(),
	} {
		for _, secret := range []string{"hunter2", "first", `"line`, "second"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s holds a secret: %s", what, text)
			}
		}
	}
	// The two lines of one secret may come at once.
	if want := "***\npassword: ***!\n***\n*** *** {***\n"; strings.Replace(printed.String(), "***\n***\np", "***\np", 1) != want {
		t.Errorf("printed %q; want %q", printed.String(), want)
	}
	if !strings.Contains(progress.String(), "using ***") || !strings.HasSuffix(progress.String(), `"***"`) {
		t.Errorf("progress: %s", progress.String())
	}
}

func TestG22_ASecretInAResultFailsTheOperation(t *testing.T) {
	t.Setenv("PROCESS_TEST_PASSWORD", "hunter22")
	for _, result := range []string{`{"a": "hunter22"}`, `"first \"line\""`, `hunter22`} {
		got, err := newLauncher(t, withSecrets(t, `cat > $POP_RESULT_FILE <<'END'
`+result+`
END`)).Launch(t.Context(), task())
		if err == nil || strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), "line") {
			t.Errorf("result %s: %s, %v", result, got, err)
		}
	}
}

func TestG22_ASecretThatCannotBeReadIsNamedWithItsSource(t *testing.T) {
	t.Setenv("PROCESS_TEST_PASSWORD", "abc")
	for want, source := range map[string]registry.Source{
		"secret S: open /no/such/file":                                    {File: "/no/such/file"},
		"secret S: variable PROCESS_TEST_ABSENT is not set":               {Env: "PROCESS_TEST_ABSENT"},
		"secret S: variable PROCESS_TEST_PASSWORD has fewer than 4 chara": {Env: "PROCESS_TEST_PASSWORD"},
		"secret S: file /dev/zero is too large to be a secret":            {File: "/dev/zero"},
	} {
		s := script("true")
		s.Secrets = map[string]registry.Source{"S": source}
		if _, err := newLauncher(t, s).Launch(t.Context(), task()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Launch = %v; want %q", err, want)
		}
	}
}

func TestASecretInALongLineIsMaskedWhereverTheLineIsCut(t *testing.T) {
	t.Parallel()
	m := newMask([]secret{{"S", []byte("0123456789abcdef")}})
	for shift := range 40 {
		o, err := newOutput(m, func([]byte) {})
		if err != nil {
			t.Fatal(err)
		}
		var printed bytes.Buffer
		o.emit = func(text []byte) { printed.Write(text) }
		writer := os.NewFile(uintptr(dup(t, o.write)), "handler")
		o.collect()
		line := strings.Repeat("x", longLine-20+shift) + "0123456789abcdef" + strings.Repeat("y", 2*longLine) + "0123456789abcdef"
		if _, err := writer.WriteString(line); err != nil {
			t.Fatal(err)
		}
		_ = writer.Close()
		<-o.done
		o.close()
		if got := printed.String(); got != strings.ReplaceAll(line, "0123456789abcdef", masked) {
			t.Fatalf("shift %d: %d bytes; want %d with both secrets masked", shift, len(got), len(line)-2*13)
		}
	}
}

func dup(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestG27_AHandlerHasNoCredentialsOfThePuller(t *testing.T) {
	t.Setenv("POP_TOKEN", "the puller's own")
	t.Setenv("KUBECONFIG", "/root/.kube/config")
	_, err := newLauncher(t, script(`env | grep -e POP_TOKEN -e KUBECONFIG && exit 65; exit 0`)).Launch(t.Context(), task())
	if err != nil {
		t.Error(err)
	}
}

func TestLimitsHoldForEachProcess(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		limits registry.Limits
		script string
		want   string // of the failure; none if it is to succeed
	}{
		"CPU":                 {registry.Limits{CPU: time.Second}, `while :; do :; done`, "sh used more CPU time than its limit of 1s"},
		"the size of files":   {registry.Limits{FileSize: 1 << 20}, `head -c 2000000 /dev/zero > big`, "exited with status"},
		"open files":          {registry.Limits{OpenFiles: 16}, `[ "$(ulimit -n)" = 16 ]`, ""},
		"memory":              {registry.Limits{Memory: 64 << 20}, `[ "$(ulimit -d)" = 65536 ]`, ""},
		"memory that is used": {registry.Limits{Memory: 64 << 20}, `head -c 200000000 /dev/zero | tail -c 200000000 | wc -c > size; [ "$(cat size)" = 200000000 ] && exit 0; exit 9`, "exited with status 9"},
		"one that is beyond what the machine allows": {registry.Limits{OpenFiles: 1 << 40}, `true`, "exited with status 126"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := script(tc.script)
			s.Limits = tc.limits
			_, err := newLauncher(t, s).Launch(t.Context(), task())
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Launch = %v; want %q", err, tc.want)
			}
		})
	}
}
