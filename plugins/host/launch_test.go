package host_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

func TestPluginThatCannotBeStartedIsRefusedWithAReason(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, mode string
		change     func(t *testing.T, e *host.Entry, o *host.Options)
		code       driver.Code
		says       []string
	}{
		{"a relative path", "serve", func(_ *testing.T, e *host.Entry, _ *host.Options) { e.Path = "plugin" }, driver.Invalid, []string{`"plugin" must be absolute`}},
		{"no such file", "serve", func(_ *testing.T, e *host.Entry, _ *host.Options) { e.Path = "/nowhere/plugin" }, driver.Invalid, []string{"/nowhere/plugin"}},
		{"a folder", "serve", func(t *testing.T, e *host.Entry, _ *host.Options) { e.Path = t.TempDir() }, driver.Invalid, []string{"is no file"}},
		{"no program", "serve", func(t *testing.T, e *host.Entry, _ *host.Options) {
			e.Path = filepath.Join(t.TempDir(), "readme")
			if err := os.WriteFile(e.Path, []byte("read me"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, driver.Invalid, []string{"chmod +x"}},
		{"a program for another machine", "serve", func(t *testing.T, e *host.Entry, _ *host.Options) {
			e.Path = filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(e.Path, []byte("\x7fELF and then nothing"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, driver.Unavailable, []string{"exec format error"}},
		{"another checksum", "serve", func(_ *testing.T, e *host.Entry, _ *host.Options) {
			e.SHA256 = strings.Repeat("0", 64)
		}, driver.Denied, []string{"its sha256 is", "should be 0000", "change the configuration"}},
		{"no checksum at all", "serve", func(_ *testing.T, e *host.Entry, _ *host.Options) { e.SHA256 = "abc" }, driver.Invalid, []string{"64 hexadecimal digits"}},
		{"another version of the protocol", "next protocol", nil, driver.Unsupported, []string{"another version of the protocol", "speaks 1"}},
		{"garbage on standard output", "garbage", nil, driver.Unavailable, []string{"Welcome to the database!", "standard output"}},
		{"a line without end on standard output", "endless line", nil, driver.Unavailable, []string{"standard output"}},
		{"a program that ends", "exit", nil, driver.Unavailable, []string{"no database at db.example.com"}},
		{"a program that says nothing", "say nothing", func(_ *testing.T, _ *host.Entry, o *host.Options) {
			o.StartTimeout = time.Second
		}, driver.Unavailable, []string{"within the time it has to start"}},
		{"a program that asks something and waits", "ask", func(_ *testing.T, _ *host.Entry, o *host.Options) {
			o.StartTimeout = time.Second
		}, driver.Unavailable, []string{"within the time it has to start"}},
		{"a program that says where it listens, and never answers there", "never answer", func(_ *testing.T, _ *host.Entry, o *host.Options) {
			o.StartTimeout = 2 * time.Second
		}, driver.Unavailable, []string{"not ready within 2s"}},
		{"a plugin that never opens its drivers", "hang in open", func(_ *testing.T, _ *host.Entry, o *host.Options) {
			o.StartTimeout = 3 * time.Second
		}, driver.Unavailable, []string{"not ready within 3s"}},
		{"a plugin that cannot open its drivers", "refuse to open", nil, driver.Denied, []string{"give it the permission dynamodb:GetItem"}},
		{"a service that it has not", "poor", func(_ *testing.T, e *host.Entry, _ *host.Options) {
			e.Services = []driver.Service{driver.QueueService}
		}, driver.Unsupported, []string{"has no queue, only [store]"}},
		{"64 MB of configuration", "serve", func(_ *testing.T, e *host.Entry, _ *host.Options) {
			e.Config = bytes.Join([][]byte{[]byte(`{"a":"`), bytes.Repeat([]byte("x"), 64<<20), []byte(`"}`)}, nil)
		}, driver.Internal, []string{"the limit is 1048576"}},
		{"folder for sockets of others", "serve", func(t *testing.T, _ *host.Entry, o *host.Options) {
			o.RunDir = t.TempDir()
			if err := os.Chmod(o.RunDir, 0o755); err != nil {
				t.Fatal(err)
			}
		}, driver.Denied, []string{"mode 0700", "TMPDIR"}},
		{"folder for sockets with a long path", "serve", func(t *testing.T, _ *host.Entry, o *host.Options) {
			o.RunDir = filepath.Join(t.TempDir(), strings.Repeat("long", 30))
		}, driver.Invalid, []string{"too long a path for a Unix socket", "TMPDIR"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := tryStart(t, tt.mode, func(e *host.Entry, o *host.Options) {
				if tt.change != nil {
					tt.change(t, e, o)
				}
			})
			if err == nil {
				_ = p.Close(t.Context())
				t.Fatal("it was started")
			}
			if driver.CodeOf(err) != tt.code {
				t.Errorf("%v: is %s, want %s", err, driver.CodeOf(err), tt.code)
			}
			for _, s := range append(tt.says, "plugin test") {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %q does not say %q", err, s)
				}
			}
		})
	}
}

func TestPluginThatIsRefusedLeavesNoProcess(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"say nothing", "hang in open", "garbage", "parent"} {
		log := &record{level: -4}
		_, err := tryStart(t, mode, func(e *host.Entry, o *host.Options) {
			o.StartTimeout, o.Log = 2*time.Second, log.logger()
			if mode == "parent" {
				e.Services = []driver.Service{"nothing"}
			}
		})
		if err == nil {
			t.Fatalf("%s: it was started", mode)
		}
		pid := pidOf(t, log.await(t, "plugin started"))
		eventually(t, mode+": the process is gone", func() bool { return errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) })
	}
}

func TestConfigurationIsCheckedAgainstTheSchemaWithAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := tryStart(t, "demanding", func(e *host.Entry, _ *host.Options) {
		e.Config = []byte(`{"tabel": "runs", "pages": "many", "password": 12345, "replicas": [{"host": "a"}, {"host": 1, "port": 2}]}`)
	})
	var bad *host.ConfigError
	if !errors.As(err, &bad) {
		t.Fatalf("%v, want a ConfigError", err)
	}
	want := []host.Problem{
		{Path: "table", Message: "it is missing (name of the table)"},
		{Path: "region", Message: "it is missing (where it is)"},
		{Path: "pages", Message: "it must be of type integer"},
		{Path: "password", Message: "it must be of type string"},
		{Path: "replicas[1].host", Message: "it must be of type string"},
		{Path: "replicas[1].port", Message: "there is no such setting; there are host"},
		{Path: "tabel", Message: "there is no such setting; there are pages, password, region, replicas, table"},
	}
	if diff := cmp.Diff(want, bad.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if strings.Contains(err.Error(), "12345") {
		t.Errorf("error %q shows a secret", err)
	}
	start(t, "demanding", func(e *host.Entry, _ *host.Options) {
		e.Config = []byte(`{"table": "runs", "region": "here", "password": "secret", "replicas": [{"host": "a"}]}`)
	})
}

func TestPluginGetsOnlyTheVariablesThatItIsAllowed(t *testing.T) {
	t.Setenv("POP_TEST_ALLOWED", "for the plugin")
	t.Setenv("POP_TEST_FORBIDDEN", "for the host")
	p := start(t, "", func(e *host.Entry, o *host.Options) {
		e.Env = []string{modeEnv, "POP_TEST_ALLOWED", "POP_TEST_NOT_SET"}
		o.LookupEnv = func(name string) (string, bool) {
			if name == modeEnv {
				return "env", true
			}
			return os.LookupEnv(name)
		}
	})
	_, err := get(t.Context(), must(t, p.Store), "a")
	wantError(t, err, driver.Denied, driver.NotApplied, "POP_TEST_ALLOWED=for the plugin")
	for _, forbidden := range []string{"FORBIDDEN", "NOT_SET", "HOME=", "PATH="} {
		if strings.Contains(err.Error(), forbidden) {
			t.Errorf("the plugin sees %s", forbidden)
		}
	}
}

func TestSocketsAreClearedAway(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "pop") //nolint:usetesting // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	stale := filepath.Join(dir, "4194305-1") // no process has this number
	if err := os.Mkdir(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	p := start(t, "serve", func(_ *host.Entry, o *host.Options) { o.RunDir = dir })
	sockets, err := filepath.Glob(dir + "/*/*")
	if err != nil || len(sockets) != 1 {
		t.Errorf("sockets %v, %v; want the one of the plugin", sockets, err)
	}
	if _, err := os.Stat(stale); err == nil {
		t.Error("the folder of a host that is gone is still there")
	}
	kill(t, p, syscall.SIGKILL)
	awaitStarts(t, p, 2)
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v was left, %v", left, err)
	}
}

// kill sends a signal to the process of a plugin.
func kill(t *testing.T, p *host.Plugin, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(p.Status().PID, signal); err != nil {
		t.Fatal(err)
	}
}

// awaitStarts waits until the n-th process of a plugin is ready.
func awaitStarts(t *testing.T, p *host.Plugin, n int) {
	t.Helper()
	eventually(t, "another process is ready", func() bool { s := p.Status(); return s.Starts >= n && s.State == host.Ready })
}

func TestLinkedInPluginGoesThroughTheSameChecks(t *testing.T) {
	t.Parallel()
	e := host.Entry{Name: "linked", Services: []driver.Service{driver.StoreService}, Config: []byte(`{"region": 1}`)}
	_, err := host.Link(t.Context(), demanding, e, host.Options{})
	var bad *host.ConfigError
	if !errors.As(err, &bad) || len(bad.Problems) != 2 {
		t.Errorf("%v, want a ConfigError with two problems", err)
	}
	e.Services = []driver.Service{driver.QueueService}
	if _, err := host.Link(t.Context(), demanding, e, host.Options{}); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("%v, want Unsupported", err)
	}
	p, err := host.Link(t.Context(), memory, host.Entry{Name: "linked", Services: []driver.Service{driver.StoreService}}, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := must(t, p.Store)
	migrate(t, s)
	if err := write(t.Context(), s, put("a", []byte("1"))); err != nil {
		t.Error(err)
	}
	if _, err := p.Queue(); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("%v, want Unsupported", err)
	}
	if err := p.CheckHealth(t.Context()); err != nil {
		t.Error(err)
	}
	if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	if err := write(t.Context(), s, put("b", nil)); driver.CodeOf(err) != driver.Unavailable {
		t.Errorf("after Close: %v, want Unavailable", err)
	}
}
