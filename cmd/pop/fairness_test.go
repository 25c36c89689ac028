package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
)

const counting = "customerId: CUSTOMER\noperations: [{name: a, type: text.count, payload: {text: x}}]\n"

func (x *terminal) submitFor(customer string, flags ...string) string {
	x.t.Helper()
	r := x.run(strings.Replace(counting, "CUSTOMER", customer, 1), append([]string{"agenda", "submit", "-"}, flags...)...)
	if r.status != 0 {
		x.t.Fatalf("submit: %s", r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// says waits until a command prints some words, and returns all that it printed then.
func (x *terminal) says(words string, args ...string) string {
	x.t.Helper()
	out := ""
	eventually(x.t, strings.Join(args, " ")+" says "+words, func() bool {
		out = x.do(args...)
		return strings.Contains(strings.Join(strings.Fields(out), " "), words)
	})
	return out
}

func TestExplainNamesTheCapOfACustomer(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	handlers, gates := x.gatedSetup()
	x.dev("--handlers", handlers)
	x.do("apply", "-f", gates)
	contains(t, x.do("customer", "limit", "acme", "--max-in-flight", "1"), "customer acme: weight", "at most 1 in flight")
	running := x.submit("customerId: acme\noperations: [{name: a, type: gated}]\n")
	x.await(running, model.Executing)
	if out := x.do("agenda", "explain", running); !strings.Contains(out, "executing") || strings.Contains(out, "WAITS FOR") {
		t.Errorf("of one that does not wait it says:\n%s", out)
	}
	second := x.submit("customerId: acme\noperations: [{name: a, type: gated}]\n")
	third := x.submit("customerId: acme\noperations: [{name: a, type: gated}]\n")
	contains(t, x.says("CUSTOMER_CAP 1/1", "agenda", "explain", third), "waiting", "gates", "raise the customer's cap", "BEHIND_OWN", "at best")

	x.do("customer", "limit", "acme", "--max-in-flight", "none")
	x.await(second, model.Executing)
	x.write("go", "")
	x.await(third, model.Complete)
}

func TestAPauseIsExplainedAndEnds(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	contains(t, x.fail(2, "insight", "pause", "text", "--reason", "upgrade"), "--by")
	contains(t, x.fail(2, "insight", "pause", "text", "--by", "ops"), "--reason")
	contains(t, x.fail(2, "insight", "pause", "text", "--reason", "upgrade", "--by", "ops", "--until", "soon"), "--until", "soon")
	x.env = append(x.env, "USER=somebody")
	contains(t, x.do("insight", "pause", "text", "--reason", "upgrade", "--until", "2h"), "insight text paused until")
	contains(t, x.do("insight", "get", "text", "-o", "yaml"), "by: somebody", "reason: upgrade")

	id := x.submitFor("acme")
	until := time.Now().Add(2 * time.Hour).Format(time.DateOnly)
	contains(t, x.says("INSIGHT_PAUSED", "agenda", "explain", id), "end the pause of the insight", "1, if nothing arrives")
	x.do("customer", "pause", "acme", "--reason", "unpaid", "--by", "billing")
	contains(t, x.says("CUSTOMER_PAUSED", "agenda", "explain", id), "INSIGHT_PAUSED", until)
	var e model.Explanation
	if err := json.Unmarshal([]byte(x.do("agenda", "explain", id, "-o", "json")), &e); err != nil || len(e.Reasons) != 2 {
		t.Errorf("%+v %v", e, err)
	}
	contains(t, x.do("insight", "resume", "text"), "insight text resumed")
	contains(t, x.do("customer", "resume", "acme"), "customer acme resumed")
	x.await(id, model.Complete)
	contains(t, x.fail(1, "insight", "pause", "nowhere", "--reason", "r"), "nowhere")
	contains(t, x.fail(1, "agenda", "explain", "nothing"), "nothing")
}

func TestADrainKeepsAgendasOutUntilItIsResumed(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	refused := func(words ...string) {
		t.Helper()
		r := x.run(strings.Replace(counting, "CUSTOMER", "acme", 1), "agenda", "submit", "-")
		if r.status != 1 {
			t.Errorf("status %d: %s", r.status, r.stderr)
		}
		contains(t, r.stderr, words...)
	}
	x.do("insight", "pause", "text", "--reason", "test", "--by", "ops") // so that the first one still waits when the drain begins
	id := x.submitFor("acme")

	contains(t, x.fail(2, "insight", "drain", "text", "--by", "ops"), "--reason")
	contains(t, x.do("insight", "drain", "text", "--reason", "it moves", "--by", "ops", "--until", "2h"), "insight text drained until")
	refused("insight \"text\"", "drained by ops (it moves)", "try again after")
	contains(t, x.do("insight", "get", "text", "-o", "yaml"), "drain:", "pause:", "by: ops")
	contains(t, x.do("insight", "resume", "text"), "insight text resumed")
	if out := x.do("insight", "get", "text", "-o", "yaml"); strings.Contains(out, "drain:") || strings.Contains(out, "pause:") {
		t.Errorf("after it was resumed it is\n%s", out)
	}
	x.await(id, model.Complete)

	contains(t, x.do("customer", "drain", "acme", "--reason", "they leave", "--by", "sales"), "customer acme drained")
	refused("customer \"acme\"", "drained by sales (they leave)", "once it is resumed")
	x.await(x.submitFor("globex"), model.Complete)
	contains(t, x.fail(1, "agenda", "rerun", id, "--all"), "drained by sales")
	contains(t, x.do("customer", "resume", "acme"), "customer acme resumed")
	x.await(x.submitFor("acme"), model.Complete)
	contains(t, x.fail(1, "customer", "drain", "nobody", "--reason", "r", "--by", "ops"), "nobody")
}

func TestPreviewWithAnotherWeightShowsAnotherOrder(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	x.do("insight", "pause", "text", "--reason", "test", "--by", "ops")
	for range 3 {
		x.submitFor("acme")
	}
	for range 3 {
		x.submitFor("globex")
	}
	x.do("customer", "limit", "acme", "--weight", "1")
	x.do("customer", "limit", "globex", "--weight", "1")
	order := func(args ...string) string {
		var customers []string
		for line := range strings.Lines(x.do(append([]string{"insight", "preview", "text"}, args...)...)) {
			customers = append(customers, strings.Join(strings.Fields(line)[2:], " "))
		}
		return strings.Join(customers[1:], ", ") // without the header
	}
	eventually(t, "all agendas are in line", func() bool {
		return order() == "acme, globex, acme, globex, acme, globex"
	})
	for _, test := range []struct{ args, want string }{
		{"-n 2", "acme, globex"},
		{"--algorithm FirstInFirstOut", "acme, acme, acme, globex, globex, globex"},
		{"--weight globex=2", "acme, globex (changed), globex (changed), acme, globex (changed), acme"},
		{"--max-in-flight acme=1 --weight acme=2", "acme (changed), globex, globex, globex"},
		{"", "acme, globex, acme, globex, acme, globex"},
	} {
		if got := order(strings.Fields(test.args)...); got != test.want {
			t.Errorf("preview %s: %s, want %s", test.args, got, test.want)
		}
	}
	contains(t, x.fail(1, "insight", "preview", "text", "--weight", "globex=0"), "customers.globex.weight")
	contains(t, x.fail(1, "insight", "preview", "text", "--weight", "nobody=2"), "nobody")
	contains(t, x.fail(1, "insight", "preview", "text", "--algorithm", "Magic"), "schedulingAlgorithm", "FirstInFirstOut")
	for _, args := range [][]string{{"-n", "0"}, {"--weight", "globex"}, {"--weight", "globex=much"}, {"--max-in-flight", "globex=few"}} {
		x.fail(2, append([]string{"insight", "preview", "text"}, args...)...)
	}
}

func TestFairnessPrintsTheCertificate(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	x.await(x.submitFor("acme"), model.Complete)
	x.await(x.submitFor("globex"), model.Complete)
	out := x.do("insight", "fairness", "text")
	contains(t, out, "WeightedFair", "lag", "a newcomer", "Jain's index", "2 scheduled", "CUSTOMER", "acme", "globex")
	if strings.Contains(out, "all others") {
		t.Errorf("there are no others:\n%s", out)
	}
	contains(t, x.do("insight", "fairness", "text", "--busiest", "1"), "(all others)")
	var f model.Fairness
	if err := json.Unmarshal([]byte(x.do("insight", "fairness", "text", "-o", "json")), &f); err != nil || f.Scheduled != 2 || len(f.Busiest) != 2 {
		t.Errorf("%+v %v", f, err)
	}
	contains(t, x.fail(1, "insight", "fairness", "text", "--busiest", "101"), "busiest")
}

func TestLimitsOfACustomerAreChangedOneByOne(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	for _, step := range []struct{ args, want string }{
		{"--weight 3", "customer acme: weight 3\n"},
		{"--rate 10/1s --burst 5", "customer acme: weight 3, 10 in 1s, up to 5 at once\n"},
		{"--rate 20/1m", "customer acme: weight 3, 20 in 1m0s, up to 5 at once\n"},
		{"--quota 100/24h --max-in-flight 2", "customer acme: weight 3, at most 2 in flight, 20 in 1m0s, up to 5 at once, 100 in each window of 24h0m0s\n"},
		{"--rate none --quota none --max-in-flight none", "customer acme: weight 3\n"},
	} {
		if got := x.do(append([]string{"customer", "limit", "acme"}, strings.Fields(step.args)...)...); got != step.want {
			t.Errorf("limit %s: %q, want %q", step.args, got, step.want)
		}
	}
	contains(t, x.fail(1, "customer", "limit", "acme", "--weight", "0"), "weight")
	contains(t, x.fail(1, "customer", "limit", "acme", "--rate", "-1/1s"), "rateLimit.count")
	contains(t, x.fail(1, "customer", "limit", "acme", "--burst", "3"), "rateLimit.count")
	for _, args := range []string{"", "--weight much", "--rate 10", "--rate ten/1s", "--quota 1/day", "--burst few", "--max-in-flight few"} {
		x.fail(2, append([]string{"customer", "limit", "acme"}, strings.Fields(args)...)...)
	}
}

func TestPriorityAndTimeOfAnAgendaCanBeGivenOnTheCommandLine(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	x.dev()
	later := x.submitFor("acme", "--not-before", "2h", "--priority", "-2")
	a := x.shown(later).Agenda
	if away := time.Until(a.NotBefore); a.Priority != -2 || away < time.Hour || away > 2*time.Hour {
		t.Errorf("%d %s", a.Priority, a.NotBefore)
	}
	contains(t, x.says("SCHEDULED_FOR", "agenda", "explain", later), "becomes ready at its time")
	at := strings.TrimSpace(x.do("agenda", "submit", "--template", "words", "--customer", "acme", "--priority", "3", "--not-before", "2100-01-02T03:04:05Z"))
	if a = x.shown(at).Agenda; a.Priority != 3 || a.NotBefore.Year() != 2100 {
		t.Errorf("%d %s", a.Priority, a.NotBefore)
	}
	contains(t, x.fail(2, "agenda", "submit", "--template", "words", "--not-before", "tomorrow"), "--not-before", "tomorrow")
	contains(t, x.fail(1, "agenda", "submit", "--template", "words", "--customer", "acme", "--priority", "11"), "priority")
}
