package bench

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/local"
)

// buildPlugin builds pop-plugin-local and returns its path.
func buildPlugin(b testing.TB) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "pop-plugin-local")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", path, "github.com/pop-platform/pop/cmd/pop-plugin-local")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// turn is how many agendas one server completes before it is the other's turn, so that both meet the same weather.
const turn = 1000

// BenchmarkThroughAProcess completes b.N agendas on a server whose store and queue are linked in, and as many on one whose
// are in a process of pop-plugin-local, in turns. "kept" is the throughput of the second divided by that of the first.
func BenchmarkThroughAProcess(b *testing.B) {
	plugin := buildPlugin(b)
	for _, batch := range []int{1, 16} {
		b.Run(fmt.Sprintf("batch-%d", batch), func(b *testing.B) {
			servers := [2]*server{startServer(b, b.TempDir()), startServer(b, b.TempDir(), plugin)}
			var took [2]time.Duration
			var before [2]stats
			for i, s := range servers {
				s.furnish(model.WeightedFair, queueSize)
				before[i] = s.stats()
			}
			b.ResetTimer()
			for done := 0; done < b.N; {
				n := min(turn, b.N-done)
				for i, s := range servers {
					var wg sync.WaitGroup
					wg.Go(func() { s.submit(n, batch, func(i int) model.Agenda { return agendaOf(i, 1) }) })
					took[i] += s.work(n, batch, func(model.Assignment) {})
					wg.Wait()
				}
				done += n
			}
			b.StopTimer()
			rate := func(i int) float64 { return float64(b.N) / took[i].Seconds() }
			b.ReportMetric(rate(0), "linked/s")
			b.ReportMetric(rate(1), "process/s")
			b.ReportMetric(rate(1)/rate(0), "kept")
			b.ReportMetric(float64(servers[0].stats().CPU-before[0].CPU)/1e3/float64(b.N), "linked-server-cpu-µs/agenda")
			b.ReportMetric(float64(servers[1].stats().CPU-before[1].CPU)/1e3/float64(b.N), "process-server-cpu-µs/agenda")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkBatchOf100 writes and reads 100 records of 600 bytes in one call, linked in and through a process, in turns. The
// times are medians, and for "undisturbed" those of the fastest 5 %: a machine that does other things makes each change of processes
// wait. CPU time is that of both processes.
func BenchmarkBatchOf100(b *testing.B) {
	const records = 100
	log := slog.New(slog.DiscardHandler)
	linked, err := local.OpenStore(b.Context(), local.StoreOptions{Dir: b.TempDir()})
	must(b, err)
	plugin, err := startPlugin(b.Context(), buildPlugin(b), b.TempDir(), log)
	must(b, err)
	process, err := plugin.Store()
	must(b, err)
	b.Cleanup(func() {
		must(b, linked.Close(context.WithoutCancel(b.Context())))
		must(b, process.Close(context.WithoutCancel(b.Context())))
		must(b, plugin.Close(context.WithoutCancel(b.Context())))
	})
	stores := [2]driver.Store{linked, process}
	for _, s := range stores {
		_, err := s.Migrate(b.Context(), driver.MigrateRequest{Schema: driver.Schema{Kinds: []driver.KindSchema{{Kind: "run"}}}})
		must(b, err)
	}
	keys, groups := make([]driver.Key, records), make([]driver.Group, records)
	for i := range keys {
		keys[i] = driver.Key{Kind: "run", Part: "p", Sort: fmt.Sprintf("%06d", i)}
		groups[i] = driver.Group{{Record: driver.Record{Key: keys[i], Body: make([]byte, 600)}}}
	}
	calls := map[string]func(driver.Store) error{
		"write": func(s driver.Store) error {
			_, err := s.Write(b.Context(), driver.WriteRequest{Groups: groups})
			return err
		},
		"get": func(s driver.Store) error {
			_, err := s.Get(b.Context(), driver.GetRequest{Keys: keys})
			return err
		},
	}
	for _, name := range []string{"write", "get"} {
		b.Run(name, func(b *testing.B) {
			var took [2][]time.Duration
			var cpu [2]time.Duration
			before := cpuOf(b, plugin.Status().PID)
			for range b.N {
				for i, s := range stores {
					used, _ := usage()
					start := time.Now()
					must(b, calls[name](s))
					took[i] = append(took[i], time.Since(start))
					since, _ := usage()
					cpu[i] += since - used
				}
			}
			cpu[1] += cpuOf(b, plugin.Status().PID) - before
			slices.Sort(took[0])
			slices.Sort(took[1])
			at := func(i, percent int) float64 { return float64(took[i][len(took[i])*percent/100].Microseconds()) }
			b.ReportMetric(at(0, 50), "linked-µs")
			b.ReportMetric(at(1, 50), "process-µs")
			b.ReportMetric(at(1, 50)-at(0, 50), "over-µs")
			b.ReportMetric(at(1, 5)-at(0, 5), "undisturbed-over-µs")
			b.ReportMetric(float64((cpu[1]-cpu[0]).Microseconds())/float64(b.N), "over-cpu-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// cpuOf returns the CPU time that another process has used.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const tick = 10 * time.Millisecond // Linux counts in hundredths of a second on all machines
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(b, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var used time.Duration
	for _, field := range fields[11:13] { // in user mode, and in the kernel
		n, err := strconv.Atoi(field)
		must(b, err)
		used += time.Duration(n) * tick
	}
	return used
}
