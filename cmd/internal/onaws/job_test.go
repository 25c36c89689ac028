package onaws

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// TestTheQuickstartRunsOnThePlugin runs the objects, handlers and agendas of the quickstart with a server, a puller and the plugin as
// processes: a template, references, retries of an operation and of an agenda from the point of failure, operations that
// run always or on failure, and such as are added under way.
func TestTheQuickstartRunsOnThePlugin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	quickstart, err := filepath.Abs(filepath.Join("..", "..", "..", "examples", "quickstart"))
	h.must(err)
	h.serve(0)
	h.run(0, "apply", "-f", filepath.Join(quickstart, "objects"))
	h.pull(0, filepath.Join(quickstart, "handlers.yaml"), "text", "urgent")

	c := h.client(0)
	submitted := map[string]string{} // ids by name
	got, err := c.Run(t.Context(), wire.Run{AgendaTemplateID: "words", CustomerID: "acme", Payload: json.RawMessage(`{"text": "a b", "failures": 1}`)}, "")
	h.must(err)
	submitted["template"] = got.Agenda.ID
	for _, name := range []string{"report", "unlucky", "hopeless", "branches"} {
		text, err := os.ReadFile(filepath.Join(quickstart, "agendas", name+".yaml"))
		h.must(err)
		var a model.Agenda
		h.must(yaml.UnmarshalStrict(text, &a))
		got, err := c.Submit(t.Context(), a, "")
		h.must(err)
		submitted[name] = got.Agenda.ID
	}

	type operation struct {
		Attempts int
		Result   string
	}
	type agenda struct {
		Insight    string
		Outcome    model.Outcome
		Attempts   int
		Operations map[string]operation
	}
	ended := func(name string) agenda {
		p := h.awaitEnd(0, submitted[name])
		operations, err := c.OperationProgresses(t.Context(), p.AgendaID)
		h.must(err)
		a := agenda{p.AgendaInsight.InsightID, p.Outcome, p.AttemptsCompleted, map[string]operation{}}
		for _, op := range operations {
			a.Operations[op.Operation] = operation{op.AttemptCount, string(op.ResultPayload)}
		}
		return a
	}
	for name, want := range map[string]agenda{
		"template": {"text", model.Succeeded, 2, map[string]operation{
			"count": {1, `{"words":2}`}, "upper": {1, `{"text":"A B"}`}, "report": {1, `{"report":"A B! (2 words)"}`},
			"publish": {2, `{"published":true,"attempt":2}`},
		}},
		"report": {"text", model.Succeeded, 1, map[string]operation{
			"count": {1, `{"words":5}`}, "upper": {1, `{"text":"THE QUICK BROWN FOX JUMPS"}`},
			"report": {1, `{"report":"THE QUICK BROWN FOX JUMPS! (5 words)"}`},
		}},
		"unlucky":  {"text", model.Succeeded, 2, map[string]operation{"count": {1, `{"words":4}`}, "publish": {2, `{"published":true,"attempt":2}`}}},
		"hopeless": {"urgent", model.Failed, 2, map[string]operation{"count": {1, `{"words":2}`}, "publish": {2, ""}}},
		"branches": {"text", model.Succeeded, 1, map[string]operation{
			"split": {1, `{"words":4}`}, "publish": {2, `{"published":true,"attempt":2}`}, "alert": {}, "tidy": {1, `{"text":"TIDIED UP AFTER 2 ATTEMPTS"}`},
			"word-1": {1, `{"text":"TO"}`}, "word-2": {1, `{"text":"BE"}`}, "word-3": {1, `{"text":"OR"}`}, "word-4": {1, `{"text":"NOT"}`},
		}},
	} {
		if diff := cmp.Diff(want, ended(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	// What has used up its attempts goes on where it had failed when somebody asks for it, and gets as many attempts anew.
	_, err = c.Rerun(t.Context(), submitted["hopeless"], model.Rerun{Continue: true})
	h.must(err)
	want := agenda{"urgent", model.Succeeded, 1, map[string]operation{"count": {1, `{"words":2}`}, "publish": {3, `{"published":true,"attempt":3}`}}}
	if diff := cmp.Diff(want, ended("hopeless")); diff != "" {
		t.Errorf("hopeless, run again: %s", diff)
	}
}
