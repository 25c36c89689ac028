package api_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

var update = flag.Bool("update", false, "write docs/openapi.yaml")

func TestDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	want, err := undeployed().Document()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("..", "..", "docs", "openapi.yaml")
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Error("docs/openapi.yaml is not what the code says; run go generate ./core/api")
	}
}

func TestDocumentIsValidOpenAPI(t *testing.T) {
	t.Parallel()
	if ok, errs := document().validator.ValidateDocument(); !ok {
		for _, e := range errs {
			t.Error(e.Message, e.Reason)
		}
	}
}

// TestEveryOperation leads objects and agendas through their lives over every operation of the document. The server checks each
// exchange against the document.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	ctx, c := t.Context(), s.client(acme)

	template := model.AgendaTemplate{
		Meta: model.Meta{ID: "template/1", Title: "echo"}, Sharing: model.Sharing{IsGlobal: true},
		Agenda: model.Agenda{Meta: model.Meta{CustomerID: "Acme"}, Operations: agenda("").Operations},
	}
	template.CustomerID = "Acme"
	must(t)(c.AgendaTemplates.Create(ctx, template))

	exerciseCollection(t, c.Customers, "Acme")
	exerciseCollection(t, c.ResourcePools, "Acme-pool")
	exerciseCollection(t, c.Insights, "Acme-insight")
	exerciseCollection(t, c.AgendaTemplates, "template/1")

	ran, err := c.Run(ctx, wire.Run{AgendaTemplateID: "template/1", LinkID: "link 1", Title: "run"}, "key-1")
	if err != nil {
		t.Fatal(err)
	}
	id := ran.Agenda.ID
	must(t)(c.Submit(ctx, agenda("Acme"), ""))
	must(t)(c.SubmitBatch(ctx, []wire.SubmitItem{{Agenda: agenda("Acme")}, {Agenda: agenda("globex")}}))
	must(t)(c.Agendas(ctx, client.AgendaFilter{LinkID: "link 1"}, client.Page{}))
	must(t)(c.Agenda(ctx, id))
	must(t)(c.Explain(ctx, id))
	must(t)(c.Preview(ctx, "Acme-insight", model.PreviewRequest{Count: 2}))
	must(t)(c.Fairness(ctx, "Acme-insight", 0))
	must(t)(c.Owner(ctx, "Acme-insight"))
	if r := s.do(root, "GET", "/metrics", ""); r.status != 200 {
		t.Errorf("metrics: %d %s", r.status, r.body)
	}
	must(t)(c.Link(ctx, "link 1"))
	must(t)(c.Progresses(ctx, client.AgendaFilter{CustomerID: "acme", State: model.Waiting}, client.Page{Limit: 1}))
	must(t)(c.OperationProgresses(ctx, id))
	must(t)(c.OperationProgress(ctx, model.OperationProgressID(id, "second")))
	must(t)(c.Version(ctx))
	must(t)(nil, c.Ready(ctx))
	must(t)(nil, c.Healthy(ctx))

	session, err := c.OpenSession(ctx, "puller 1")
	if err != nil {
		t.Fatal(err)
	}
	must(t)(c.Heartbeat(ctx, session.ID))
	lease := pullAgenda(t, c, session.ID, id)
	for _, state := range []model.State{model.Executing, model.Complete} {
		report := model.Report{Lease: lease, SessionID: session.ID, Status: model.Status{State: state}}
		if state == model.Complete {
			report.Outcome, report.PercentComplete = model.Succeeded, 100
			report.Operations = []model.OperationProgress{{Operation: "first", Status: model.Status{State: state, Outcome: model.Succeeded, PercentComplete: 100}}}
		}
		results, err := c.Report(ctx, []model.Report{report})
		if err != nil || results[0].Err != nil {
			t.Fatalf("%v %v", results, err)
		}
	}
	must(t)(c.AppendLogs(ctx, []model.LogAppend{{SessionID: session.ID, LogChunk: model.LogChunk{
		Lease: lease, Operation: "first", Attempt: 1, Seq: 2, Time: time.Now(), Text: "hello",
	}, Drop: []int64{1}}}))
	must(t)(c.LogPage(ctx, id, model.LogRequest{Operation: "first", Limit: 1, Wait: time.Millisecond}))
	events := s.do(acme, "GET", "/v1/agenda-progress/"+id+"/events", "")
	if !strings.HasPrefix(events.body, "id: ") || !strings.Contains(events.body, "\nevent: progress\ndata: {") || !strings.Contains(events.body, `"COMPLETE"`) {
		t.Errorf("the stream is %q", events.body)
	}
	if _, tag, err := c.Await(ctx, id, "", time.Second); err != nil || tag == "" {
		t.Errorf("await: %v, entity tag %q", err, tag)
	}
	must(t)(c.Rerun(ctx, id, model.Rerun{Continue: true, SkipExecution: true}))
	must(t)(c.RerunAll(ctx, wire.RerunAll{AgendaIDs: []string{id}, Rerun: model.Rerun{SkipExecution: true}}))
	must(t)(c.Pause(ctx, id, wire.PauseAgenda{Reason: "later"}))
	must(t)(c.Resume(ctx, id))
	must(t)(c.Cancel(ctx, id, "enough"))
	must(t)(nil, c.DeleteAgenda(ctx, id))
	must(t)(nil, c.CloseSession(ctx, session.ID))

	must(t)(nil, c.AgendaTemplates.Delete(ctx, "template/1", ""))
	spare := s.client(root)
	must(t)(spare.ResourcePools.Create(ctx, pool("spare", "Acme")))
	must(t)(spare.Insights.Create(ctx, insight("spare", "Acme", "spare")))
	must(t)(nil, spare.Insights.Delete(ctx, "spare", ""))
	must(t)(nil, spare.ResourcePools.Delete(ctx, "spare", ""))
	must(t)(spare.Customers.Create(ctx, customer("spare", "")))
	must(t)(nil, spare.Customers.Delete(ctx, "spare", ""))

	var missed []string
	for path, item := range document().model.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			if name := strings.ToUpper(method) + " " + path; !s.exercised[name] {
				missed = append(missed, name)
			}
		}
	}
	if slices.Sort(missed); len(missed) > 0 {
		t.Errorf("operations that no exchange has exercised:\n%s", strings.Join(missed, "\n"))
	}
}

// exerciseCollection lists, reads and writes back an object.
func exerciseCollection[T any](t *testing.T, c *client.Collection[T], id string) {
	t.Helper()
	page, err := c.List(t.Context(), client.Filter{}, client.Page{Limit: 1})
	if err != nil || len(page.Items) != 1 {
		t.Fatalf("list: %v, %d items", err, len(page.Items))
	}
	entry, err := c.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Put(t.Context(), id, entry.Object, entry.ETag)
	if err != nil || again.Created || again.ETag == entry.ETag {
		t.Fatalf("put back: %v, created %t, entity tags %s and %s", err, again.Created, entry.ETag, again.ETag)
	}
}

// pullAgenda pulls until an agenda is handed out, and returns its lease.
func pullAgenda(t *testing.T, c *client.Client, session, id string) model.Lease {
	t.Helper()
	for {
		assignments, err := c.Pull(t.Context(), model.PullRequest{InsightID: "Acme-insight", SessionID: session, WaitMs: 5000})
		if err != nil {
			t.Fatal(err)
		}
		if len(assignments) == 0 {
			t.Fatalf("agenda %s was not handed out", id)
		}
		for _, a := range assignments {
			if a.AgendaID == id {
				return a.Lease
			}
		}
	}
}
