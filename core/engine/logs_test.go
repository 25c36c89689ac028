package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

func chunk(a model.Assignment, operation string, seq int64, text string, drop ...int64) model.LogAppend {
	return model.LogAppend{SessionID: a.Progress.SessionID, Drop: drop, LogChunk: model.LogChunk{
		Lease: a.Lease, Operation: operation, Attempt: 1, Seq: seq, Text: text,
	}}
}

func (w *world) appended(chunks ...model.LogAppend) {
	w.Helper()
	results, err := w.AppendLogs(w.ctx(), chunks)
	w.must(err)
	for _, r := range results {
		if r.Err != nil {
			w.Fatalf("refused: %v", r.Err)
		}
	}
}

// texts returns what a page holds.
func texts(p model.LogPage) (all []string) {
	for _, c := range p.Items {
		all = append(all, c.Text)
	}
	return all
}

func TestWhatOperationsPrintedIsReadInOrderPageByPage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.submit("a")
		a := w.pullOne(w.session("executor"))
		w.appended(chunk(a, "first", 2, "two"), chunk(a, "other", 3, "three"), chunk(a, "first", 1, "one"))
		w.appended(chunk(a, "first", 1, "one"), chunk(a, "first", 16, "sixteen")) // the first one comes twice
		w.appended(chunk(a, "other", 17, "seventeen", 3))
		var got []string
		for after := ""; ; {
			page, err := w.Logs(w.ctx(), a.AgendaID, model.LogRequest{After: after, Limit: 2})
			w.must(err)
			if len(page.Items) == 0 {
				break
			}
			got, after = append(got, texts(page)...), page.Next
		}
		if diff := cmp.Diff([]string{"one", "two", "sixteen", "seventeen"}, got); diff != "" {
			t.Errorf("all (-want +got):\n%s", diff)
		}
		page, err := w.Logs(w.ctx(), a.AgendaID, model.LogRequest{Operation: "other", Limit: 10})
		w.must(err)
		if diff := cmp.Diff([]string{"seventeen"}, texts(page)); diff != "" {
			t.Errorf("of one operation (-want +got):\n%s", diff)
		}
		_, err = w.Logs(w.ctx(), a.AgendaID, model.LogRequest{After: "x"})
		wantKind(t, err, model.Invalid)
	})
}

func TestLogsWaitForWhatIsPrintedAndForTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.submit("a")
		a := w.pullOne(w.session("executor"))
		read := func(after string, wait time.Duration) (model.LogPage, time.Duration) {
			start := time.Now()
			page, err := w.Logs(w.ctx(), a.AgendaID, model.LogRequest{After: after, Limit: 10, Wait: wait})
			w.must(err)
			return page, time.Since(start)
		}
		if page, took := read("", 3*time.Second); len(page.Items) > 0 || took != 3*time.Second || page.Complete {
			t.Errorf("nothing is printed: %+v after %s", page, took)
		}
		time.AfterFunc(2100*time.Millisecond, func() { w.appended(chunk(a, "first", 1, "one")) })
		page, took := read("", 20*time.Second)
		if len(page.Items) != 1 || took != 2100*time.Millisecond {
			t.Errorf("something is printed: %+v after %s", page, took)
		}
		time.AfterFunc(2100*time.Millisecond, func() { w.taken(complete(a, model.Succeeded)) })
		if page, took = read(page.Next, 10*time.Second); !page.Complete || took != 2100*time.Millisecond || len(page.Items) > 0 {
			t.Errorf("the agenda ends: %+v after %s", page, took)
		}
		time.AfterFunc(time.Second, func() { w.appended(chunk(a, "first", 2, "late")) })
		if page, _ = read(page.Next, 2*time.Second); !page.Complete || len(page.Items) != 1 {
			t.Errorf("what was printed last: %+v", page)
		}
	})
}

func TestChunksAreKeptOfLeasesThatWereGivenOutAndOnlyForSomeTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		old := w.pullOne(w.session("executor"))
		a := w.pullOne(w.session("executor")) // it has taken the agenda away
		w.appended(chunk(old, "first", 1, "of the old fence"), chunk(a, "first", 1, "of the new one"))
		future := a
		future.Fence++
		unknown := a
		unknown.AgendaID = "00000000-0000-0000-0000-000000000000"
		large := chunk(a, "first", 2, strings.Repeat("x", model.MaxLogText+1))
		results, err := w.AppendLogs(w.ctx(), []model.LogAppend{
			chunk(future, "first", 1, ""), chunk(unknown, "first", 1, ""), chunk(a, "", 1, ""), chunk(a, "first", 0, ""), large, chunk(a, "first", 2, "kept"),
		})
		w.must(err)
		var kinds []string
		for _, r := range results {
			if r.Err == nil {
				kinds = append(kinds, "")
			} else {
				kinds = append(kinds, string(r.Err.Kind))
			}
		}
		if diff := cmp.Diff([]string{"fenced", "not-found", "invalid", "invalid", "too-large", ""}, kinds); diff != "" {
			t.Errorf("answers (-want +got):\n%s", diff)
		}
		_, err = w.AppendLogs(w.ctx(), make([]model.LogAppend, MaxBatch+1))
		wantKind(t, err, model.Invalid)

		w.taken(complete(a, model.Succeeded))
		all := model.LogRequest{Limit: 10}
		page, err := w.Logs(w.ctx(), id, all)
		w.must(err)
		if diff := cmp.Diff([]string{"of the old fence", "of the new one", "kept"}, texts(page)); diff != "" {
			t.Errorf("kept (-want +got):\n%s", diff)
		}
		<-time.After(w.KeepLogs + time.Second)
		if page, err = w.Logs(w.ctx(), id, all); err != nil || len(page.Items) > 0 {
			t.Errorf("after %s: %+v, %v", w.KeepLogs, page, err)
		}
	})
}

func TestLogsGoWithTheirAgenda(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := w.submit("a")
		a := w.pullOne(w.session("executor"))
		for i := range int64(30) {
			w.appended(chunk(a, "first", i+1, fmt.Sprint(i)))
		}
		w.taken(complete(a, model.Succeeded))
		w.must(w.Delete(w.ctx(), id))
		_, err := w.Logs(w.ctx(), id, model.LogRequest{})
		wantKind(t, err, model.NotFound)
		for rec := range w.store.Scan(w.ctx(), driver.ScanRequest{Kind: kindLog, Part: id}) {
			t.Errorf("left: %v", rec.Key)
		}
	})
}
