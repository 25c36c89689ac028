package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/api"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/providers/local"
)

// serverEnv holds the data folder when the test binary is to be the server, and pluginEnv the program of the plugin whose
// drivers it is to use; without one they are linked in.
const (
	serverEnv = "POP_BENCH_SERVER"
	pluginEnv = "POP_BENCH_PLUGIN"
)

const token = "benchmark"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverEnv); dir != "" {
		if err := serve(context.Background(), dir); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// stats is what the server says about itself, counted since it started.
type stats struct {
	CPU                 time.Duration
	ResidentKiB         int64
	Flushes             uint64
	Gets, Scans, Writes int64
	WriteGroups         int64
}

// serve runs the server: it prints its address, then its stats for each line it is sent, and ends with its input.
func serve(ctx context.Context, dir string) error {
	debug.SetGCPercent(400) // as pop does
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	tokens := filepath.Join(dir, "tokens.yaml")
	file := fmt.Sprintf("tokens:\n- {token: %q, subject: bench, global: true, roles: [read, submit, operate, pull]}\n", local.HashToken(token))
	if err := os.WriteFile(tokens, []byte(file), 0o600); err != nil {
		return err
	}
	authorizer, err := local.NewAuthorizer(local.AuthorizerOptions{File: tokens, Logger: log})
	if err != nil {
		return err
	}
	auth, err := authz.New(ctx, authorizer, authz.Options{})
	if err != nil {
		return err
	}
	disk, hints, flushes, err := openDrivers(ctx, filepath.Join(dir, "store"), log)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, disk, driver.Schema{Kinds: append(engine.Schema(), catalog.Schema()...)})
	if err != nil {
		return err
	}
	q, err := queue.Open(ctx, hints)
	if err != nil {
		return err
	}
	objects := catalog.New(st, catalog.Options{})
	eng := engine.New(st, q, objects, engine.Options{Logger: log})
	if err := eng.Start(ctx); err != nil {
		return err
	}
	a := api.New(api.Options{Engine: eng, Catalog: objects, Logger: log, Authorizer: auth})
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- a.Serve(ctx, l, a) }()

	out := json.NewEncoder(os.Stdout)
	fmt.Println("http://" + l.Addr().String())
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		calls := st.Calls()
		s := stats{Flushes: flushes(), Gets: calls.Get, Scans: calls.Scan, Writes: calls.Write, WriteGroups: calls.Groups}
		s.CPU, s.ResidentKiB = usage()
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	stop()
	err = <-served
	eng.Stop()
	return errors.Join(err, st.Close(context.WithoutCancel(ctx)), q.Close(context.WithoutCancel(ctx)))
}

// openDrivers returns a store and a queue, and what counts the store's flushes, which a process does not tell.
func openDrivers(ctx context.Context, dir string, log *slog.Logger) (driver.Store, driver.Queue, func() uint64, error) {
	path := os.Getenv(pluginEnv)
	if path == "" {
		disk, err := local.OpenStore(ctx, local.StoreOptions{Dir: dir, Logger: log})
		if err != nil {
			return nil, nil, nil, err
		}
		return disk, local.NewQueue(local.QueueOptions{}), func() uint64 { return disk.Stats().Flushes }, nil
	}
	p, err := startPlugin(ctx, path, dir, log)
	if err != nil {
		return nil, nil, nil, err
	}
	disk, err := p.Store()
	if err != nil {
		return nil, nil, nil, err
	}
	hints, err := p.Queue()
	return disk, hints, func() uint64 { return 0 }, err
}

// startPlugin starts a process of pop-plugin-local with a store and a queue.
func startPlugin(ctx context.Context, path, dir string, log *slog.Logger) (*host.Plugin, error) {
	settings, err := json.Marshal(map[string]string{"dir": dir})
	if err != nil {
		return nil, err
	}
	sum, err := host.Sum(path)
	if err != nil {
		return nil, err
	}
	return host.Start(ctx, host.Entry{
		Name: "local", Path: path, SHA256: sum, Services: []driver.Service{driver.StoreService, driver.QueueService}, Config: settings,
	}, host.Options{Log: log})
}

// usage returns the CPU time this process has used and the memory it holds.
func usage() (cpu time.Duration, residentKiB int64) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			residentKiB, _ = strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		}
	}
	return cpu, residentKiB
}

// server is a server process.
type server struct {
	testing.TB
	*client.Client
	in     *json.Encoder
	out    *bufio.Reader
	url    string
	launch time.Duration // from exec until it had answered
}

// startServer starts a server with drivers that are linked in, or with those of a plugin's program.
func startServer(b testing.TB, dir string, plugin ...string) *server {
	b.Helper()
	start := time.Now()
	cmd := exec.CommandContext(context.WithoutCancel(b.Context()), os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+dir, pluginEnv+"="+strings.Join(plugin, ""))
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	s := &server{TB: b, in: json.NewEncoder(in), out: bufio.NewReader(out)}
	b.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error("server:", err)
		}
	})
	s.url = strings.TrimSpace(s.line())
	s.Client, err = client.New(s.url, client.Options{Token: token})
	must(b, err)
	must(b, s.Ready(b.Context()))
	s.launch = time.Since(start)
	return s
}

func (s *server) line() string {
	s.Helper()
	line, err := s.out.ReadString('\n')
	must(s, err)
	return line
}

func (s *server) stats() (st stats) {
	s.Helper()
	must(s, s.in.Encode("stats"))
	must(s, json.Unmarshal([]byte(s.line()), &st))
	return st
}

func must(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
