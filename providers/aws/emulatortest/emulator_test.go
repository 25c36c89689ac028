package emulatortest

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/pop-platform/pop/providers/aws"
)

// installed is where make emulators puts them.
const installed = "../../../bin/emulators"

// listening is how emulators name the address that they were given.
var listening = regexp.MustCompile(`127\.0\.0\.1:[1-9]\d*`)

// start starts an emulator, by a program and its arguments, and returns its URL.
func start(t *testing.T, program string, args ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(installed, program))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(stop)
	cmd := exec.CommandContext(ctx, path, args...)
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatalf("an emulator is missing, run make emulators: %v", err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	defer time.AfterFunc(2*time.Minute, stop).Stop()
	var said strings.Builder
	for lines := bufio.NewScanner(output); lines.Scan(); said.WriteString(lines.Text() + "\n") {
		if addr := listening.FindString(lines.Text()); addr != "" {
			go func() { _, _ = io.Copy(io.Discard, output) }() // it would wait for a reader
			return "http://" + addr
		}
	}
	t.Fatalf("%s ended, or was ended after two minutes, and did not listen:\n%s", program, said.String())
	return ""
}

var options = aws.Options{Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}

// number tells the tables and queues of the tests apart.
var number atomic.Int64
