package host_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-plugin"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/plugins/sdk"
)

// modeEnv makes this test binary a plugin that behaves in some way, or a host. The name it is called by does too.
const modeEnv = "POP_TEST_MODE"

// modes are what this test binary can be instead of a test.
var modes = map[string]func(){
	"serve":           func() { sdk.Serve(memory) },
	"serve version 2": func() { second := memory; second.Version = "2.0.0"; sdk.Serve(second) },
	"poor":            func() { sdk.Serve(poor) },
	"slow":            func() { sdk.Serve(slow) },
	"panic":           func() { sdk.Serve(panics) },
	"die in a write":  func() { sdk.Serve(dies) },
	"env":             func() { sdk.Serve(environment) },
	"demanding":       func() { sdk.Serve(demanding) },
	"refuse to open":  func() { sdk.Serve(refuses) },
	"hang in open":    func() { sdk.Serve(hangs) },
	"say nothing":     func() { select {} },
	"ask":             func() { fmt.Print("Password: "); select {} },
	"never answer": func() {
		l, err := net.Listen("unix", filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s"))
		if err != nil {
			panic(err)
		}
		fmt.Printf("1|1|unix|%s|grpc|\n", l.Addr())
		select {}
	},
	"exit": func() {
		_, _ = fmt.Fprintln(os.Stderr, "no database at db.example.com")
		os.Exit(3)
	},
	"garbage":      func() { fmt.Println("Welcome to the database!"); sdk.Serve(memory) },
	"endless line": func() { _, _ = os.Stdout.Write(make([]byte, 1<<20)); select {} },
	"chatty":       func() { writeHostileLines(); sdk.Serve(chatty) },
	"next protocol": func() {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: "POP_PLUGIN", MagicCookieValue: "priority-operation-processing"},
			VersionedPlugins: map[int]plugin.PluginSet{2: {}},
			GRPCServer:       plugin.DefaultGRPCServer,
		})
	},
	"parent": func() {
		child := exec.CommandContext(context.Background(), os.Args[0])
		child.Env, child.Stdout, child.Stderr = []string{modeEnv + "=say nothing"}, os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			panic(err)
		}
		sdk.Serve(memory)
	},
	"host": beHost,
}

func TestMain(m *testing.M) {
	for _, name := range []string{os.Getenv(modeEnv), filepath.Base(os.Args[0])} {
		if mode, ok := modes[name]; ok {
			mode()
			os.Exit(0)
		}
	}
	status := m.Run()
	if builds != "" {
		_ = os.RemoveAll(builds) // the system clears what is left
	}
	os.Exit(status)
}

// builds is the folder of what is built once for all tests.
var builds string

// program returns this test binary as the plugins of the tests are run from: built without the race detector, with which a process
// takes many times as long to start and to answer. The host, and what serves drivers in this process, stay under it.
var program = sync.OnceValues(func() (string, error) {
	info, ok := debug.ReadBuildInfo()
	if ok && !slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return os.Executable()
	}
	var err error
	if builds, err = os.MkdirTemp("", "pop-host-"); err != nil {
		return "", err
	}
	path := filepath.Join(builds, "plugin")
	if out, err := exec.CommandContext(context.Background(), "go", "test", "-c", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin: %w\n%s", err, out)
	}
	return path, nil
})

type noConfig struct{}

// memory are the reference drivers.
var memory = sdk.Plugin[noConfig]{
	Name: "memory", Version: "1.2.3",
	Store: func(context.Context, noConfig, *slog.Logger) (driver.Store, error) {
		return memdriver.NewStore(memdriver.StoreOptions{}), nil
	},
	Queue: func(context.Context, noConfig, *slog.Logger) (driver.Queue, error) {
		caps := memdriver.FullQueue()
		caps.Durable = false
		return memdriver.NewQueue(memdriver.QueueOptions{Capabilities: caps}), nil
	},
	Authorizer: func(context.Context, noConfig, *slog.Logger) (driver.Authorizer, error) {
		return memdriver.NewAuthorizer(map[string]driver.Principal{"token-of-ann": ann}), nil
	},
}

// faulty returns a plugin with a store whose calls go through a hook.
func faulty(name string, hook func(log *slog.Logger, c memdriver.Call) memdriver.Fault) sdk.Plugin[noConfig] {
	return sdk.Plugin[noConfig]{Name: name, Version: "1", Store: func(_ context.Context, _ noConfig, log *slog.Logger) (driver.Store, error) {
		return memdriver.NewFaultyStore(memdriver.NewStore(memdriver.StoreOptions{}), func(c memdriver.Call) memdriver.Fault { return hook(log, c) }), nil
	}}
}

var (
	poor = sdk.Plugin[noConfig]{Name: "poor", Version: "1", Store: func(context.Context, noConfig, *slog.Logger) (driver.Store, error) {
		return memdriver.NewStore(memdriver.StoreOptions{Capabilities: memdriver.LeastStore()}), nil
	}}

	// slow says that a read has begun, and takes its time.
	slow = faulty("slow", func(log *slog.Logger, c memdriver.Call) memdriver.Fault {
		if c.Method != memdriver.Get {
			return memdriver.Fault{}
		}
		log.Info("a read has begun")
		return memdriver.Fault{Delay: 500 * time.Millisecond}
	})

	panics = faulty("panics", func(_ *slog.Logger, c memdriver.Call) memdriver.Fault {
		if c.Method == memdriver.Write {
			panic("index out of luck")
		}
		return memdriver.Fault{}
	})

	dies = faulty("dies", func(_ *slog.Logger, c memdriver.Call) memdriver.Fault {
		if c.Method == memdriver.Write {
			os.Exit(9)
		}
		return memdriver.Fault{}
	})

	// environment answers every read with an error that has all variables in it.
	environment = faulty("environment", func(_ *slog.Logger, c memdriver.Call) memdriver.Fault {
		return memdriver.Fault{Err: driver.Errorf(driver.Denied, "environment", "%s", strings.Join(os.Environ(), "\n"))}
	})

	chatty = faulty("chatty", func(log *slog.Logger, c memdriver.Call) memdriver.Fault {
		writeHostileLines()
		fmt.Println("printed by mistake")
		log.Warn("the table is nearly full", "table", "runs", "percent", 97)
		log.Debug("nobody wants to know this")
		return memdriver.Fault{}
	})
)

// hostile are lines that go-plugin's own parser panics at, or that are no log messages.
var hostile = []string{
	`{"@message": 1}`, `{"@message": {}, "@level": []}`, `{"@level": 1}`, `{"@timestamp": 1}`, `{"@message": null}`, `{"@message":"a","@level":7,"@timestamp":null}`,
	`[]`, `{`, `null`, `{"a":1e999}`, "\x00\xff\xfe", strings.Repeat("x", 200_000),
}

func writeHostileLines() {
	for _, line := range hostile {
		_, _ = fmt.Fprintln(os.Stderr, line)
	}
	_, _ = fmt.Fprintln(os.Stderr, "that was all")
}

type demandingConfig struct {
	Table    string            `json:"table" jsonschema:"name of the table"`
	Region   string            `json:"region" jsonschema:"where it is"`
	Pages    int               `json:"pages,omitempty"`
	Password sdk.Secret        `json:"password,omitempty"`
	Replicas []demandingTarget `json:"replicas,omitempty"`
}

type demandingTarget struct {
	Host string `json:"host"`
}

var demanding = sdk.Plugin[demandingConfig]{Name: "demanding", Version: "1", Store: func(context.Context, demandingConfig, *slog.Logger) (driver.Store, error) {
	return memdriver.NewStore(memdriver.StoreOptions{}), nil
}}

var refuses = sdk.Plugin[noConfig]{Name: "refuses", Version: "1", Store: func(context.Context, noConfig, *slog.Logger) (driver.Store, error) {
	return nil, driver.Errorf(driver.Denied, "refuses: open", "the account may not read table runs: give it the permission dynamodb:GetItem")
}}

var hangs = sdk.Plugin[noConfig]{Name: "hangs", Version: "1", Store: func(context.Context, noConfig, *slog.Logger) (driver.Store, error) {
	select {}
}}

// beHost is a host that starts a plugin, says which process it is, and waits.
func beHost() {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	p, err := host.Start(context.Background(), host.Entry{Name: "test", Path: path, Env: []string{modeEnv}, Services: []driver.Service{driver.StoreService}}, options("serve"))
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Status().PID)
	select {}
}

// entry returns the catalogue's entry for this test binary as a plugin. The options say which.
func entry(t *testing.T, services ...driver.Service) host.Entry {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return host.Entry{Name: "test", Path: path, Env: []string{modeEnv}, Services: services}
}

// options returns options under which an [entry] has a mode.
func options(mode string) host.Options {
	return host.Options{LookupEnv: func(name string) (string, bool) { return mode, name == modeEnv }}
}

// start starts this test binary in a mode, with a store, and closes it at the end of the test.
func start(t *testing.T, mode string, change func(*host.Entry, *host.Options)) *host.Plugin {
	t.Helper()
	p, err := tryStart(t, mode, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

func tryStart(t *testing.T, mode string, change func(*host.Entry, *host.Options)) (*host.Plugin, error) {
	t.Helper()
	e, o := entry(t, driver.StoreService), options(mode)
	if change != nil {
		change(&e, &o)
	}
	return host.Start(t.Context(), e, o)
}

// record collects what is logged.
type record struct {
	mu    sync.Mutex
	lines []string
	level slog.Level
}

func (r *record) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: r.level}))
}

// Write implements [io.Writer]; a handler writes one line at a time.
func (r *record) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, string(line))
	return len(line), nil
}

func (r *record) find(part string) (line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if strings.Contains(l, part) {
			return l
		}
	}
	return ""
}

// patience is how long the tests wait for what takes milliseconds on a machine that is not busy.
const patience = 60 * time.Second

// eventually waits until something is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !is(); <-ticker.C {
		if time.Now().After(end) {
			t.Fatalf("it was not so within %s: %s", patience, what)
		}
	}
}

// await waits until a line was logged, and returns it.
func (r *record) await(t *testing.T, part string) (line string) {
	t.Helper()
	eventually(t, "a line with "+part+" was logged", func() bool {
		line = r.find(part)
		return line != ""
	})
	return line
}

// migrate makes the kind of record that the tests use.
func migrate(t *testing.T, s driver.Store) {
	t.Helper()
	if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: driver.Schema{Kinds: []driver.KindSchema{{Kind: "run"}}}}); err != nil {
		t.Fatal(err)
	}
}

func key(sort string) driver.Key { return driver.Key{Kind: "run", Part: "p", Sort: sort} }

func put(sort string, body []byte) driver.Op {
	return driver.Op{Record: driver.Record{Key: key(sort), Body: body}}
}

// write writes one group and returns its error.
func write(ctx context.Context, s driver.Store, ops ...driver.Op) error {
	resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{ops}})
	if err != nil {
		return err
	}
	return resp.Results[0].Err
}

// get reads one record.
func get(ctx context.Context, s driver.Store, sort string) (*driver.Record, error) {
	resp, err := s.Get(ctx, driver.GetRequest{Keys: []driver.Key{key(sort)}})
	if err != nil {
		return nil, err
	}
	return resp.Records[0], nil
}

// wantError checks an error of a driver, and that it says what an operator needs.
func wantError(t *testing.T, err error, code driver.Code, outcome driver.Outcome, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", code)
	}
	if driver.CodeOf(err) != code || driver.OutcomeOf(err) != outcome {
		t.Errorf("%v: is %s, %s; want %s, %s", err, driver.CodeOf(err), driver.OutcomeOf(err), code, outcome)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}
