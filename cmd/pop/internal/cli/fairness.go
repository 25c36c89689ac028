package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/objects"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain ID", Short: "Say why an agenda waits, in which place, and for how long",
		Example: `  pop agenda explain "$ID"`,
		Args:    takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.Explain(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if a.format != output.Table {
				return a.printer().Value(e)
			}
			return a.printExplanation(&e)
		},
	}
}

func (a *app) printExplanation(e *model.Explanation) error {
	about := output.Rows{Cells: [][]string{{"agenda", e.AgendaID}, {"insight", e.InsightID}, {"state", strings.ToLower(string(e.State))}}}
	if inLine(e) {
		about.Add("place", placeOf(e))
	}
	if e.HighSeconds > 0 {
		about.Add("estimate", fmt.Sprintf("is scheduled in %s to %s", roughly(e.LowSeconds), roughly(e.HighSeconds)))
	}
	if err := a.printer().Rows(about); err != nil || len(e.Reasons) == 0 {
		return err
	}
	if _, err := fmt.Fprintln(a.Stdout); err != nil {
		return err
	}
	reasons := output.Rows{Header: []string{"WAITS FOR", "COUNT", "UNTIL", "REMEDY"}}
	for _, r := range e.Reasons {
		reasons.Add(r.Code, countOf(r), when(r.Until), r.Remedy)
	}
	return a.printer().Rows(reasons)
}

// inLine reports whether an agenda has a place in its insight's line.
func inLine(e *model.Explanation) bool {
	return e.State == model.Waiting && !slices.ContainsFunc(e.Reasons, func(r model.WaitReason) bool {
		return r.Code == "HELD" || r.Code == "STARTING" || r.Code == "SCHEDULED_FOR" || r.Code == "AGENDA_PAUSED" || r.Code == "BACKOFF"
	})
}

func placeOf(e *model.Explanation) string {
	place := strconv.Itoa(e.Ahead + 1)
	if e.Exact {
		return place + ", if nothing arrives"
	}
	return place + " at best, if nothing arrives"
}

// countOf returns how many a reason is about, and of how many.
func countOf(r model.WaitReason) string {
	switch {
	case r.Customers > 0:
		return fmt.Sprintf("%d of %s", r.Count, plural(r.Customers, "customer"))
	case r.Limit > 0 && r.Code == "RATE_LIMIT": // nobody counts what is in the period
		return fmt.Sprintf("limit %d", r.Limit)
	case r.Limit > 0:
		return fmt.Sprintf("%d/%d", r.Count, r.Limit)
	case r.Count > 0:
		return strconv.Itoa(r.Count)
	}
	return ""
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// roughly returns a time of which only the magnitude counts.
func roughly(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute).String()
	case d >= 10*time.Second:
		return d.Round(time.Second).String()
	}
	return d.Round(time.Millisecond).String()
}

func (a *app) previewCommand() *cobra.Command {
	var req model.PreviewRequest
	var algorithm string
	var weights, caps map[string]string
	cmd := &cobra.Command{
		Use: "preview ID", Short: "Show what an insight schedules next, or would after a change",
		Long: `Show what an insight schedules next, or would after a change. Nothing is scheduled or changed.`,
		Example: `  pop insight preview text
  pop insight preview text -n 50 --algorithm RoundRobin
  pop insight preview text --weight acme=3 --max-in-flight globex=2`,
		Args: takes(1, 1), ValidArgsFunction: a.completeIDs(objects.Insight),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("count") && req.Count < 1 {
				return usagef("-n must be at least 1")
			}
			req.Algorithm = model.SchedulingAlgorithm(algorithm)
			changes, err := limitChanges(weights, caps)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if req.Customers, err = changedLimits(cmd.Context(), c, changes); err != nil {
				return err
			}
			preview, err := c.Preview(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			rows := output.Rows{Header: []string{"PLACE", "AGENDA", "CUSTOMER"}}
			for i, item := range preview.Agendas {
				customer := item.CustomerID
				if _, changed := req.Customers[customer]; changed {
					customer += " (changed)"
				}
				rows.Add(strconv.Itoa(i+1), item.AgendaID, customer)
			}
			return a.printer().Print(preview, rows)
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&req.Count, "count", "n", 20, "how many agendas to show, at most 1000")
	completeAlgorithm(cmd, &algorithm)
	flags.StringToStringVar(&weights, "weight", nil, "customer=weight: give a customer this weight")
	flags.StringToStringVar(&caps, "max-in-flight", nil, "customer=number: let a customer have so many agendas in flight; none for any number")
	return cmd
}

// completeAlgorithm adds the flag that names another algorithm.
func completeAlgorithm(cmd *cobra.Command, algorithm *string) {
	cmd.Flags().StringVar(algorithm, "algorithm", "", "schedule by this algorithm")
	_ = cmd.RegisterFlagCompletionFunc("algorithm", cobra.FixedCompletions([]string{ // the flag exists
		string(model.WeightedFair), string(model.RoundRobin), string(model.Priority), string(model.FirstInFirstOut),
	}, cobra.ShellCompDirectiveNoFileComp))
}

// limitChanges returns what flags of the form customer=value change of each customer's limits.
func limitChanges(weights, caps map[string]string) (map[string][]limitChange, error) {
	changes := map[string][]limitChange{}
	for _, flag := range []struct {
		name   string
		values map[string]string
		parse  func(string) (limitChange, error)
	}{{"weight", weights, parseWeight}, {"max-in-flight", caps, parseMaxInFlight}} {
		for id, value := range flag.values {
			change, err := flag.parse(value)
			if err != nil {
				return nil, usagef("--%s %s=%s: %w", flag.name, id, value, err)
			}
			changes[id] = append(changes[id], change)
		}
	}
	return changes, nil
}

// changedLimits returns customers' limits with changes.
func changedLimits(ctx context.Context, c *client.Client, changes map[string][]limitChange) (map[string]model.Limits, error) {
	limits := map[string]model.Limits{}
	for _, id := range slices.Sorted(maps.Keys(changes)) {
		customer, err := c.Customers.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, change := range changes[id] {
			change(&customer.Object.Limits)
		}
		limits[id] = customer.Object.Limits
	}
	return limits, nil
}

func (a *app) fairnessCommand() *cobra.Command {
	busiest := 20
	cmd := &cobra.Command{
		Use: "fairness ID", Short: "Measure how fair an insight is, and how it serves its customers",
		Example: `  pop insight fairness text
  pop insight fairness text --busiest 100 -o json`,
		Args: takes(1, 1), ValidArgsFunction: a.completeIDs(objects.Insight),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			f, err := c.Fairness(cmd.Context(), args[0], busiest)
			if err != nil {
				return err
			}
			if a.format != output.Table {
				return a.printer().Value(f)
			}
			return a.printFairness(&f)
		},
	}
	cmd.Flags().IntVar(&busiest, "busiest", busiest, "how many customers to list one by one, at most 100")
	return cmd
}

func (a *app) printFairness(f *model.Fairness) error {
	about := output.Rows{Cells: [][]string{{"insight", f.InsightID}, {"algorithm", string(f.Algorithm)}}}
	if !f.Since.IsZero() {
		about.Add("measured since", when(f.Since))
	}
	about.Add("lag", lagOf(f.Lag, f.Bound, f.Holds))
	newcomer := "no bound"
	if f.Newcomer >= 0 {
		newcomer = fmt.Sprintf("waits for %d services at most, and for %d on the queue", f.Newcomer, f.Queue)
	}
	about.Add("a newcomer", newcomer)
	jain := "no contention yet"
	if f.JainOver > 0 {
		jain = fmt.Sprintf("%.3f over %d services", f.Jain, f.JainOver)
	}
	about.Add("Jain's index", jain)
	about.Add("customers", fmt.Sprintf("%d waiting, %d of them active, %d parked", f.Customers, f.Active, f.Parked))
	about.Add("agendas", fmt.Sprintf("%d waiting, %d queued, %d in flight, %d scheduled", f.Waiting, f.Queued, f.InFlight, f.Scheduled))
	if err := a.printer().Rows(about); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Stdout); err != nil {
		return err
	}
	customers := output.Rows{Header: []string{"CUSTOMER", "WEIGHT", "SCHEDULED", "COST", "WAITING", "IN FLIGHT", "WAITED P50", "P99", "LAG", "BOUND", "PARKED", "HELD"}}
	for i := range f.Busiest {
		s := &f.Busiest[i]
		held := s.Held
		if !s.HeldUntil.IsZero() {
			held += " until " + when(s.HeldUntil)
		}
		customers.Add(s.CustomerID, decimal(s.Weight), strconv.FormatInt(s.Scheduled, 10), decimal(s.Cost), strconv.Itoa(s.Waiting), strconv.Itoa(s.InFlight),
			roughly(s.DwellP50), roughly(s.DwellP99), decimal(s.Lag), decimal(s.Bound), parkedFor(s.ParkedSeconds), held)
	}
	if o := &f.Others; o.Scheduled > 0 || o.Waiting > 0 || o.InFlight > 0 {
		customers.Add("(all others)", "", strconv.FormatInt(o.Scheduled, 10), decimal(o.Cost), strconv.Itoa(o.Waiting), strconv.Itoa(o.InFlight))
	}
	return a.printer().Rows(customers)
}

// lagOf says how large a lag was, and whether it might be.
func lagOf(lag, bound float64, holds bool) string {
	switch {
	case bound == 0:
		return decimal(lag) + "; no bound applies: the algorithm promises none, or there are no two customers to compare"
	case holds:
		return fmt.Sprintf("%s of at most %s: holds", decimal(lag), decimal(bound))
	default:
		return fmt.Sprintf("%s of at most %s: BROKEN", decimal(lag), decimal(bound))
	}
}

// parkedFor returns how long a customer was parked, for each reason.
func parkedFor(seconds map[string]float64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(seconds)) {
		parts = append(parts, reason+" "+roughly(seconds[reason]))
	}
	return strings.Join(parts, ", ")
}

// decimal returns a number with no more digits than help.
func decimal(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }
