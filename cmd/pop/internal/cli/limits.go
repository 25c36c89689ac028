package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/objects"
	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// none lifts a limit.
const none = "none"

// schedulingCommands returns the commands of a kind of object that are about how it is scheduled.
func (a *app) schedulingCommands(k objects.Kind) []*cobra.Command {
	switch k {
	case objects.Insight:
		insights := func(c *client.Client) *client.Collection[model.Insight] { return c.Insights }
		pause := func(v *model.Insight, p *model.Pause) { v.Pause = p }
		drain := func(v *model.Insight, p *model.Pause) { v.Drain = p }
		return []*cobra.Command{
			a.previewCommand(), a.fairnessCommand(),
			pauseCommand(a, k, insights, pause), drainCommand(a, k, insights, drain), resumeCommand(a, k, insights, pause, drain),
		}
	case objects.Customer:
		customers := func(c *client.Client) *client.Collection[model.Customer] { return c.Customers }
		pause := func(v *model.Customer, p *model.Pause) { v.Pause = p }
		drain := func(v *model.Customer, p *model.Pause) { v.Drain = p }
		return []*cobra.Command{
			a.limitCommand(),
			pauseCommand(a, k, customers, pause), drainCommand(a, k, customers, drain), resumeCommand(a, k, customers, pause, drain),
		}
	}
	return nil
}

// maxTries is how often a change is made again because others have changed the object in between.
const maxTries = 10

// modify changes an object as it is now.
func modify[T any](ctx context.Context, c *client.Collection[T], id string, apply func(*T)) (T, error) {
	for try := 1; ; try++ {
		entry, err := c.Get(ctx, id)
		if err != nil {
			return entry.Object, err
		}
		apply(&entry.Object)
		entry, err = c.Put(ctx, id, entry.Object, entry.ETag)
		if model.KindOf(err) != model.Stale || try == maxTries {
			return entry.Object, err
		}
	}
}

func pauseCommand[T any](a *app, k objects.Kind, of func(*client.Client) *client.Collection[T], set func(*T, *model.Pause)) *cobra.Command {
	cmd := &cobra.Command{
		Use: "pause ID --reason REASON", Short: fmt.Sprintf("Schedule no agenda of a %s for a while; what runs goes on", k.Noun()),
		Example: fmt.Sprintf(`  pop %[1]s pause "$ID" --reason "the disks are full" --by ops
  pop %[1]s pause "$ID" --reason upgrade --by ops --until 2h`, k.Noun()),
	}
	return holdCommand(a, cmd, "paused", k, of, set)
}

func drainCommand[T any](a *app, k objects.Kind, of func(*client.Client) *client.Collection[T], set func(*T, *model.Pause)) *cobra.Command {
	cmd := &cobra.Command{
		Use: "drain ID --reason REASON", Short: fmt.Sprintf("Accept no agenda of a %s for a while; those that wait or run go on", k.Noun()),
		Example: fmt.Sprintf(`  pop %[1]s drain "$ID" --reason "it is taken out of service" --by ops`, k.Noun()),
	}
	return holdCommand(a, cmd, "drained", k, of, set)
}

// holdCommand makes a command pause or drain.
func holdCommand[T any](a *app, cmd *cobra.Command, done string, k objects.Kind, of func(*client.Client) *client.Collection[T], set func(*T, *model.Pause)) *cobra.Command {
	var pause model.Pause
	var until string
	cmd.Args, cmd.ValidArgsFunction = takes(1, 1), a.completeIDs(k)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if pause.By == "" {
			pause.By = a.Getenv("USER")
		}
		switch {
		case pause.Reason == "":
			return usagef("say why with --reason")
		case pause.By == "":
			return usagef("say who does it with --by")
		}
		var err error
		if pause.Until, err = parseTime(until); err != nil {
			return usagef("--until: %w", err)
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		stored, err := modify(cmd.Context(), of(c), args[0], func(v *T) { set(v, &pause) })
		if err != nil {
			return err
		}
		end := ""
		if !pause.Until.IsZero() {
			end = " until " + when(pause.Until)
		}
		return a.printer().Print(stored, output.Rows{Cells: [][]string{{fmt.Sprintf("%s %s %s%s", k.Noun(), args[0], done, end)}}})
	}
	flags := cmd.Flags()
	flags.StringVar(&pause.Reason, "reason", "", "why, for those who wait")
	flags.StringVar(&pause.By, "by", "", "who does it, for those who want to ask; $USER if it is not given")
	flags.StringVar(&until, "until", "", "when it ends by itself: a time such as 2030-01-02T15:04:05Z, or one from now such as 2h")
	return cmd
}

func resumeCommand[T any](a *app, k objects.Kind, of func(*client.Client) *client.Collection[T], holds ...func(*T, *model.Pause)) *cobra.Command {
	return &cobra.Command{
		Use: "resume ID", Short: "End the pause and the drain of a " + k.Noun(), Example: fmt.Sprintf(`  pop %s resume "$ID"`, k.Noun()),
		Args: takes(1, 1), ValidArgsFunction: a.completeIDs(k),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			stored, err := modify(cmd.Context(), of(c), args[0], func(v *T) {
				for _, set := range holds {
					set(v, nil)
				}
			})
			if err != nil {
				return err
			}
			return a.printer().Print(stored, output.Rows{Cells: [][]string{{fmt.Sprintf("%s %s resumed", k.Noun(), args[0])}}})
		},
	}
}

// limitChange changes one of a customer's limits.
type limitChange func(*model.Limits)

func (a *app) limitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "limit ID", Short: "Change what a customer gets of each insight",
		Long: `Change what a customer gets of each insight. Limits that are not named stay; "none" lifts one. What runs goes on.`,
		Example: `  pop customer limit acme --weight 3
  pop customer limit acme --max-in-flight 10 --rate 10/1s --burst 20 --quota 1000/24h
  pop customer limit acme --max-in-flight none`,
		Args: takes(1, 1), ValidArgsFunction: a.completeIDs(objects.Customer),
	}
	flags := cmd.Flags()
	parsers := []struct {
		flag  string
		value *string
		parse func(string) (limitChange, error)
	}{
		{"weight", flags.String("weight", "", "share relative to other customers"), parseWeight},
		{"max-in-flight", flags.String("max-in-flight", "", "most agendas that are queued or executing at a time, or none"), parseMaxInFlight},
		{"rate", flags.String("rate", "", "how fast agendas are scheduled at most, such as 10/1s, or none"), parseRate},
		{"burst", flags.String("burst", "", "how many may come at once after a time of rest; goes with a rate"), parseBurst},
		{"quota", flags.String("quota", "", "most agendas in each window of time, such as 100/24h, or none"), parseQuota},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var changes []limitChange
		for _, p := range parsers { // in this order, so that a burst finds its rate
			if !flags.Changed(p.flag) {
				continue
			}
			change, err := p.parse(*p.value)
			if err != nil {
				return usagef("--%s %s: %w", p.flag, *p.value, err)
			}
			changes = append(changes, change)
		}
		if len(changes) == 0 {
			return usagef("name a limit to change")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		stored, err := modify(cmd.Context(), c.Customers, args[0], func(v *model.Customer) {
			for _, change := range changes {
				change(&v.Limits)
			}
		})
		if err != nil {
			return err
		}
		return a.printer().Print(stored, output.Rows{Cells: [][]string{{"customer " + args[0] + ": " + limitsText(&stored.Limits)}}})
	}
	return cmd
}

func limitsText(l *model.Limits) string {
	parts := []string{"weight " + decimal(*l.Weight)} // the server fills in the default
	if l.MaxInFlight != nil {
		parts = append(parts, fmt.Sprintf("at most %d in flight", *l.MaxInFlight))
	}
	if r := l.RateLimit; r != nil {
		parts = append(parts, fmt.Sprintf("%d in %s, up to %d at once", r.Count, period(r.PeriodSeconds), max(r.Burst, 1)))
	}
	if q := l.Quota; q != nil {
		parts = append(parts, fmt.Sprintf("%d in each window of %s", q.Count, period(q.WindowSeconds)))
	}
	return strings.Join(parts, ", ")
}

func period(seconds float64) time.Duration { return time.Duration(seconds * float64(time.Second)) }

func parseWeight(text string) (limitChange, error) {
	weight, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errors.New("it must be a number")
	}
	return func(l *model.Limits) { l.Weight = &weight }, nil
}

func parseMaxInFlight(text string) (limitChange, error) {
	if text == none {
		return func(l *model.Limits) { l.MaxInFlight = nil }, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, errors.New("it must be a whole number, or none")
	}
	return func(l *model.Limits) { l.MaxInFlight = &n }, nil
}

// parseRate keeps the burst that there is.
func parseRate(text string) (limitChange, error) {
	if text == none {
		return func(l *model.Limits) { l.RateLimit = nil }, nil
	}
	count, seconds, err := parsePer(text)
	if err != nil {
		return nil, err
	}
	return func(l *model.Limits) {
		rate := model.Rate{Count: count, PeriodSeconds: seconds}
		if l.RateLimit != nil {
			rate.Burst = l.RateLimit.Burst
		}
		l.RateLimit = &rate
	}, nil
}

// parseBurst leaves it to the server to refuse a burst without a rate, as a rate of none.
func parseBurst(text string) (limitChange, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, errors.New("it must be a whole number")
	}
	return func(l *model.Limits) {
		rate := model.Rate{}
		if l.RateLimit != nil {
			rate = *l.RateLimit
		}
		rate.Burst = n
		l.RateLimit = &rate
	}, nil
}

func parseQuota(text string) (limitChange, error) {
	if text == none {
		return func(l *model.Limits) { l.Quota = nil }, nil
	}
	count, seconds, err := parsePer(text)
	if err != nil {
		return nil, err
	}
	return func(l *model.Limits) { l.Quota = &model.Quota{Count: count, WindowSeconds: seconds} }, nil
}

// parsePer reads a number in a time, such as 10/1s.
func parsePer(text string) (count int, seconds float64, err error) {
	number, per, found := strings.Cut(text, "/")
	d, badTime := time.ParseDuration(per)
	count, badNumber := strconv.Atoi(number)
	if !found || badTime != nil || badNumber != nil {
		return 0, 0, errors.New("it must be a number in a time, such as 10/1s or 100/24h, or none")
	}
	return count, d.Seconds(), nil
}

// parseTime reads a time, or how far from now it is; the zero time of no text.
func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return time.Now().Add(d).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time such as 2030-01-02T15:04:05Z nor one from now such as 2h", text)
	}
	return t, nil
}
