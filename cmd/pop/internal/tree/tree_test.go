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
		"● Words  executing, insight text, attempt 2 of 3  47%  3.5s  agenda id-1",
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

func TestLinesTellWhatHasChangedAndWhen(t *testing.T) {
	t.Parallel()
	_, now := example()
	now.UpdatedTime = at(3)
	lines := Changes(nil, now, false)
	lines = append(lines, Changes(now, now, false)...)

	_, failed := example()
	failed.Operations[1].Status = model.Status{State: model.Complete, Outcome: model.Failed, Message: "no luck", CompletedTime: at(5)}
	failed.State, failed.AttemptsCompleted, failed.Message, failed.UpdatedTime = model.Waiting, 2, "failed, waiting for the next attempt", at(5.1)
	lines = append(lines, Changes(now, failed, false)...)

	_, again := example()
	again.AttemptsCompleted, again.Fence, again.UpdatedTime = 2, 3, at(5.5)
	again.Operations[1].AttemptCount, again.Operations[1].AttemptTime, again.Operations[1].Status = 3, at(6), model.Status{State: model.Executing}
	lines = append(lines, Changes(failed, again, false)...)

	_, ended := example()
	for i := range ended.Operations {
		op := &ended.Operations[i]
		op.State, op.Outcome, op.Message, op.AttemptCount = model.Complete, model.Succeeded, "", i+2
	}
	ended.Operations[1].AttemptTime, ended.Operations[1].CompletedTime = at(6), at(9)
	ended.Operations[2].AttemptTime, ended.Operations[2].CompletedTime = at(6), at(7)
	ended.State, ended.Outcome, ended.Message, ended.CompletedTime, ended.AttemptsCompleted = model.Complete, model.Succeeded, "succeeded", at(9), 3
	lines = append(lines, Changes(failed, ended, false)...)

	want := []Line{
		{at(1.5), "operation count: succeeded in 1.5s"}, // before anybody watched
		{at(3), "agenda id-1 (Words): executing, insight text, attempt 2 of 3"},
		{at(3), "operation upper: executing attempt 2 50% half way[2J"},

		{at(5), "operation upper: failed in attempt 2: no luck"},
		{at(5.1), "agenda id-1 (Words): waiting, insight text, attempt 3 of 3: failed, waiting for the next attempt"},

		{at(5.5), "agenda id-1 (Words): executing, insight text, attempt 3 of 3"},
		{at(6), "operation upper: executing attempt 3"},

		{at(1.5), "operation count: succeeded in 1.5s"},
		{at(7), "operation join: succeeded in 1.0s"},
		{at(9), "operation upper: succeeded in 3.0s"},
		{at(9), "agenda id-1 (Words): succeeded in 4.5s, insight text, attempt 3 of 3"}, // 1.5 s, and from 6 to 9
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
}

func TestAnOperationThatIsSkippedIsToldWithTheTimeOfItsAgenda(t *testing.T) {
	t.Parallel()
	_, p := example()
	p.UpdatedTime = at(9)
	p.Operations[2].State, p.Operations[2].Outcome = model.Complete, model.Skipped
	if got, want := Changes(p, p, false), []Line(nil); !cmp.Equal(got, want) {
		t.Errorf("got %v, want nothing", got)
	}
	_, before := example()
	if got, want := Changes(before, p, false), []Line{{at(9), "operation join: skipped"}}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestLinesOfSeveralAgendasEachSayWhichOne(t *testing.T) {
	t.Parallel()
	_, p := example()
	p.Title, p.CustomerID = "", "acme"
	for _, line := range Changes(nil, p, true) {
		if !strings.HasPrefix(line.Text, "agenda id-1 (acme): ") {
			t.Errorf("got %q", line.Text)
		}
	}
}

func TestAFailureThatWasNotRetriedIsSaidToBeSo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		completed int
		outcome   model.Outcome
		want      string
	}{
		"not retried":              {1, model.Failed, "failed, insight text, attempt 1 of 3, not retried"},
		"tried as often as may be": {3, model.Failed, "failed, insight text, attempt 3 of 3"},
		"succeeded at once":        {1, model.Succeeded, "succeeded, insight text"},
		"cancelled":                {1, model.Cancelled, "cancelled, insight text"},
	} {
		p := &model.AgendaProgress{AgendaID: "a", AttemptsCompleted: c.completed, MaximumAttempts: 3, AgendaInsight: model.AgendaInsight{InsightID: "text"}}
		p.State, p.Outcome = model.Complete, c.outcome
		if got := Changes(nil, p, false)[0].Text; got != "agenda a: "+c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestSeveralTreesThatDoNotFitBecomeAgendasAndThenACount(t *testing.T) {
	t.Parallel()
	var views []View
	for i, s := range []model.Status{
		{State: model.Complete, Outcome: model.Succeeded}, {State: model.Executing}, {State: model.Waiting}, {State: model.Complete, Outcome: model.Failed},
	} {
		agenda, p := example()
		p.Title, p.Status = string(rune('a'+i)), s
		views = append(views, View{Agenda: agenda, Progress: p, Now: at(4)})
	}
	for height, want := range map[int]string{
		0:  "✔ a,├─ ✔ count,├─ ● upper,└─ ○ join,● b,├─ ✔ count,├─ ● upper,└─ ○ join,○ c,├─ ✔ count,├─ ● upper,└─ ○ join,✖ d,├─ ✔ count,├─ ● upper,└─ ○ join",
		16: "✔ a,├─ ✔ count,├─ ● upper,└─ ○ join,● b,├─ ✔ count,├─ ● upper,└─ ○ join,○ c,├─ ✔ count,├─ ● upper,└─ ○ join,✖ d,├─ ✔ count,├─ ● upper,└─ ○ join",
		15: "✔ a,● b,○ c,✖ d",
		3:  "● b,✖ d,and 1 waiting, 1 succeeded",
	} {
		var got []string
		for _, line := range Frames(views, height) {
			line, _, _ = strings.Cut(line, "  ")
			got = append(got, line)
		}
		if got := strings.Join(got, ","); got != want {
			t.Errorf("height %d:\n got %s\nwant %s", height, got, want)
		}
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
