package api_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

func TestConditionsOfAChange(t *testing.T) {
	t.Parallel()
	const body = `{"id":"x","title":"new"}`
	tests := []struct {
		name, method  string
		exists        bool
		header, value string // CURRENT stands for the object's entity tag
		status        int
	}{
		{"put replaces", "PUT", true, "", "", 200},
		{"put creates", "PUT", false, "", "", 201},
		{"put of the state that was read", "PUT", true, "If-Match", "CURRENT", 200},
		{"put of one of several states", "PUT", true, "If-Match", `"old", CURRENT`, 200},
		{"put of a state that a proxy has weakened", "PUT", true, "If-Match", "W/CURRENT", 200},
		{"put of any state", "PUT", true, "If-Match", "*", 200},
		{"put of a state that is gone", "PUT", true, "If-Match", `"old"`, 412},
		{"put of any state of nothing", "PUT", false, "If-Match", "*", 412},
		{"put of nothing yet", "PUT", false, "If-None-Match", "*", 201},
		{"put of nothing yet where there is something", "PUT", true, "If-None-Match", "*", 412},
		{"put with a condition that makes no sense", "PUT", true, "If-None-Match", `"old"`, 400},
		{"delete", "DELETE", true, "", "", 204},
		{"delete of nothing", "DELETE", false, "", "", 404},
		{"delete of the state that was read", "DELETE", true, "If-Match", "CURRENT", 204},
		{"delete of a state that is gone", "DELETE", true, "If-Match", `"old"`, 412},
		{"get", "GET", true, "", "", 200},
		{"get of a state that the caller has", "GET", true, "If-None-Match", "CURRENT", 304},
		{"get of a state that the caller has not", "GET", true, "If-None-Match", `"old"`, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, serverOptions{})
			current := `"none"`
			if test.exists {
				current = s.do(root, "POST", "/v1/customers", `{"id":"x","title":"t"}`).header.Get("ETag")
			}
			sent := body
			if test.method != "PUT" {
				sent = ""
			}
			var headers []string
			if test.header != "" {
				headers = []string{test.header, strings.ReplaceAll(test.value, "CURRENT", current)}
			}
			r := s.do(root, test.method, "/v1/customers/x", sent, headers...)
			if r.status != test.status {
				t.Fatalf("%d %s, want %d", r.status, r.body, test.status)
			}
			after := s.do(root, "GET", "/v1/customers/x", "")
			if test.method == "PUT" && r.status < 300 {
				if r.header.Get("ETag") == current || r.header.Get("ETag") != after.header.Get("ETag") || r.body != after.body {
					t.Errorf("put answers %s %s, get %s %s", r.header.Get("ETag"), r.body, after.header.Get("ETag"), after.body)
				}
			} else if test.exists && r.status != 204 && after.header.Get("ETag") != current {
				t.Errorf("the object has changed")
			}
		})
	}
}

func TestOfRacingChangesOfOneStateOneWins(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	c := s.client(root)
	entry, err := c.Customers.Create(t.Context(), customer("x", ""))
	if err != nil {
		t.Fatal(err)
	}
	const racers = 8
	var wg sync.WaitGroup
	errs := make([]error, racers)
	for i := range racers {
		wg.Go(func() {
			v := customer("x", "")
			v.Title = fmt.Sprint("racer ", i)
			_, errs[i] = c.Customers.Put(t.Context(), "x", v, entry.ETag)
		})
	}
	wg.Wait()
	winner := ""
	for i, err := range errs {
		switch {
		case err == nil && winner == "":
			winner = fmt.Sprint("racer ", i)
		case err == nil:
			t.Errorf("racer %d has won too", i)
		case model.KindOf(err) != model.Stale:
			t.Error(err)
		}
	}
	if got, err := c.Customers.Get(t.Context(), "x"); err != nil || got.Object.Title != winner {
		t.Errorf("%q is stored, %q has won: %v", got.Object.Title, winner, err)
	}
}

func TestRacingPutsWithoutConditionAllSucceed(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	c := s.client(root)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Customers.Put(t.Context(), "x", customer("x", ""), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestCreatingWhatExistsIsAConflict(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	c := s.client(root)
	must(t)(c.Customers.Create(t.Context(), customer("x", "")))
	if _, err := c.Customers.Create(t.Context(), customer("x", "")); model.KindOf(err) != model.Conflict {
		t.Errorf("create again: %v", err)
	}
	if _, err := c.Customers.PutNew(t.Context(), "x", customer("x", "")); model.KindOf(err) != model.Stale {
		t.Errorf("put as new: %v", err)
	}
}

func TestPagesAreFullOfWhatTheCallerCanSee(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	c := s.client(root)
	var want []string
	for i := range 30 {
		id := fmt.Sprintf("t%02d", i)
		owner := "globex"
		if i%3 == 0 {
			owner = "Acme"
			want = append(want, id)
		}
		must(t)(c.AgendaTemplates.Create(t.Context(), model.AgendaTemplate{Meta: model.Meta{ID: id, CustomerID: owner, Title: "t"}, Agenda: agenda(owner)}))
	}
	var got, sizes []string
	for p := (client.Page{Limit: 4}); ; {
		page, err := s.client(acme).AgendaTemplates.List(t.Context(), client.Filter{}, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Items {
			got = append(got, v.ID)
		}
		sizes = append(sizes, fmt.Sprint(len(page.Items)))
		if p.Cursor = page.Next; p.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"4", "4", "2"}, sizes); diff != "" {
		t.Errorf("sizes: %s", diff)
	}
}

func TestFiltersOfLists(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	other := insight("other", "Acme", "Acme-pool")
	other.Title, other.LinkID = "a title", "a link"
	must(t)(s.client(root).Insights.Create(t.Context(), other))
	for name, test := range map[string]struct {
		filter client.Filter
		want   []string
	}{
		"none":     {client.Filter{}, []string{"Acme-insight", "globex-insight", "other"}},
		"customer": {client.Filter{CustomerID: "acme"}, []string{"Acme-insight", "other"}},
		"title":    {client.Filter{Title: "a title"}, []string{"other"}},
		"link":     {client.Filter{LinkID: "a link"}, []string{"other"}},
		"pool":     {client.Filter{ResourcePoolID: "globex-pool"}, []string{"globex-insight"}},
		"both":     {client.Filter{ResourcePoolID: "globex-pool", Title: "a title"}, nil},
	} {
		var got []string
		for v, err := range s.client(root).Insights.All(t.Context(), test.filter) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, v.ID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestWhatIsInUseCannotBeDeleted(t *testing.T) {
	t.Parallel()
	s := newServer(t, serverOptions{})
	s.configure()
	c := s.client(root)
	submitted, err := c.Submit(t.Context(), agenda("Acme"), "")
	if err != nil {
		t.Fatal(err)
	}
	id := submitted.Agenda.ID
	for path, named := range map[string]string{
		"/v1/resource-pools/Acme-pool": `insight "Acme-insight"; customer "Acme"`,
		"/v1/insights/Acme-insight":    `agenda "` + id + `"`,
		"/v1/customers/Acme":           `agenda "` + id + `"`,
	} {
		r := s.do(root, "DELETE", path, "")
		if p := r.problem(t); r.status != 409 || !strings.HasSuffix(p.Detail, "in use by "+named) {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	must(t)(c.Cancel(t.Context(), id, ""))
	for _, path := range []string{"/v1/insights/Acme-insight", "/v1/customers/Acme", "/v1/resource-pools/Acme-pool"} {
		if r := s.do(root, "DELETE", path, ""); r.status != 204 {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}

// TestChangesThatAreOvertakenStartAgain makes another change happen just before a change is written.
func TestChangesThatAreOvertakenStartAgain(t *testing.T) {
	t.Parallel()
	const mine, theirs = `{"id":"x","title":"mine"}`, `{"id":"x","title":"theirs"}`
	tests := []struct {
		name, method string
		conditional  bool
		other        string // method of the other change
		status       int
		title        string // that is stored in the end
	}{
		{"a put overtaken by a put", "PUT", false, "PUT", 200, "mine"},
		{"a put of a state overtaken by a put", "PUT", true, "PUT", 412, "theirs"},
		{"a put overtaken by a delete", "PUT", false, "DELETE", 201, "mine"},
		{"a put of a state overtaken by a delete", "PUT", true, "DELETE", 412, ""},
		{"a put of something new overtaken by a put", "PUT new", false, "PUT", 200, "mine"},
		{"a delete overtaken by a put", "DELETE", false, "PUT", 204, ""},
		{"a delete of a state overtaken by a put", "DELETE", true, "PUT", 412, "theirs"},
		{"a delete overtaken by a delete", "DELETE", false, "DELETE", 404, ""},
	}
	body := func(method, text string) string {
		if method == "PUT" {
			return text
		}
		return ""
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var s *server
			var armed atomic.Bool
			s = newServer(t, serverOptions{faults: func(call memdriver.Call) memdriver.Fault {
				if call.Method == memdriver.Write && armed.CompareAndSwap(true, false) {
					s.do(root, test.other, "/v1/customers/x", body(test.other, theirs))
				}
				return memdriver.Fault{}
			}})
			var headers []string
			method, isNew := strings.CutSuffix(test.method, " new")
			if !isNew {
				tag := s.do(root, "PUT", "/v1/customers/x", mine).header.Get("ETag")
				if test.conditional {
					headers = []string{"If-Match", tag}
				}
			}
			armed.Store(true)
			if r := s.do(root, method, "/v1/customers/x", body(method, mine), headers...); r.status != test.status {
				t.Errorf("%d %s, want %d", r.status, r.body, test.status)
			}
			if r := s.do(root, "GET", "/v1/customers/x", ""); test.title == "" && r.status != 404 || test.title != "" && !strings.Contains(r.body, `"title":"`+test.title+`"`) {
				t.Errorf("stored is %d %s", r.status, r.body)
			}
		})
	}
}
