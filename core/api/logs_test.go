package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
)

func TestLogsAreKeptForTheOwnerOfTheInsightAndReadByWhoSeesTheAgenda(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	ctx, mine := t.Context(), s.client(acme)
	session, err := mine.OpenSession(ctx, "puller")
	must(t)(session, err)
	must(t)(mine.Submit(ctx, agenda("Acme"), ""))
	pulled, err := mine.Pull(ctx, model.PullRequest{InsightID: "Acme-insight", SessionID: session.ID, WaitMs: 5000})
	if err != nil || len(pulled) != 1 {
		t.Fatalf("%v %v", pulled, err)
	}
	chunk := model.LogAppend{SessionID: session.ID, LogChunk: model.LogChunk{
		Lease: pulled[0].Lease, Operation: "op", Attempt: 1, Seq: 1, Time: time.Now().UTC(), Text: "hello\n",
	}}
	if results, err := s.client(globex).AppendLogs(ctx, []model.LogAppend{chunk}); err != nil || results[0].Err == nil || results[0].Err.Kind != model.NotFound {
		t.Errorf("by another customer: %v %v", results, err)
	}
	if results, err := mine.AppendLogs(ctx, []model.LogAppend{chunk}); err != nil || results[0].Err != nil {
		t.Errorf("%v %v", results, err)
	}
	if _, err := mine.AppendLogs(ctx, nil); model.KindOf(err) != model.Invalid {
		t.Errorf("none at all: %v", err)
	}
	id := pulled[0].AgendaID
	for _, token := range []string{acme, viewer, root} {
		page, err := s.client(token).LogPage(ctx, id, model.LogRequest{})
		if err != nil || len(page.Items) != 1 || page.Items[0].Text != "hello\n" || page.Complete {
			t.Errorf("read by %s: %+v %v", token, page, err)
		}
	}
	invisible := s.do(globex, http.MethodGet, "/v1/agendas/"+id+"/logs", "")
	absent := s.do(globex, http.MethodGet, "/v1/agendas/"+strings.Repeat("0", 8)+id[8:]+"/logs", "")
	if invisible.status != http.StatusNotFound || absent.status != http.StatusNotFound {
		t.Errorf("by one who does not see the agenda: %d, and %d if it is not there", invisible.status, absent.status)
	}

	report := model.Report{Lease: pulled[0].Lease, SessionID: session.ID, Status: model.Status{State: model.Complete, Outcome: model.Succeeded}}
	read := make(chan []string)
	go func() {
		var texts []string
		for c, err := range mine.Logs(ctx, id, "op", true) {
			if err != nil {
				t.Error(err)
			}
			texts = append(texts, c.Text)
			if len(texts) == 1 {
				must(t)(mine.Report(ctx, []model.Report{report}))
				last := chunk
				last.Seq, last.Text = 2, "bye\n"
				must(t)(mine.AppendLogs(ctx, []model.LogAppend{last}))
			}
		}
		read <- texts
	}()
	if texts := <-read; strings.Join(texts, "") != "hello\nbye\n" {
		t.Errorf("followed: %q", texts)
	}
}
