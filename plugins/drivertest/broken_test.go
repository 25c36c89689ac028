package drivertest_test

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/drivertest"
)

// brokenEnv names the flaw of the driver that a test process is to run the suite on.
const brokenEnv = "DRIVERTEST_BROKEN"

// flaw is a driver that breaks a clause.
type flaw struct {
	clause string   // the one it is there for
	also   []string // others that it cannot help breaking
	may    []string // others that it breaks now and then
	run    func(*testing.T)
}

// flaws returns all broken drivers, by the kind of driver and then by what is wrong with them.
func flaws() map[string]map[string]flaw {
	all := map[string]map[string]flaw{"store": {}, "queue": {}, "authorizer": {}}
	for name, f := range maps.All(merge(brokenReads, brokenIndexes, brokenWrites, brokenLives)) {
		all["store"][name] = flaw{f.clause, f.also, f.may, f.run}
	}
	for name, f := range brokenQueues {
		all["queue"][name] = flaw{f.clause, f.also, f.may, f.run}
	}
	for name, f := range brokenAuthorizers {
		all["authorizer"][name] = flaw{f.clause, f.also, f.may, f.run}
	}
	return all
}

func merge[V any](parts ...map[string]V) map[string]V {
	all := map[string]V{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	return all
}

// TestSuiteFindsWhatIsBroken runs the whole suite on drivers that each break one clause, in processes of their own, and
// expects that clause to fail and no other.
func TestSuiteFindsWhatIsBroken(t *testing.T) {
	if kind, name, found := strings.Cut(os.Getenv(brokenEnv), "/"); found {
		drivertest.SetPatience(6 * time.Second) // what is broken makes the suite wait in vain
		flaws()[kind][name].run(t)
		return
	}
	// Under the race detector a suite takes ten times as long, and what it says is the same.
	binary := filepath.Join(t.TempDir(), "suite")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	var wg sync.WaitGroup
	turns := make(chan struct{}, 3*runtime.GOMAXPROCS(0)) // more than there are processors: a suite waits a lot
	var mu sync.Mutex
	ran := map[string]brokenRun{}
	for kind, some := range flaws() {
		for name := range some {
			wg.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				r := runBroken(t.Context(), binary, kind+"/"+name)
				mu.Lock()
				defer mu.Unlock()
				ran[kind+"/"+name] = r
			})
		}
	}
	wg.Wait()
	for kind, some := range flaws() {
		for name, f := range some {
			t.Run(kind+" "+name, func(t *testing.T) {
				r := ran[kind+"/"+name]
				if len(r.results) != len(drivertest.Clauses()[kind]) || r.err == nil {
					t.Errorf("%d clauses of %d were tested, and the suite ends with %v\n%s",
						len(r.results), len(drivertest.Clauses()[kind]), r.err, r.rest)
				}
				f.compare(t, r.results)
			})
		}
	}
}

// compare says which clauses fail that should pass, and the other way round.
func (f flaw) compare(t *testing.T, results []drivertest.Result) {
	t.Helper()
	expected := append([]string{f.clause}, f.also...)
	for _, res := range results {
		switch {
		case res.Failed && !slices.Contains(expected, res.Clause) && !slices.Contains(f.may, res.Clause):
			t.Errorf("%q fails:\n%s", res.Clause, res.Output)
		case !res.Failed && slices.Contains(expected, res.Clause):
			t.Errorf("%q passes", res.Clause)
		case res.Failed && strings.TrimSpace(res.Output) == "":
			t.Errorf("%q fails and does not say why", res.Clause)
		}
	}
}

// brokenRun is what the suite said about a broken driver.
type brokenRun struct {
	results []drivertest.Result
	rest    string
	err     error
}

// runBroken runs the suite on a broken driver in another process.
func runBroken(ctx context.Context, binary, name string) brokenRun {
	cmd := exec.CommandContext(ctx, binary, "-test.run=^TestSuiteFindsWhatIsBroken$", "-test.v=test2json", "-test.parallel=32")
	cmd.Env = append(os.Environ(), brokenEnv+"="+name)
	out, err := cmd.CombinedOutput()
	results, rest, _ := drivertest.ReadResults(bytes.NewReader(out), nil) // a reader of bytes does not fail
	return brokenRun{results, rest, err}
}

func TestEachClauseHasADriverThatBreaksIt(t *testing.T) {
	t.Parallel()
	for kind, clauses := range drivertest.Clauses() {
		broken := map[string]bool{}
		for name, f := range flaws()[kind] {
			broken[f.clause] = true
			for _, c := range slices.Concat([]string{f.clause}, f.also, f.may) {
				if !slices.Contains(clauses, c) {
					t.Errorf("%s: %s: there is no clause %q", kind, name, c)
				}
			}
		}
		for i, c := range clauses {
			if !broken[c] {
				t.Errorf("%s: nothing proves that %q can fail", kind, c)
			}
			if slices.Contains(clauses[:i], c) {
				t.Errorf("%s: two clauses are called %q", kind, c)
			}
		}
	}
}

func TestACrashOfTheSuiteIsAResult(t *testing.T) {
	t.Parallel()
	const v = "\x16"
	out := v + "=== RUN   T\n" + v + "=== RUN   T/store\n" + v + "=== RUN   T/store/contract\n" +
		v + "=== RUN   T/store/contract/Get_of_no_keys\n" + v + "=== PAUSE T/store/contract/Get_of_no_keys\n" +
		v + "=== RUN   T/store/contract/Scan_of_an_empty_range\n" + v + "=== CONT  T/store/contract/Get_of_no_keys\n" +
		"    a.go:1: wrong\n" + v + "--- FAIL: T/store/contract/Get_of_no_keys (1.50s)\n" +
		v + "=== NAME  T/store/contract/Scan_of_an_empty_range\npanic: boom\n"
	results, rest, err := drivertest.ReadResults(strings.NewReader(out), nil)
	if err != nil || rest != "" || len(results) != 2 {
		t.Fatalf("%+v, %q, %v", results, rest, err)
	}
	slices.SortFunc(results, func(a, b drivertest.Result) int { return cmp.Compare(a.Clause, b.Clause) })
	want := []drivertest.Result{
		{Driver: "store", Clause: "Get of no keys", Failed: true, Took: 1500 * time.Millisecond, Output: "a.go:1: wrong\n"},
		{Driver: "store", Clause: "Scan of an empty range", Failed: true, Output: "panic: boom\nit did not end\n"},
	}
	for i, got := range results {
		if got != want[i] {
			t.Errorf("%+v, want %+v", got, want[i])
		}
	}
}

// meeting returns what makes two calls meet: the first waits for the second, of which it says so. A busy machine may let the second come
// late, and calls that only ever come one after the other are to be left alone, so that the first does not wait without end.
func meeting() (second func() bool) {
	var calls atomic.Int64
	met := make(chan none)
	return func() bool {
		switch calls.Add(1) {
		case 1:
			select {
			case <-met:
			case <-time.After(10 * time.Second):
			}
		case 2:
			close(met)
			return true
		}
		return false
	}
}

// hook stands before a method of a driver.
type hook[Req, Resp any] func(ctx context.Context, req Req, next func(context.Context, Req) (Resp, error)) (Resp, error)

func (h hook[Req, Resp]) call(ctx context.Context, req Req, next func(context.Context, Req) (Resp, error)) (Resp, error) {
	if h == nil {
		return next(ctx, req)
	}
	return h(ctx, req, next)
}

// after returns a hook that changes what a method answers if it succeeds.
func after[Req, Resp any](change func(Req, *Resp)) hook[Req, Resp] {
	return func(ctx context.Context, req Req, next func(context.Context, Req) (Resp, error)) (Resp, error) {
		resp, err := next(ctx, req)
		if err == nil {
			change(req, &resp)
		}
		return resp, err
	}
}

// refusing returns a hook that refuses some requests.
func refusing[Req, Resp any](refuse func(Req) error) hook[Req, Resp] {
	return func(ctx context.Context, req Req, next func(context.Context, Req) (Resp, error)) (Resp, error) {
		if err := refuse(req); err != nil {
			var none Resp
			return none, err
		}
		return next(ctx, req)
	}
}

// forgiving returns a hook that answers with nothing where some errors belong.
func forgiving[Req, Resp any](forgive func(error) bool) hook[Req, Resp] {
	return func(ctx context.Context, req Req, next func(context.Context, Req) (Resp, error)) (Resp, error) {
		resp, err := next(ctx, req)
		if err != nil && forgive(err) {
			err = nil
		}
		return resp, err
	}
}
