package media

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/pool/handler"
)

// attempt is what became of a handler that was run as POP would run it.
type attempt struct {
	status   int
	result   string
	progress []struct{ Percent float64 }
	output   string
}

// perform runs a handler with a payload in a folder of its own.
func perform(t *testing.T, script, path string, payload any) attempt {
	t.Helper()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	text, err := json.Marshal(payload) // which writes <, > and & as escapes
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file("payload"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	whole, err := filepath.Abs(filepath.Join("handlers", script))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), whole)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + path, "POP_PAYLOAD_FILE=" + file("payload"), "POP_RESULT_FILE=" + file("result"), "POP_PROGRESS_FILE=" + file("progress"),
		"POP_WORK_DIR=" + dir, "POP_AGENDA_ID=a1", "POP_CUSTOMER_ID=studio-a",
	}
	output, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	a := attempt{status: cmd.ProcessState.ExitCode(), output: string(output)}
	if result, err := os.ReadFile(file("result")); err == nil {
		a.result = string(result)
	}
	if progress, err := os.ReadFile(file("progress")); err == nil {
		for line := range bytes.Lines(progress) {
			a.progress = append(a.progress, struct{ Percent float64 }{})
			if err := json.Unmarshal(line, &a.progress[len(a.progress)-1]); err != nil {
				t.Errorf("progress %q: %v", line, err)
			}
		}
	}
	return a
}

type object = map[string]any

// film makes a clip by a name that is hard to handle.
func film(t *testing.T, seconds string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), `Ünïted "100%d" <it's> & \ 😀`, "a film.mp4")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25:duration="+seconds, path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a clip: %v\n%s", err, out)
	}
	return path
}

func TestTranscodeTellsHowFarFFmpegIs(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	input := film(t, "8")
	output := filepath.Join(filepath.Dir(input), "new folder", "small.mp4")
	a := perform(t, "transcode.sh", os.Getenv("PATH"), object{"input": input, "output": output, "width": 1280, "maxWidth": "641", "duration": "8.000000"})
	if a.status != 0 {
		t.Fatalf("exit status %d: %s", a.status, a.output)
	}
	last, between := 0.0, 0
	for _, p := range a.progress {
		if p.Percent < last || p.Percent > 100 {
			t.Errorf("%v%% after %v%%", p.Percent, last)
		}
		if last = p.Percent; last > 0 && last < 100 {
			between++
		}
	}
	if between == 0 || last < 90 {
		t.Errorf("progress %v; want some on the way to the end", a.progress)
	}
	var got, want any
	want = object{"file": output, "width": 640.0}
	if err := json.Unmarshal([]byte(a.result), &got); err != nil || !cmp.Equal(want, got) {
		t.Errorf("result %s, error %v; want %v", a.result, err, want)
	}
}

func TestEveryHandlerTakesAnyPath(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	input := film(t, "1")
	dir := filepath.Dir(input)
	video, image, manifest := filepath.Join(dir, "a video.mp4"), filepath.Join(dir, "%d.jpg"), filepath.Join(dir, "the manifest.json")
	for _, step := range []struct {
		script  string
		payload object
	}{
		{"media-info.sh", object{"input": input}},
		{"transcode.sh", object{"input": input, "output": video, "width": 1280, "maxWidth": 64, "duration": 1}},
		{"thumbnail.sh", object{"input": input, "output": image, "width": 1280, "maxWidth": 64, "duration": 0}},
		{"package.sh", object{"title": `a "title"`, "output": manifest, "files": []string{video, image}}},
	} {
		a := perform(t, step.script, os.Getenv("PATH"), step.payload)
		if a.status != 0 || !json.Valid([]byte(a.result)) {
			t.Errorf("%s: exit status %d, result %q: %s", step.script, a.status, a.result, a.output)
		}
	}
	data, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Title   string
		Outputs []media
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	if got.Title != `a "title"` || len(got.Outputs) != 2 || got.Outputs[0].File != "a video.mp4" || got.Outputs[1].File != "%d.jpg" {
		t.Errorf("manifest %s", data)
	}
}

func TestWhatAnotherAttemptCannotMendIsSaidToBeSo(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	dir := t.TempDir()
	text, sound := filepath.Join(dir, "text.mp4"), filepath.Join(dir, "sound.m4a")
	if err := os.WriteFile(text, []byte("this is no video"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=1", sound)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make a sound: %v\n%s", err, out)
	}
	tools := os.Getenv("PATH")
	for name, tc := range map[string]struct {
		script, path string
		payload      object
		want         string
	}{
		"ffprobe is missing":     {"media-info.sh", "/nowhere", object{"input": text}, "ffprobe is not installed where the handlers run; install it: apt-get install ffmpeg"},
		"ffmpeg is missing":      {"transcode.sh", "/nowhere", object{}, "ffmpeg is not installed where the handlers run; install it: apt-get install ffmpeg"},
		"thumbnails need it too": {"thumbnail.sh", "/nowhere", object{}, "ffmpeg is not installed"},
		"packages need it too":   {"package.sh", "/nowhere", object{}, "ffprobe is not installed"},
		"a broken file":          {"media-info.sh", tools, object{"input": text}, "ffprobe cannot read the input: " + text + ": Invalid data found when processing input"},
		"a file that is absent":  {"media-info.sh", tools, object{"input": dir + "/gone.mp4"}, dir + "/gone.mp4: No such file or directory"},
		"a file without video":   {"media-info.sh", tools, object{"input": sound}, "there is no video in " + sound},
		"a relative path":        {"media-info.sh", tools, object{"input": "clips/a.mp4"}, `input is "clips/a.mp4"; it must be a whole path`},
		"an address":             {"media-info.sh", tools, object{"input": "http://127.0.0.1:1/a.mp4"}, "it must be a whole path"},
		"no path":                {"media-info.sh", tools, object{"file": text}, "the payload has no input"},
		"no payload":             {"media-info.sh", tools, nil, "the payload has no input"},
		"a path of two lines":    {"media-info.sh", tools, object{"input": "/a\nb"}, "input holds a line break"},
		"a width in words":       {"transcode.sh", tools, object{"input": text, "output": dir + "/x", "maxWidth": "320; reboot"}, `maxWidth is "320; reboot"; it must be a number`},
		"no files":               {"package.sh", tools, object{"output": dir + "/x", "files": []string{}}, "the payload has no files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := perform(t, tc.script, tc.path, tc.payload)
			lines := strings.Split(strings.TrimSpace(a.output), "\n")
			if last := lines[len(lines)-1]; a.status != handler.ExitNonRetryable || !strings.Contains(last, tc.want) {
				t.Errorf("exit status %d, last line %q; want %d and %q", a.status, last, handler.ExitNonRetryable, tc.want)
			}
		})
	}
}
