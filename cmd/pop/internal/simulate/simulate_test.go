package simulate_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pop-platform/pop/cmd/pop/internal/simulate"
	"github.com/pop-platform/pop/core/model"
)

func simulated(t *testing.T, yaml string) *simulate.Result {
	t.Helper()
	s, err := simulate.Parse([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	r, err := simulate.Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSlotsRunAgendasOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := simulated(t, `{slots: 2, runTime: {mean: 10s}, customers: [{id: a, arrivals: [{at: 5s, count: 5}]}]}`)
	want := simulate.Shares{Customer: "a", Weight: 1, Submitted: 5, Started: 5, Ended: 5, Share: 1, Fair: 1, P50: 10, P99: 20, Max: 20, Lag: 1, Bound: 1}
	if diff := cmp.Diff(want, r.Customers[0], cmpopts.IgnoreUnexported(want)); diff != "" {
		t.Error(diff)
	}
	if r.Seconds != 35 || r.Busy != 50./70 {
		t.Errorf("took %v s, busy %v", r.Seconds, r.Busy)
	}
}

func TestArrivalsComeAtTheirTimes(t *testing.T) {
	t.Parallel()
	r := simulated(t, `
slots: 100
duration: 100s
runTime: {mean: 1ms}
customers:
  - {id: once, arrivals: [{at: 99s}, {at: 101s}]}
  - {id: often, copies: 3, arrivals: [{at: 10s, every: 10s, count: 2, until: 50s}]}
  - {id: always, arrivals: [{every: 10s}]}
  - {id: random, arrivals: [{perSecond: 20}]}`)
	for i, want := range []int{1, 3 * 2 * 4, 10, 2000} {
		c := r.Customers[i]
		if c.Customer == "random" && c.Submitted > 1800 && c.Submitted < 2200 {
			continue
		}
		if c.Submitted != want {
			t.Errorf("%s submitted %d, want %d", c.Customer, c.Submitted, want)
		}
	}
}

func TestASeedDecidesEverythingAndTheAlgorithmOnlyTheOrder(t *testing.T) {
	t.Parallel()
	scenario := func(algorithm, seed string) *simulate.Result {
		return simulated(t, `
slots: 3
seed: `+seed+`
insight: {schedulingAlgorithm: `+algorithm+`}
runTime: {mean: 3s, distribution: lognormal}
customers:
  - {id: a, arrivals: [{perSecond: 1, until: 10m}]}
  - {id: b, arrivals: [{perSecond: 0.2, until: 10m}]}`)
	}
	first := scenario("WeightedFair", "1")
	if diff := cmp.Diff(first, scenario("WeightedFair", "1"), cmp.AllowUnexported(simulate.Result{}), cmpopts.IgnoreUnexported(simulate.Shares{})); diff != "" {
		t.Errorf("the same twice differs: %s", diff)
	}
	if other := scenario("WeightedFair", "2"); other.Started == first.Started {
		t.Error("another seed gives the same arrivals")
	}
	fifo := scenario("FirstInFirstOut", "1")
	if fifo.Started != first.Started || fifo.Customers[1].P50 <= first.Customers[1].P50 {
		t.Errorf("%d agendas started, want %d; half of those of b waited for %v s, %v s when shared", fifo.Started, first.Started, fifo.Customers[1].P50, first.Customers[1].P50)
	}
}

func TestChangesTakeEffectAtTheirTime(t *testing.T) {
	t.Parallel()
	r := simulated(t, `
slots: 1
duration: 400s
insight: {queueSize: 1}
customers:
  - {id: a, copies: 2, arrivals: [{count: 1000}]}
  - {id: b, arrivals: [{count: 1000}]}
changes:
  - {at: 100s, customer: a, paused: true}
  - {at: 200s, customer: a, paused: false}
  - {at: 200s, slots: 0}
  - {at: 300s, slots: 1, insight: {queueSize: 1, schedulingAlgorithm: FirstInFirstOut}}`)
	// Each third for 100 s, b alone for 100 s, nobody, then whoever was first.
	a, b := r.Customers[0], r.Customers[1]
	if a.Started < 160 || a.Started > 170 || b.Started < 130 || b.Started > 140 || a.Started+b.Started < 300 {
		t.Errorf("%d of a and %d of b started", a.Started, b.Started)
	}
	if r.Algorithm != model.FirstInFirstOut || r.Busy < 0.99 {
		t.Errorf("%s, busy %v", r.Algorithm, r.Busy)
	}
}

func TestAnInsightThatIsPausedServesNothing(t *testing.T) {
	t.Parallel()
	r := simulated(t, `
slots: 1
customers: [{id: a, arrivals: [{count: 10}]}]
insight: {queueSize: 1}
changes: [{at: 5s, paused: true}, {at: 105s, paused: false}]`)
	if r.Seconds < 108 || r.Seconds > 112 || r.Started != 10 {
		t.Errorf("%d started in %v s", r.Started, r.Seconds)
	}
}

func TestWhatIsWrongIsSaidWithThePathOfTheField(t *testing.T) {
	t.Parallel()
	_, err := simulate.Parse([]byte(`
slots: 0
duration: -1
runTime: {mean: 0, distribution: odd}
insight: {schedulingAlgorithm: FIFO, queueSize: 0, maxInFlight: -1}
customers:
  - {id: a, weight: 0, maxInFlight: 0, rateLimit: {count: -1, periodSeconds: 0}, quota: {count: 0, windowSeconds: 0}, copies: -1, arrivals: [{at: -1, every: 1s, perSecond: 1, priority: 99}]}
  - {id: a}
  - {arrivals: [{until: 5, count: -1}], runTime: {mean: -1}}
changes:
  - {at: -1}
  - {at: 0, customer: b, slots: -1, limits: {weight: -1}}
  - {at: 0, limits: {weight: 1}, insight: {queueSize: 0}}`))
	refused, ok := errors.AsType[*model.Error](err)
	if !ok {
		t.Fatalf("%v", err)
	}
	var paths []string
	for _, issue := range refused.Issues {
		paths = append(paths, issue.Path)
		if issue.Message == "" {
			t.Errorf("%s: no message", issue.Path)
		}
	}
	want := []string{
		"slots", "duration", "runTime.mean", "runTime.distribution", "insight.queueSize", "insight.maxInFlight", "insight.schedulingAlgorithm",
		"customers[0].copies", "customers[0].weight", "customers[0].maxInFlight", "customers[0].rateLimit.count",
		"customers[0].rateLimit.periodSeconds", "customers[0].quota.count", "customers[0].quota.windowSeconds",
		"customers[0].arrivals[0].at", "customers[0].arrivals[0].every", "customers[0].arrivals[0].priority", "customers[0].arrivals[0].until",
		"customers[1].id", "customers[1].arrivals", "customers[2].id", "customers[2].runTime.mean", "customers[2].arrivals[0].count",
		"customers[2].arrivals[0].until", "changes[0].at", "changes[0].at", "changes[1].slots", "changes[1].customer", "changes[1].limits.weight",
		"changes[2].customer", "changes[2].insight.queueSize",
	}
	sorted := cmpopts.SortSlices(strings.Compare)
	if diff := cmp.Diff(want, paths, sorted); diff != "" {
		t.Error(diff)
	}
	for _, text := range []string{"slots: many", "slots: 1\nsurprise: true", "slots: 1\nduration: soon\ncustomers: [{id: a}]", "slots: 1"} {
		if _, err := simulate.Parse([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	_, err = simulate.Parse([]byte("slots: many\nsurprise: true\nduration: soon\ncustomers: [{id: a, arrivals: [{every: 5}, {every: often}]}]"))
	refused, _ = errors.AsType[*model.Error](err)
	got := map[string]string{}
	for _, issue := range refused.Issues {
		got[issue.Path] = issue.Message
	}
	if diff := cmp.Diff(map[string]string{
		"slots":                          `must be a whole number, not the text "many"`,
		"surprise":                       "is not a field; the fields are changes, customers, duration, insight, runTime, seed, slots, title, trace",
		"duration":                       `must be a time such as 1m30s, or a number of seconds, not the text "soon"`,
		"customers[0].arrivals[1].every": `must be a time such as 1m30s, or a number of seconds, not the text "often"`,
	}, got); diff != "" {
		t.Error(diff)
	}
}

func TestATraceIsReadFromListsAndFromLines(t *testing.T) {
	t.Parallel()
	run := func(trace string) (*simulate.Result, error) {
		dir := t.TempDir()
		scenario := filepath.Join(dir, "scenario.yaml")
		for path, text := range map[string]string{scenario: "slots: 1\ntrace: trace.json\n", filepath.Join(dir, "trace.json"): trace} {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := simulate.Load(scenario)
		if err != nil {
			return nil, err
		}
		return simulate.Run(t.Context(), s)
	}
	const one = `{"customerId":"a","addedTime":"2026-01-01T00:00:10Z","startedTime":"2026-01-01T00:01:00Z","completedTime":"2026-01-01T00:01:05Z"}`
	const two = `{"customerId":"b","addedTime":"2026-01-01T00:00:00Z","startedTime":"2026-01-01T00:02:00Z","completedTime":"2026-01-01T00:02:20Z"}`
	const waiting = `{"customerId":"c","addedTime":"2025-01-01T00:00:00Z"}`
	for _, trace := range []string{"[" + one + "," + two + "," + waiting + "]", one + "\n" + waiting + "\n" + two} {
		r, err := run(trace)
		if err != nil {
			t.Fatal(err)
		}
		// b runs from 0 to 20 s, a waits from 10 s and runs until 25 s.
		if r.Seconds != 25 || r.Customers[0].Customer != "a" || r.Customers[0].Max != 10 {
			t.Errorf("took %v s, %+v", r.Seconds, r.Customers)
		}
	}
	for _, trace := range []string{"", "[", waiting, `{"customerId":5}`} {
		if _, err := run(trace); err == nil {
			t.Errorf("%q is accepted", trace)
		}
	}
}

func TestAPlotIsXMLAndNamesEverybody(t *testing.T) {
	t.Parallel()
	yaml := "slots: 3\ntitle: a < b & c\ncustomers:\n"
	for id := range strings.SplitSeq("abcdefghijk", "") {
		yaml += "  - {id: customer-" + id + ", arrivals: [{count: 30}]}\n"
	}
	var plot bytes.Buffer
	if err := simulated(t, yaml).SVG(&plot); err != nil {
		t.Fatal(err)
	}
	var texts []string
	polygons := 0
	decoder := xml.NewDecoder(bytes.NewReader(plot.Bytes()))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch v := token.(type) {
		case xml.CharData:
			if text := strings.TrimSpace(string(v)); text != "" {
				texts = append(texts, text)
			}
		case xml.StartElement:
			if v.Name.Local == "polygon" {
				polygons++
			}
		}
	}
	all := strings.Join(texts, "|")
	for _, want := range []string{"a < b & c: WeightedFair", "agendas running", "agendas waiting", "customer-a", "customer-g", "4 others", "110s"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not on the plot: %s", want, all)
		}
	}
	if polygons != 16 {
		t.Errorf("%d areas, want 8 in each panel", polygons)
	}
	if err := simulated(t, yaml).SVG(failing{}); err == nil {
		t.Error("that the plot could not be written is not told")
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestASimulationEndsWhenItsContextDoes(t *testing.T) {
	t.Parallel()
	s, err := simulate.Parse([]byte(`{slots: 1, customers: [{id: a, arrivals: [{count: 100000}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := simulate.Run(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
