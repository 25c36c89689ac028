package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/strict"
)

// submission is what the flags of submit say.
type submission struct {
	customer, link, title string
	template, payload     string
	priority              *int      // nil for the agenda's own
	notBefore             time.Time // zero for the agenda's own
	key                   string
	watch                 bool
}

func (a *app) submitCommand() *cobra.Command {
	var s submission
	var priority int
	var notBefore string
	cmd := &cobra.Command{
		Use:   "submit FILE|-  or  submit --template ID [--payload JSON|FILE|-]",
		Short: "Submit an agenda, or what a payload makes of an agenda template",
		Long: `Submit an agenda from a YAML or JSON file, or what a payload makes of an agenda template.

Standard output gets the agenda's id, so that scripts can keep it.`,
		Example: `  pop agenda submit report.yaml --watch
  pop agenda submit --template words --customer acme --payload '{"text": "so few words"}' --watch`,
		Args: takes(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && s.template != "":
				return usagef("give a file or --template, not both")
			case len(args) == 0 && s.template == "":
				return usagef("name a file with an agenda, or a template with --template")
			case s.payload != "" && s.template == "":
				return usagef("--payload fills a template; name it with --template")
			}
			if cmd.Flags().Changed("priority") {
				s.priority = &priority
			}
			var err error
			if s.notBefore, err = parseTime(notBefore); err != nil {
				return usagef("--not-before: %w", err)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			own := s.key == ""
			if own { // lets the client repeat a call whose answer was lost
				s.key = uuid.NewString()
			}
			var submitted wire.Submitted
			if s.template != "" {
				submitted, err = a.runTemplate(cmd.Context(), c, s)
			} else {
				submitted, err = a.submitFile(cmd.Context(), c, s, args[0])
			}
			if own && errors.Is(err, client.ErrSent) {
				a.note("It is not known whether the agenda was accepted. Submit it again with --idempotency-key %s: then it is accepted once in any case.", s.key)
			}
			if err != nil {
				return err
			}
			return a.submitted(cmd.Context(), c, submitted, s.watch)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&s.customer, "customer", "", "customer to run it for, in place of the agenda's own")
	flags.StringVar(&s.link, "link", "", "linkId, in place of the agenda's own")
	flags.StringVar(&s.title, "title", "", "title, in place of the agenda's own")
	flags.IntVar(&priority, "priority", 0, "priority, -10 to 10, in place of the agenda's own; higher goes first")
	flags.StringVar(&notBefore, "not-before", "", "do not schedule it before: a time such as 2030-01-02T15:04:05Z, or one from now such as 2h")
	flags.StringVar(&s.template, "template", "", "agenda template to fill")
	flags.StringVar(&s.payload, "payload", "", "what to fill the template with: JSON, or a file with YAML or JSON; - for standard input")
	flags.StringVar(&s.key, "idempotency-key", "", "submitting again with the same key finds the agenda instead of making another")
	flags.BoolVar(&s.watch, "watch", false, "follow it until it has ended")
	return cmd
}

func (a *app) submitFile(ctx context.Context, c *client.Client, s submission, file string) (wire.Submitted, error) {
	data, err := a.read(file)
	if err != nil {
		return wire.Submitted{}, err
	}
	var agenda model.Agenda
	if issues := strict.Unmarshal(data, &agenda); len(issues) > 0 {
		return wire.Submitted{}, &model.Error{Kind: model.Invalid, Detail: fileName(file) + " is not an agenda", Issues: issues}
	}
	for _, field := range []struct {
		flag string
		to   *string
	}{{s.customer, &agenda.CustomerID}, {s.link, &agenda.LinkID}, {s.title, &agenda.Title}} {
		if field.flag != "" {
			*field.to = field.flag
		}
	}
	if s.priority != nil {
		agenda.Priority = *s.priority
	}
	if !s.notBefore.IsZero() {
		agenda.NotBefore = s.notBefore
	}
	submitted, err := c.Submit(ctx, agenda, s.key)
	return submitted, inFile(file, err)
}

func (a *app) runTemplate(ctx context.Context, c *client.Client, s submission) (wire.Submitted, error) {
	run := wire.Run{AgendaTemplateID: s.template, CustomerID: s.customer, LinkID: s.link, Title: s.title, Priority: s.priority, NotBefore: s.notBefore}
	if s.payload != "" {
		data, name := []byte(s.payload), "--payload"
		if !isJSON(s.payload) {
			var err error
			name = fileName(s.payload)
			if data, err = a.read(s.payload); err != nil {
				return wire.Submitted{}, err
			}
		}
		if issues := strict.Unmarshal(data, &run.Payload); len(issues) > 0 {
			return wire.Submitted{}, &model.Error{Kind: model.Invalid, Detail: name + " cannot be read", Issues: issues}
		}
	}
	return c.Run(ctx, run, s.key)
}

// isJSON reports whether a value that may also name a file is meant to be JSON itself.
func isJSON(value string) bool {
	value = strings.TrimSpace(value)
	return value != "" && strings.ContainsRune(`{["`, rune(value[0]))
}

// submitted says what became of a submission and, if it is to be watched, follows it.
func (a *app) submitted(ctx context.Context, c *client.Client, s wire.Submitted, watch bool) error {
	if s.Replayed {
		a.note("agenda %s was submitted before with this idempotency key", s.Agenda.ID)
	}
	if watch {
		return a.watch(ctx, c, s.Agenda.ID)
	}
	if _, people := terminal(a.Stderr); people && !s.Replayed && a.format == output.Table {
		a.note("accepted for insight %s; follow it with: %s agenda watch %s", s.Progress.AgendaInsight.InsightID, a.again(), s.Agenda.ID)
	}
	return a.printer().Print(s, output.Rows{Cells: [][]string{{s.Agenda.ID}}})
}

// inFile says which file the issues of a refusal are about.
func inFile(file string, err error) error {
	var refused *model.Error
	if !errors.As(err, &refused) || len(refused.Issues) == 0 {
		return err
	}
	about := *refused
	about.Detail = fmt.Sprintf("%s: %s", fileName(file), refused.Detail)
	return &about
}
