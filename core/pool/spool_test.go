package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

// files returns the files below a folder.
func files(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// awayUntil makes the server unreachable for reports, and what else is wanted, until some time after now.
func awayUntil(d time.Duration) func() error {
	begin := time.Now()
	return func() error {
		if time.Since(begin) < d {
			return errors.New("connection refused")
		}
		return nil
	}
}

func TestWhileTheServerTakesReportsInNothingIsWrittenToDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, takes(400*time.Millisecond), func(c *Config, s *server) {
			c.Spool, s.latency = t.TempDir(), 100*time.Millisecond
		})
		for i := range 20 {
			p.add(agenda(fmt.Sprint("a", i), op("a", ``), op("b", ``, "a"), op("c", ``, "b")))
		}
		after(time.Minute)
		if p.final(t, "a19").Outcome != model.Succeeded || p.keeper.spool.next != 1 {
			t.Errorf("%d files were written", p.keeper.spool.next-1)
		}
	})
}

func TestG11_ResultsOutliveAnOutageOnDiskAndAreThenDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := startPool(t, takes(time.Second), func(c *Config, s *server) {
			c.Spool = dir
			away := awayUntil(10 * time.Second)
			s.report = func([]model.Report, []model.ReportResult) error { return away() }
		})
		p.addTo(testInsight, agenda("a1", op("a", ``), op("b", ``, "a")), agenda("long", op("a", ``), op("b", ``, "a"), op("c", ``, "b"), op("d", ``, "c")))
		after(3*time.Second + 900*time.Millisecond)
		kept := map[string]model.Report{}
		for _, file := range files(t, dir) {
			report, err := p.keeper.spool.get(filepath.Base(file))
			if err != nil {
				t.Fatal(err)
			}
			kept[report.AgendaID] = report
		}
		if r := kept["a1"]; r.Outcome != model.Succeeded || len(r.Operations) != 2 || r.Lease != (model.Lease{AgendaID: "a1", Fence: 3}) || r.SessionID != "test-1" {
			t.Errorf("kept of the agenda that has ended: %+v", r)
		}
		if r := kept["long"]; r.State != model.Executing || len(r.Operations) < 3 || r.Operations[1].Outcome != model.Succeeded {
			t.Errorf("kept of the agenda that goes on: %+v", r)
		}
		after(time.Minute)
		if p.final(t, "a1").Outcome != model.Succeeded || p.final(t, "long").Outcome != model.Succeeded {
			t.Error("the agendas have not succeeded")
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("left in the spool: %v", left)
		}
	})
}

func TestG11_TheResultsOfAKilledPullerAreDeliveredBeforeTheNextOneOpensASession(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir, copied := t.TempDir(), t.TempDir()
		first := startPool(t, takes(time.Second), func(c *Config, s *server) {
			c.Spool = dir
			away := awayUntil(time.Minute)
			s.report = func([]model.Report, []model.ReportResult) error { return away() }
		})
		for _, id := range []string{"a3", "a1", "a2", "fenced", "refused"} {
			first.add(agenda(id, op("a", ``), op("b", ``, "a")))
			after(10 * time.Millisecond)
		}
		after(5 * time.Second)
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil { // what a killed one leaves
			t.Fatal(err)
		}
		for _, name := range []string{"report-0000000000000000.json", "report-0000000000000099.json.new"} {
			if err := os.WriteFile(filepath.Join(filepath.Dir(files(t, copied)[0]), name), []byte(`{"agen`), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		second := startPool(t, takes(0), func(c *Config, s *server) {
			c.Spool = copied
			away := awayUntil(20 * time.Second)
			s.report = func(reports []model.Report, results []model.ReportResult) error {
				if s.sessions > 0 {
					t.Error("a report comes after the new session was opened")
				}
				for i, r := range reports {
					switch r.AgendaID {
					case "fenced":
						results[i].Err = model.Errorf(model.Fenced, "others have it")
					case "refused":
						return model.Errorf(model.Invalid, "no")
					}
				}
				return away()
			}
		})
		after(time.Minute)
		var order []string
		for _, call := range second.calls {
			for _, r := range call {
				order = append(order, r.AgendaID)
				if r.SessionID != "test-1" || r.Outcome != model.Succeeded || len(r.Operations) != 2 {
					t.Errorf("delivered: %+v", r)
				}
			}
		}
		if diff := cmp.Diff([]string{"a3", "a1", "a2"}, order); diff != "" {
			t.Errorf("delivered (-want +got):\n%s", diff)
		}
		if left := files(t, copied); len(left) > 0 || second.sessions != 1 {
			t.Errorf("left in the spool: %v; %d sessions", left, second.sessions)
		}
	})
}

func TestG11_AnOutageThatIsLongerThanTheLeaseCostsNoResult(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := startPool(t, func(ctx context.Context, task *Task) (json.RawMessage, error) {
			if task.Operation.Name == "endless" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return takes(3*time.Second)(ctx, task)
		}, func(c *Config, s *server) {
			c.Spool = t.TempDir()
			away := awayUntil(5 * time.Minute)
			begin := time.Now()
			down := func() error {
				if time.Since(begin) < time.Second {
					return nil
				}
				return away()
			}
			s.heartbeat = func(*model.Session) error { return down() }
			s.report = func([]model.Report, []model.ReportResult) error { return down() }
			s.openErr = func() error {
				if s.sessions == 1 && !slices.ContainsFunc(s.calls, func(call []model.Report) bool { return call[0].State == model.Waiting }) {
					t.Error("a session is opened before the results of the last one are delivered")
				}
				return down()
			}
		})
		p.add(agenda("a1", op("quick", ``), op("endless", ``, "quick")))
		after(10 * time.Minute)
		final := p.final(t, "a1")
		if final.State != model.Waiting || !strings.Contains(final.Message, "no heartbeat has reached the server") {
			t.Errorf("final report: %+v; want the agenda handed back", final.Status)
		}
		if merged := p.merged("a1"); merged["quick"].Outcome != model.Succeeded || merged["endless"].State != model.Waiting {
			t.Errorf("operations: %+v", merged)
		}
		if p.sessions != 2 {
			t.Errorf("%d sessions; want another one", p.sessions)
		}
	})
}

func TestASpoolIsBoundedAndSaysSoOnce(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	spool, err := openSpool(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	spool.size = maxSpoolBytes - 800 // as if others were there
	reporter := newReporter(newMeter(nil), slog.New(slog.NewTextHandler(&log, nil)), 10)
	k := &keeper{reporter: reporter, spool: spool, files: map[*run]kept{}}
	var runs []*run
	for i := range 4 {
		r := newRun(t.Context(), agenda(fmt.Sprint("a", i), op("a", ``)), "s")
		reporter.updateLast(r, 0, func(op *model.OperationProgress) { complete(op, model.Succeeded) })
		reporter.finish(r, model.Status{State: model.Complete, Outcome: model.Succeeded})
		runs = append(runs, r)
	}
	for range 3 {
		k.pass(time.Now().Add(time.Minute))
	}
	if n := len(files(t, spool.dir)); n == 0 || n > 3 || spool.size > maxSpoolBytes {
		t.Errorf("%d files of %d bytes in the spool", n, spool.size)
	}
	if strings.Count(log.String(), "kept in memory only") != 1 {
		t.Errorf("log:\n%s", log.String())
	}
	for _, r := range runs {
		reporter.settle(r)
	}
	if k.pass(time.Now()); len(files(t, spool.dir)) > 0 || spool.size != maxSpoolBytes-800 {
		t.Errorf("after all: %v of %d bytes", files(t, spool.dir), spool.size)
	}
}
