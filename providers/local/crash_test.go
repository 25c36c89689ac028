package local

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/pop-platform/pop/plugins/driver"
)

const (
	holderEnv  = "POP_TEST_HOLD_STORE"  // keep the store in this folder open until standard input ends
	crasherEnv = "POP_TEST_CRASH_STORE" // write to the store in this folder until killed
	noLogEnv   = "POP_TEST_BREAK_STORE" // write to a store, named so, that can't begin a new log
)

// TestMain is also the second process of some tests.
func TestMain(m *testing.M) {
	for env, run := range map[string]func(dir string) error{holderEnv: holdStore, crasherEnv: writeUntilKilled, noLogEnv: writeWithoutNewLogs} {
		if dir := os.Getenv(env); dir != "" {
			if err := run(dir); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// secondProcess starts this test binary with an environment variable set. It is killed at the end of the test.
func secondProcess(t *testing.T, env, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env+"="+dir)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

func holdStore(dir string) error {
	s, err := OpenStore(context.Background(), StoreOptions{Dir: dir})
	if err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return s.Close(context.Background())
}

func TestASecondProcessOnADataFolderIsToldWhoHoldsIt(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	cmd, out := secondProcess(t, holderEnv, dir)
	if !out.Scan() {
		t.Fatal("the second process said nothing")
	}
	start := time.Now()
	_, err := OpenStore(t.Context(), StoreOptions{Dir: dir})
	if driver.CodeOf(err) != driver.Unavailable || err == nil {
		t.Fatalf("error %v, want unavailable", err)
	}
	for _, want := range []string{dir, fmt.Sprintf("process %d", cmd.Process.Pid), "stop it"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("the error took %v", took)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	openTest(t, StoreOptions{Dir: dir})
}

func TestASecondStoreInOneProcessIsRefusedToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openTest(t, StoreOptions{Dir: dir})
	_, err := OpenStore(t.Context(), StoreOptions{Dir: dir})
	if want := fmt.Sprintf("data folder %s is in use by process %d", dir, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}

// The crash tests write pairs: two records with the same body in one group, each with an index entry that names the body.
var pairSchema = driver.Schema{Kinds: []driver.KindSchema{{Kind: "left", Indexes: []string{"body"}}, {Kind: "right", Indexes: []string{"body"}}}}

const pairWriters = 8

// writePairs has each writer write its pair again and again, until a write fails, and reports what was acknowledged.
func writePairs(ctx context.Context, s driver.Store, acked func(writer, n int)) error {
	var wg sync.WaitGroup
	errs := make(chan error, pairWriters)
	for w := range pairWriters {
		wg.Go(func() {
			for n := 1; ; n++ {
				body := fmt.Sprintf("%06d %s", n, strings.Repeat("x", rand.IntN(2000)))
				var g driver.Group
				for _, kind := range []driver.Kind{"left", "right"} {
					g = append(g, driver.Op{Record: driver.Record{
						Key:   driver.Key{Kind: kind, Part: "p", Sort: fmt.Sprint(w)},
						Index: []driver.IndexEntry{{Index: "body", Part: "p", Sort: body[:6]}},
						Body:  []byte(body),
					}})
				}
				if n%7 == 0 {
					g = driver.Group{{Type: driver.Delete, Record: g[0].Record}, {Type: driver.Delete, Record: g[1].Record}}
				}
				resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{g}})
				if err == nil {
					err = resp.Results[0].Err
				}
				if err != nil {
					errs <- err
					return
				}
				acked(w, n)
			}
		})
	}
	wg.Wait()
	return <-errs
}

// checkPairs checks that no group is torn, that what was acknowledged last is there or what was written after it, and that
// the indexes agree with the records.
func checkPairs(t *testing.T, s driver.Store, acked [pairWriters]int) {
	t.Helper()
	halves := map[driver.Kind][pairWriters]string{}
	for _, kind := range []driver.Kind{"left", "right"} {
		var bodies [pairWriters]string
		var inRecords, inIndex []string
		for w := range pairWriters {
			resp, err := s.Get(t.Context(), driver.GetRequest{Keys: []driver.Key{{Kind: kind, Part: "p", Sort: fmt.Sprint(w)}}})
			if err != nil {
				t.Fatal(err)
			}
			if r := resp.Records[0]; r != nil {
				bodies[w] = string(r.Body)
				inRecords = append(inRecords, bodies[w][:6]+" "+r.Key.Sort)
			}
		}
		page, err := s.Scan(t.Context(), driver.ScanRequest{Kind: kind, Index: "body", Part: "p"})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Records {
			inIndex = append(inIndex, r.Index[0].Sort+" "+r.Key.Sort)
		}
		slices.Sort(inRecords)
		if !slices.Equal(inRecords, inIndex) {
			t.Errorf("%s: records say %q, the index %q", kind, inRecords, inIndex)
		}
		halves[kind] = bodies
	}
	for w, n := range acked {
		left, right := halves["left"][w], halves["right"][w]
		if left != right {
			t.Errorf("writer %d: a group was torn: %.10q and %.10q", w, left, right)
		}
		if n == 0 {
			continue // what is there is of the round before
		}
		found := 0
		if left != "" {
			found, _ = strconv.Atoi(left[:6])
		}
		// One more than n may have been written without having been acknowledged; every seventh is a deletion.
		absent := left == "" && (n%7 == 0 || (n+1)%7 == 0)
		if !absent && found != n && found != n+1 {
			t.Errorf("writer %d: %d was acknowledged, %d is there (%.10q)", w, n, found, left)
		}
	}
}

func writeUntilKilled(dir string) error {
	ctx := context.Background()
	s, err := OpenStore(ctx, StoreOptions{Dir: dir})
	if err != nil {
		return err
	}
	if _, err := s.Migrate(ctx, driver.MigrateRequest{Schema: pairSchema}); err != nil {
		return err
	}
	return writePairs(ctx, s, func(writer, n int) {
		fmt.Printf("%d %d\n", writer, n) // one system call, so no line is cut
	})
}

func TestKilledProcessesLoseNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 10 {
		cmd, out := secondProcess(t, crasherEnv, dir)
		var acked [pairWriters]int
		killAt := 100 + rand.IntN(1000)
		for lines := 0; out.Scan(); lines++ {
			var w, n int
			if _, err := fmt.Sscan(out.Text(), &w, &n); err != nil {
				t.Fatalf("%q: %v", out.Text(), err)
			}
			acked[w] = n
			if lines == killAt {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
		s, err := OpenStore(t.Context(), StoreOptions{Dir: dir})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		checkPairs(t, s, acked)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}

// writeWithoutNewLogs writes like a server does that recovers from the panics of its requests.
func writeWithoutNewLogs(dir string) error {
	ctx := context.Background()
	var broken atomic.Bool
	disk := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite) && strings.HasSuffix(op.Path, ".log") {
			return syscall.ENOSPC
		}
		return nil
	}))
	s, err := openStore(ctx, StoreOptions{Dir: dir}, disk)
	if err != nil {
		return err
	}
	if _, err := s.Migrate(ctx, driver.MigrateRequest{Schema: plainSchema}); err != nil {
		return err
	}
	broken.Store(true)
	for i := range 1000 {
		func() {
			defer func() { _ = recover() }()
			_ = putPlain(ctx, s, fmt.Sprint(i), make([]byte, 100<<10))
		}()
	}
	return nil
}

func TestAProcessWhoseStoreCannotGoOnEndsAndSaysSo(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), noLogEnv+"=/broken")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatal("the process went on")
	}
	if want := "data folder /broken: the store can't go on, nothing acknowledged is lost; mend the disk, then restart"; !strings.Contains(string(out), want) {
		t.Errorf("it said %.300s", out)
	}
}

// A power failure takes what was not synced, in any part. The disk in memory keeps apart what was.
func TestPowerFailuresLoseNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for round := range 20 {
		disk := vfs.NewCrashableMem()
		s, err := openStore(t.Context(), StoreOptions{Dir: "/data"}, disk)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: pairSchema}); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var acked, atCrash [pairWriters]int
		left := 200 + rand.IntN(400)
		var after *vfs.MemFS
		ctx, cancel := context.WithCancel(t.Context())
		_ = writePairs(ctx, s, func(writer, n int) { // ends with the cancellation
			mu.Lock()
			defer mu.Unlock()
			acked[writer] = n
			if left--; left == 0 {
				atCrash = acked
				unsynced := []int{0, 50, 90}[round%3]
				after = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: unsynced, RNG: rand.New(rand.NewPCG(uint64(round), 1))})
				cancel()
			}
		})
		cancel()
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err = openStore(t.Context(), StoreOptions{Dir: "/data"}, after)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		checkPairs(t, s, atCrash)
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
}
