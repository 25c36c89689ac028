package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/uuid"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/host"
)

// jobEnv holds a job when this program is to run the suite, as a child of itself: package testing prints and ends the process, and a
// test that panics or hangs must not take the results along.
const jobEnv = "POP_CONFORMANCE_JOB"

// job is a plugin to test.
type job struct {
	Path     string
	Env      []string
	File     file
	Services []driver.Service
	Verbose  bool
}

// runJob is the main of the child: that of a test binary, with its flags.
func runJob(text string) {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(exitBroken)
	}
	tests := []testing.InternalTest{{Name: "suite", F: j.suite}, {Name: "model", F: j.model}}
	testing.Main(regexp.MatchString, tests, j.benchmarks(), nil)
}

func (j job) benchmarks() (all []testing.InternalBenchmark) {
	if j.has(driver.StoreService) {
		all = append(all, testing.InternalBenchmark{Name: "BenchmarkStore", F: func(b *testing.B) {
			drivertest.BenchmarkStore(b, func(b *testing.B) driver.Store { return must(b, j.start(b, j.place(b), driver.StoreService).Store) })
		}})
	}
	if j.has(driver.QueueService) {
		all = append(all, testing.InternalBenchmark{Name: "BenchmarkQueue", F: func(b *testing.B) {
			drivertest.BenchmarkQueue(b, func(b *testing.B) driver.Queue { return must(b, j.start(b, j.place(b), driver.QueueService).Queue) })
		}})
	}
	return all
}

func (j job) has(s driver.Service) bool { return slices.Contains(j.Services, s) }

func (j job) suite(t *testing.T) {
	if j.has(driver.StoreService) {
		drivertest.RunStore(t, j.stores(t))
	}
	if j.has(driver.QueueService) {
		drivertest.RunQueue(t, j.queues(t))
	}
	if j.has(driver.AuthorizerService) {
		drivertest.RunAuthorizer(t, j.authorizers(t))
	}
}

func (j job) model(t *testing.T) {
	if j.has(driver.StoreService) {
		drivertest.RunStoreModel(t, j.stores(t))
	}
}

// place makes what a test has for itself.
func (j job) place(t testing.TB) place {
	t.Helper()
	p := place{dir: t.TempDir(), unique: "c" + strings.ReplaceAll(uuid.NewString(), "-", "")[:15]}
	for name, text := range j.File.Files {
		path := filepath.Join(p.dir, filepath.Clean("/"+name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err = errors.Join(err, os.WriteFile(path, []byte(p.expand(text)), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// entry returns what the host is told about the plugin.
func (j job) entry(p place, services ...driver.Service) (host.Entry, error) {
	config, err := j.File.configAt(p)
	return host.Entry{Name: filepath.Base(j.Path), Path: j.Path, Env: j.Env, Services: services, Config: config}, err
}

// check returns why the plugin cannot be tested with its configuration.
func (j job) check(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "pop-conformance-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system clears what is left
	for name, text := range j.File.Files {
		path := filepath.Join(dir, filepath.Clean("/"+name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err = errors.Join(err, os.WriteFile(path, []byte(place{dir: dir}.expand(text)), 0o600)); err != nil {
			return err
		}
	}
	e, err := j.entry(place{dir: dir, unique: "check"}, j.Services...)
	if err != nil {
		return err
	}
	plugin, err := host.Start(ctx, e, host.Options{LookupEnv: os.LookupEnv})
	if err == nil {
		err = plugin.Close(ctx)
	}
	if wrong, ok := errors.AsType[*host.ConfigError](err); ok {
		return fmt.Errorf("%w; say it in the file of --config, under config", wrong)
	}
	if err != nil {
		return plain(err)
	}
	return nil
}

// start starts the plugin for one service, and closes it at the end of the test.
func (j job) start(t testing.TB, p place, service driver.Service) *host.Plugin {
	t.Helper()
	e, err := j.entry(p, service)
	if err != nil {
		t.Fatal(err)
	}
	o := host.Options{LookupEnv: os.LookupEnv}
	if j.Verbose {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	plugin, err := host.Start(t.Context(), e, o)
	if err != nil {
		t.Fatal(plain(err))
	}
	t.Cleanup(func() { _ = plugin.Close(context.WithoutCancel(t.Context())) }) // the suite has closed its drivers
	return plugin
}

func must[D any](t testing.TB, get func() (D, error)) D {
	t.Helper()
	d, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// process is a driver of a plugin that can be killed, and started again in the same place.
type process struct {
	job     job
	place   place
	service driver.Service
	plugin  *host.Plugin
}

func (j job) process(t *testing.T, service driver.Service) *process {
	t.Helper()
	r := &process{job: j, place: j.place(t), service: service}
	r.start(t)
	return r
}

func (r *process) start(t *testing.T) *host.Plugin {
	t.Helper()
	r.plugin = r.job.start(t, r.place, r.service)
	return r.plugin
}

// kill ends the process. The host starts another at once; what is promised has to hold for that as well.
func (r *process) kill(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(r.plugin.Status().PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func (j job) stores(t *testing.T) drivertest.StoreHarness {
	h := drivertest.StoreHarness{Volatile: j.File.Store.Volatile}
	h.Capabilities = declared(t, j.File.Store.Capabilities, func() (driver.StoreCapabilities, error) {
		return must(t, j.start(t, j.place(t), driver.StoreService).Store).Capabilities(t.Context())
	})
	h.Open = func(t *testing.T) drivertest.StoreFixture {
		r := j.process(t, driver.StoreService)
		fixture := drivertest.StoreFixture{Store: must(t, r.plugin.Store), Kill: r.kill}
		if !h.Volatile {
			fixture.Reopen = func(t *testing.T) driver.Store { return must(t, r.start(t).Store) }
		}
		return fixture
	}
	return h
}

func (j job) queues(t *testing.T) drivertest.QueueHarness {
	var h drivertest.QueueHarness
	h.Capabilities = declared(t, j.File.Queue.Capabilities, func() (driver.QueueCapabilities, error) {
		return must(t, j.start(t, j.place(t), driver.QueueService).Queue).Capabilities(t.Context())
	})
	h.Open = func(t *testing.T) drivertest.QueueFixture {
		r := j.process(t, driver.QueueService)
		fixture := drivertest.QueueFixture{Queue: must(t, r.plugin.Queue), Kill: r.kill}
		if h.Capabilities.Durable {
			fixture.Reopen = func(t *testing.T) driver.Queue { return must(t, r.start(t).Queue) }
		}
		return fixture
	}
	return h
}

func (j job) authorizers(t *testing.T) drivertest.AuthorizerHarness {
	var h drivertest.AuthorizerHarness
	h.Known, h.Refused = j.File.callers()
	h.Capabilities = declared(t, j.File.Authorizer.Capabilities, func() (driver.AuthorizerCapabilities, error) {
		return must(t, j.start(t, j.place(t), driver.AuthorizerService).Authorizer).Capabilities(t.Context())
	})
	h.Open = func(t *testing.T) driver.Authorizer {
		return must(t, j.start(t, j.place(t), driver.AuthorizerService).Authorizer)
	}
	return h
}

// declared returns the capabilities that the file declares, or else those that the plugin reports.
func declared[C any](t *testing.T, file *C, ask func() (C, error)) C {
	t.Helper()
	if file != nil {
		return *file
	}
	caps, err := ask()
	if err != nil {
		t.Fatal(err)
	}
	return caps
}
