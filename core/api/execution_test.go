package api_test

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

func TestSessionsOfDifferentCallersAreApart(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	ctx, mine := t.Context(), s.client(acme)
	session, err := mine.OpenSession(ctx, "puller")
	if err != nil || session.Name != "puller" {
		t.Fatalf("%+v %v", session, err)
	}
	must(t)(s.client(globex).OpenSession(ctx, "puller")) // does not end the other one
	must(t)(s.client(namesake).OpenSession(ctx, "admin/puller"))
	if beat, err := mine.Heartbeat(ctx, session.ID); err != nil || beat.Name != "puller" {
		t.Errorf("after another caller opened one of the same name: %+v %v", beat, err)
	}

	must(t)(mine.Submit(ctx, agenda("Acme"), ""))
	pulled, err := mine.Pull(ctx, model.PullRequest{InsightID: "Acme-insight", SessionID: session.ID, WaitMs: 5000})
	if err != nil || len(pulled) != 1 {
		t.Fatalf("%v %v", pulled, err)
	}
	report := model.Report{Lease: pulled[0].Lease, SessionID: session.ID, Status: model.Status{State: model.Complete, Outcome: model.Succeeded}}
	for _, token := range []string{globex, namesake, root} {
		other := s.client(token)
		if _, err := other.Heartbeat(ctx, session.ID); model.KindOf(err) != model.Fenced {
			t.Errorf("heartbeat by %s: %v", token, err)
		}
		if err := other.CloseSession(ctx, session.ID); model.KindOf(err) != model.Fenced {
			t.Errorf("close by %s: %v", token, err)
		}
		pull := model.PullRequest{InsightID: "Acme-insight", SessionID: session.ID}
		if token == globex {
			pull.InsightID = "globex-insight"
		}
		if _, err := other.Pull(ctx, pull); model.KindOf(err) != model.Fenced {
			t.Errorf("pull by %s: %v", token, err)
		}
		if results, err := other.Report(ctx, []model.Report{report}); err != nil || results[0].Err == nil || results[0].Err.Kind != model.Fenced {
			t.Errorf("report by %s: %v %v", token, results, err)
		}
	}
	if results, err := mine.Report(ctx, []model.Report{report}); err != nil || results[0].Err != nil {
		t.Errorf("report: %v %v", results, err)
	}
	must(t)(mine.OpenSession(ctx, "puller"))
	if _, err := mine.Heartbeat(ctx, session.ID); model.KindOf(err) != model.Fenced {
		t.Errorf("heartbeat after the caller opened it again: %v", err)
	}
}

func TestASubjectOfAnyLengthHasSessions(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	c := s.client(arn)
	session, err := c.OpenSession(t.Context(), "puller")
	if err != nil || session.Name != "puller" {
		t.Fatalf("%+v %v", session, err)
	}
	if beat, err := c.Heartbeat(t.Context(), session.ID); err != nil || beat.Name != "puller" {
		t.Errorf("%+v %v", beat, err)
	}
	if _, err := s.client(acme).Heartbeat(t.Context(), session.ID); model.KindOf(err) != model.Fenced {
		t.Errorf("heartbeat by another: %v", err)
	}
}

func TestOnlyTheOwnerOfAnInsightPulls(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	shared := insight("shared", "globex", "globex-pool")
	shared.AllowedCustomerIDs = []string{"acme"}
	must(t)(s.client(globex).Insights.Create(t.Context(), shared))
	session, err := s.client(acme).OpenSession(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]model.ErrorKind{"shared": model.Forbidden, "globex-insight": model.NotFound, "nothing": model.NotFound} {
		_, err := s.client(acme).Pull(t.Context(), model.PullRequest{InsightID: id, SessionID: session.ID})
		if model.KindOf(err) != want {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
}

func TestReportsAreRefusedOneByOne(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	c := s.client(acme)
	session, err := c.OpenSession(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	submitted, err := c.Submit(t.Context(), agenda("Acme"), "")
	if err != nil {
		t.Fatal(err)
	}
	lease := pullAgenda(t, c, session.ID, submitted.Agenda.ID)
	status := model.Status{State: model.Executing}
	results, err := c.Report(t.Context(), []model.Report{
		{Lease: model.Lease{AgendaID: lease.AgendaID, Fence: lease.Fence - 1}, SessionID: session.ID, Status: status},
		{Lease: lease, SessionID: session.ID, Status: status},
	})
	if err != nil || results[0].Err == nil || results[0].Err.Kind != model.Fenced || results[1].Err != nil {
		t.Errorf("%+v %v", results, err)
	}
	// The document does not allow these, so they are sent past the check against it.
	for _, operation := range []string{`"processingState":"DONE"`, `"processingState":"COMPLETE","outcome":"fine"`, `"processingState":"EXECUTING","percentComplete":101`} {
		body := `{"items":[{"agendaId":"` + lease.AgendaID + `","fence":1,"sessionId":"` + session.ID + `","processingState":"EXECUTING","operationProgress":[{"operation":"first",` + operation + `}]}]}`
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.http.URL+"/v1/agenda-progress:report", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+acme)
		resp, err := s.http.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := bufio.NewReader(resp.Body).ReadString('\n')
		_ = resp.Body.Close()
		if !strings.Contains(answer, `"kind":"invalid"`) || !strings.Contains(answer, `"location":"operationProgress[0].`) {
			t.Errorf("%s: %s", operation, answer)
		}
	}
}

func TestWaitingForProgressEndsWithAChange(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	c := s.client(acme)
	submitted, err := c.Submit(t.Context(), agenda("Acme"), "")
	if err != nil {
		t.Fatal(err)
	}
	id := submitted.Agenda.ID
	_, seen, err := c.Progress(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	var states []model.State
	session, err := c.OpenSession(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	pullAgenda(t, c, session.ID, id)
	for progress, err := range c.Watch(t.Context(), id) {
		if err != nil {
			t.Fatal(err)
		}
		if states = append(states, progress.State); len(states) == 1 {
			must(t)(c.Cancel(t.Context(), id, ""))
		}
	}
	if len(states) != 2 || states[0] != model.Executing || states[1] != model.Complete {
		t.Errorf("watched %v", states)
	}
	if _, tag, err := c.Await(t.Context(), id, seen, time.Minute); err != nil || tag == seen {
		t.Errorf("a change of before: %v", err)
	}
	tag := s.do(acme, "GET", "/v1/agenda-progress/"+id, "").header.Get("ETag")
	if r := s.do(acme, "GET", "/v1/agenda-progress/"+id, "", "If-None-Match", tag); r.status != http.StatusNotModified {
		t.Errorf("no change: %d", r.status)
	}
}

func TestEventsFollowAnAgendaToItsEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	c := s.client(acme)
	submitted, err := c.Submit(t.Context(), agenda("Acme"), "")
	if err != nil {
		t.Fatal(err)
	}
	session, err := c.OpenSession(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	pullAgenda(t, c, session.ID, submitted.Agenda.ID)
	lines, end := s.stream(submitted.Agenda.ID)
	defer end()
	var events []string
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			if events = append(events, data); len(events) == 1 {
				must(t)(c.Cancel(t.Context(), submitted.Agenda.ID, "enough"))
			}
		}
	}
	if len(events) != 2 || !strings.Contains(events[0], `"EXECUTING"`) || !strings.Contains(events[1], `"enough"`) {
		t.Errorf("events: %q", events)
	}
}

// stream opens the stream of an agenda's events.
func (s *server) stream(id string) (*bufio.Scanner, func()) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), "GET", s.http.URL+"/v1/agenda-progress/"+id+"/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+acme)
	resp, err := s.http.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return bufio.NewScanner(resp.Body), func() { _ = resp.Body.Close() }
}

// TestServerShutsDownWithoutWaitingForLongPolls holds a pull, a wait and a stream open while the server ends.
func TestEndlessHeadersAreNotRead(t *testing.T) {
	t.Parallel()
	handler, _ := newAPI(t, serverOptions{}, memdriver.NewStore(storeOptions(false)), memdriver.NewQueue(memdriver.QueueOptions{}),
		engine.Options{Logger: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- handler.Serve(ctx, l, handler) }()
	for size, want := range map[int]int{32 << 10: http.StatusUnauthorized, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/v1/insights", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.Repeat("x", size))
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("a token of %d bytes is answered with %s, want %d", size, resp.Status, want)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestServerShutsDownWithoutWaitingForLongPolls(t *testing.T) {
	t.Parallel()
	handler, _ := newAPI(t, serverOptions{open: true}, memdriver.NewStore(storeOptions(false)), memdriver.NewQueue(memdriver.QueueOptions{}),
		engine.Options{Logger: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- handler.Serve(ctx, l, handler) }()
	c, err := client.New("http://"+l.Addr().String(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	must(t)(c.ResourcePools.Create(t.Context(), pool("Acme-pool", "Acme")))
	must(t)(c.Customers.Create(t.Context(), customer("Acme", "Acme-pool")))
	must(t)(c.Insights.Create(t.Context(), insight("Acme-insight", "Acme", "Acme-pool")))
	must(t)(c.Insights.Create(t.Context(), insight("idle", "Acme", "Acme-pool")))
	session, err := c.OpenSession(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	submitted, err := c.Submit(t.Context(), agenda("Acme"), "")
	if err != nil {
		t.Fatal(err)
	}
	pullAgenda(t, c, session.ID, submitted.Agenda.ID)
	_, seen, err := c.Progress(t.Context(), submitted.Agenda.ID)
	if err != nil {
		t.Fatal(err)
	}

	ended := make(chan error, 3)
	go func() {
		_, err := c.Pull(t.Context(), model.PullRequest{InsightID: "idle", SessionID: session.ID, WaitMs: 30_000})
		ended <- err
	}()
	go func() {
		_, _, err := c.Await(t.Context(), submitted.Agenda.ID, seen, 30*time.Second)
		ended <- err
	}()
	resp, err := http.Get("http://" + l.Addr().String() + "/v1/agenda-progress/" + submitted.Agenda.ID + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	stream := bufio.NewScanner(resp.Body)
	if !stream.Scan() {
		t.Fatal("no event")
	}
	go func() {
		for stream.Scan() {
		}
		ended <- nil
	}()
	// The stream has begun. The other two have, or meet a server that drains: either way they may not hold it up.
	deadline := time.After(10 * time.Second)
	stop()
	for range 3 {
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, client.ErrUnreachable) {
				t.Errorf("a long poll ended with %v", err)
			}
		case <-deadline:
			t.Fatal("a long poll holds the server up")
		}
	}
	select {
	case err := <-served:
		if err != nil {
			t.Error(err)
		}
	case <-deadline:
		t.Fatal("the server does not end")
	}
}
