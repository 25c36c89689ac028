// Package media tests the media example: it types what README.md says and looks at the files that come out.
package media

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pop-platform/pop/core/model"
)

func TestReadmeAsTyped(t *testing.T) {
	t.Parallel()
	needFFmpeg(t)
	// A clone in a folder whose name has a space.
	root := filepath.Join(t.TempDir(), "a clone")
	example := filepath.Join(root, "examples", "media")
	if err := os.CopyFS(example, os.DirFS(".")); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(example, "work")
	if err := os.RemoveAll(work); err != nil { // of somebody who has tried the example here
		t.Fatal(err)
	}
	env := []string{"PATH=" + buildPop(t) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir()}

	start, script := readme(t)
	server := startServer(t, root, append(env, "POP_ADDR=127.0.0.1:0"), start)
	env = append(env, "POP_SERVER="+server.url)
	typed := exec.CommandContext(t.Context(), "bash", "-c", "trap 'echo \"FAILED: $BASH_COMMAND\"' ERR\n"+script+"\necho \"id: $id\"")
	typed.Dir, typed.Env = root, env
	printed, err := typed.CombinedOutput()
	output := string(printed)
	t.Logf("typed:\n%s", output)
	if err != nil {
		t.Fatal(err)
	}

	if got := regexp.MustCompile("(?m)^FAILED: .*").FindAllString(output, -1); !cmp.Equal(got, []string{"FAILED: pop agenda watch $id"}) {
		t.Errorf("commands that failed: %q; only watching the broken clip may", got)
	}
	beforeMended, afterMended, _ := strings.Cut(output, "FAILED: ")
	const diagnosis = `operation "storyInfo": .*ffprobe cannot read the input: .*/clips/story\.mp4: Invalid data found when processing input`
	for text, where := range map[string]string{beforeMended: "pop agenda watch", afterMended: "pop agenda get"} {
		if !regexp.MustCompile(diagnosis).MatchString(text) {
			t.Errorf("%s of the broken clip does not say %s", where, diagnosis)
		}
	}

	out := filepath.Join(work, "out")
	video := func(width, height int, seconds float64) media {
		return media{File: "video.mp4", Codec: "h264", Width: width, Height: height, Duration: seconds}
	}
	thumbnail := func(width, height int) media {
		return media{File: "thumbnail.jpg", Codec: "mjpeg", Width: width, Height: height}
	}
	// Each row is a folder of outputs. Sizes keep the clips' shapes; no output is wider than its clip.
	for _, want := range []struct {
		dir, customer string
		outputs       []media
	}{
		{"studio-a/director's cut", "studio-a", []media{video(320, 180, 6), thumbnail(160, 90)}},
		{"studio-a/landscape", "studio-a", []media{video(320, 180, 4), thumbnail(160, 90)}},
		{"studio-b/portrait", "studio-b", []media{video(270, 480, 3), thumbnail(160, 284)}},
		{"studio-b/square", "studio-b", []media{video(240, 240, 2), thumbnail(160, 160)}},
		{"news/story", "news", []media{video(320, 180, 5), thumbnail(160, 90)}},
		{"by-hand", "studio-b", []media{video(120, 120, 2), thumbnail(160, 160)}},
		{"bulletin", "news", []media{
			{File: "opener.mp4", Codec: "h264", Width: 320, Height: 180, Duration: 2},
			{File: "story.mp4", Codec: "h264", Width: 640, Height: 360, Duration: 5},
			{File: "poster.jpg", Codec: "mjpeg", Width: 480, Height: 270},
		}},
	} {
		t.Run(want.dir, func(t *testing.T) {
			t.Parallel()
			checkOutputs(t, filepath.Join(out, want.dir), want.customer, want.outputs)
		})
	}

	checkAgendas(t, root, env)
	_, id, _ := strings.Cut(strings.TrimSpace(output), "\nid: ")
	checkRerun(t, root, env, id)
	server.stop()
}

// checkAgendas checks to which insights the agendas of all customers were bound, and that they have succeeded.
func checkAgendas(t *testing.T, dir string, env []string) {
	t.Helper()
	var agendas []model.AgendaProgress
	pop(t, dir, env, &agendas, "agenda", "list")
	got := map[string]int{}
	for _, a := range agendas {
		got[fmt.Sprintf("%s %s %s", a.CustomerID, a.AgendaInsight.InsightID, a.Outcome)]++
	}
	want := map[string]int{
		"studio-a transcoding succeeded": 2,
		"studio-b transcoding succeeded": 3,
		"news transcoding succeeded":     1,
		"news bulletins succeeded":       3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("agendas (-want +got):\n%s", diff)
	}
}

// checkRerun checks that of the agenda that failed in storyInfo nothing else was run twice, and that nothing was tried in vain.
func checkRerun(t *testing.T, dir string, env []string, id string) {
	t.Helper()
	var shown struct {
		Progress model.AgendaProgress `json:"progress"`
	}
	pop(t, dir, env, &shown, "agenda", "get", id)
	got := map[string]int{}
	for _, op := range shown.Progress.Operations {
		got[op.Operation] = op.AttemptCount
	}
	want := map[string]int{"openerInfo": 1, "storyInfo": 2, "opener": 1, "story": 1, "poster": 1, "bulletin": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("attempts of the operations of the agenda that was continued (-want +got):\n%s", diff)
	}
}

// media is what a manifest and ffprobe say of a file.
type media struct {
	File     string  `json:"file"`
	Size     int     `json:"size"`
	SHA256   string  `json:"sha256"`
	Codec    string  `json:"codec"`
	Width    int     `json:"width"`
	Height   int     `json:"height"`
	Duration float64 `json:"duration"`
}

// tolerance of durations: audio comes in frames of its own, and may end a little after the picture.
var tolerance = cmpopts.EquateApprox(0, 0.1)

// checkOutputs checks the files of a folder, and that its manifest says of them what is true.
func checkOutputs(t *testing.T, dir, customer string, want []media) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		AgendaID, CustomerID, Title string
		Outputs                     []media
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatalf("manifest: %v", err)
	}
	if manifest.AgendaID == "" || manifest.CustomerID != customer || manifest.Title == "" {
		t.Errorf("manifest of %+v; want one of customer %s with agendaId and title", manifest, customer)
	}
	if diff := cmp.Diff(want, manifest.Outputs, tolerance, cmpopts.IgnoreFields(media{}, "Size", "SHA256")); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	names := []string{"manifest.json"}
	for _, listed := range manifest.Outputs {
		names = append(names, listed.File)
		if diff := cmp.Diff(inspect(t, dir, listed.File), listed, tolerance); diff != "" {
			t.Errorf("the file is otherwise than the manifest says (-file +manifest):\n%s", diff)
		}
	}
	var found []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		found = append(found, e.Name())
	}
	if diff := cmp.Diff(names, found, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("files in %s (-want +got):\n%s", dir, diff)
	}
}

// inspect returns what is true of a file.
func inspect(t *testing.T, dir, name string) media {
	t.Helper()
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	m := media{File: name, Size: len(data), SHA256: hex.EncodeToString(sum[:])}
	if filepath.Ext(name) == ".jpg" {
		image, err := jpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		m.Codec, m.Width, m.Height = "mjpeg", image.Bounds().Dx(), image.Bounds().Dy()
		return m
	}
	var probed struct {
		Streams []struct {
			Codec         string `json:"codec_name"`
			Width, Height int
		}
		Format struct{ Duration string }
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-of", "json", "-show_streams", "-show_format", path).Output()
	if err == nil {
		err = json.Unmarshal(out, &probed)
	}
	if err != nil || len(probed.Streams) != 2 || probed.Streams[1].Codec != "aac" {
		t.Fatalf("%s: %v, streams %+v; want a video and an aac one", path, err, probed.Streams)
	}
	m.Codec, m.Width, m.Height = probed.Streams[0].Codec, probed.Streams[0].Width, probed.Streams[0].Height
	if m.Duration, err = strconv.ParseFloat(probed.Format.Duration, 64); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

// readme returns what README.md says to type: the command that starts the server, and all others.
func readme(t *testing.T) (start, script string) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	// What is marked shell, rather than sh, installs and builds.
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllSubmatch(text, -1) {
		if commands := string(block[1]); strings.HasPrefix(commands, "pop dev ") {
			start = commands
		} else {
			script += commands
		}
	}
	if start == "" || !strings.Contains(script, "run.sh") || !strings.Contains(script, "rerun $id") {
		t.Fatalf("README.md no longer says how to start a server, run the example and continue an agenda:\n%s%s", start, script)
	}
	return start, script
}

// pop runs a command of pop and decodes what it prints.
func pop(t *testing.T, dir string, env []string, into any, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{"-c", `exec pop "$@" -o json`, "pop"}, args...)...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("pop %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// server is a running pop dev.
type server struct {
	t   *testing.T
	url string
	cmd *exec.Cmd
	log bytes.Buffer // to be read when it has ended
	end func() error
}

// startServer runs the command that starts the server and waits until it listens.
func startServer(t *testing.T, dir string, env []string, command string) *server {
	t.Helper()
	// It outlives t's context, which ends before the cleanup.
	s := &server{t: t, cmd: exec.CommandContext(context.WithoutCancel(t.Context()), "bash", "-c", "exec "+command)}
	s.cmd.Dir, s.cmd.Env, s.cmd.Stderr = dir, env, &s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	listens := lines.Scan()
	s.end = sync.OnceValue(func() error {
		for lines.Scan() { // to the end of its output, as Wait demands
		}
		return s.cmd.Wait()
	})
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		_ = s.end()
		if t.Failed() {
			t.Logf("log of pop dev:\n%s", &s.log)
		}
	})
	_, rest, found := strings.Cut(lines.Text(), "listening on ")
	if !listens || !found {
		t.Fatalf("pop dev says %q and not where it listens", lines.Text())
	}
	s.url, _, _ = strings.Cut(rest, ",")
	return s
}

// stop ends the server as Ctrl-C does. It must not have complained.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
	if err := s.end(); err != nil {
		s.t.Errorf("pop dev: %v", err)
	}
	if log := s.log.String(); strings.Contains(log, "level=ERROR") {
		s.t.Errorf("pop dev logged errors")
	}
}

// buildPop returns the folder of a freshly built pop.
func buildPop(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../../cmd/pop").CombinedOutput(); err != nil {
		t.Fatalf("build pop: %v\n%s", err, out)
	}
	return dir
}

func needFFmpeg(t *testing.T) {
	t.Helper()
	for _, program := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v; the example transcodes real files: apt-get install ffmpeg (Debian, Ubuntu), brew install ffmpeg (macOS)", err)
		}
	}
}
