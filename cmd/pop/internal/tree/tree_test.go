package tree

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/core/model"
)

var start = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func example() (*model.Agenda, *model.AgendaProgress) {
	agenda := &model.Agenda{Operations: []model.Operation{
		{Name: "count", Type: "t"},
		{Name: "upper", Type: "t"},
		{Name: "join", Type: "t", Payload: json.RawMessage(`["@<count.out>", "@<upper.out>"]`)},
	}}
	p := &model.AgendaProgress{AgendaID: "id-1", AttemptsCompleted: 1, MaximumAttempts: 3}
	p.Title = "Words"
	p.AgendaInsight.InsightID = "text"
	p.State, p.PercentComplete, p.StartedTime = model.Executing, 47, at(0)
	p.Operations = []model.OperationProgress{
		{Operation: "count", AttemptCount: 1, AttemptTime: at(0), Status: model.Status{State: model.Complete, Outcome: model.Succeeded, CompletedTime: at(1.5)}},
		{Operation: "upper", AttemptCount: 2, AttemptTime: at(2), Status: model.Status{State: model.Executing, PercentComplete: 50, Message: "half\nway\x1b[2J"}},
		{Operation: "join", Status: model.Status{State: model.Waiting}},
	}
	return agenda, p
}

func TestATreeShowsStatesBarsDurationsAndWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	agenda, p := example()
	got := View{Agenda: agenda, Progress: p, Now: at(4)}.Frame()
	want := []string{
		"● Words  executing, insight text, attempt 2 of 3  47%  4.0s  agenda id-1",
		"├─ ✔ count  1.5s",
		"├─ ● upper  ██████░░░░░░  50%  2.0s  attempt 2  half way[2J",
		"└─ ○ join   after upper",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestALineIsCutToTheWidth(t *testing.T) {
	t.Parallel()
	agenda, p := example()
	for _, line := range (View{Agenda: agenda, Progress: p, Now: at(4), Width: 24}).Frame() {
		if n := len([]rune(line)); n > 24 {
			t.Errorf("%q has %d columns", line, n)
		}
	}
}

func TestATreeThatDoesNotFitKeepsWhatRunsAndCountsTheRest(t *testing.T) {
	t.Parallel()
	agenda, p := example()
	got := View{Agenda: agenda, Progress: p, Now: at(4), Height: 3}.Frame()
	want := []string{"├─ ● upper  ██████░░░░░░  50%  2.0s  attempt 2  half way[2J", "└─ and 1 waiting, 1 succeeded"}
	if diff := cmp.Diff(want, got[1:]); diff != "" {
		t.Error(diff)
	}
}

func TestColorsAreOnlyUsedIfAskedFor(t *testing.T) {
	t.Parallel()
	agenda, p := example()
	if got := strings.Join(View{Agenda: agenda, Progress: p}.Frame(), ""); strings.Contains(got, "\x1b") {
		t.Error("escape sequences without colour")
	}
	if got := (View{Agenda: agenda, Progress: p, Color: true}).Frame()[1]; !strings.HasPrefix(got, "├─ \x1b[32m✔\x1b[0m ") {
		t.Errorf("got %q", got)
	}
}

func TestLinesTellWhatHasChanged(t *testing.T) {
	t.Parallel()
	_, now := example()
	var lines []string
	lines = append(lines, Changes(nil, now)...)
	lines = append(lines, Changes(now, now)...)

	_, failed := example()
	failed.Operations[1].Status = model.Status{State: model.Complete, Outcome: model.Failed, Message: "no luck", CompletedTime: at(5)}
	failed.State, failed.AttemptsCompleted, failed.Message = model.Waiting, 2, "failed, waiting for the next attempt"
	lines = append(lines, Changes(now, failed)...)

	_, ended := example()
	for i := range ended.Operations {
		op := &ended.Operations[i]
		op.State, op.Outcome, op.Message, op.AttemptTime, op.CompletedTime, op.AttemptCount = model.Complete, model.Succeeded, "", at(6), at(7), i+1
	}
	ended.State, ended.Outcome, ended.Message, ended.CompletedTime, ended.AttemptsCompleted = model.Complete, model.Succeeded, "succeeded", at(7), 3
	lines = append(lines, Changes(failed, ended)...)

	want := []string{
		"agenda id-1: executing, insight text, attempt 2 of 3",
		"operation count: succeeded in 1.5s",
		"operation upper: executing attempt 2 50% half way[2J",

		"operation upper: failed in attempt 2: no luck",
		"agenda id-1: waiting, insight text, attempt 3 of 3: failed, waiting for the next attempt",

		"operation upper: succeeded in 1.0s",
		"operation join: succeeded in 1.0s",
		"agenda id-1: succeeded in 7.0s, insight text, attempt 3 of 3",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestDurationsAreShort(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0s", 1540 * time.Millisecond: "1.5s", 125 * time.Second: "2m05s", 3*time.Hour + 4*time.Minute: "3h04m",
	} {
		if got := Duration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}
