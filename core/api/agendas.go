package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

const tagAgendas = "agendas"

type submitInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"200" doc:"Submitting the same again with the same key changes nothing and answers the same."`
	RawBody        []byte `contentType:"application/json"`
}

type submitOutput struct {
	Status   int
	Location string `header:"Location" doc:"Path of the agenda."`
	Body     wire.Submitted
}

type batchInput struct {
	RawBody []byte `contentType:"application/json"`
}

type batchOutput struct {
	Body wire.SubmitResults
}

type runInput struct {
	IdempotencyKey string `header:"Idempotency-Key" maxLength:"200" doc:"Submitting the same again with the same key changes nothing and answers the same."`
	Body           wire.Run
}

// AgendaListInput are the query parameters of lists of agendas and of their progress.
type AgendaListInput struct {
	Paging
	CustomerID string        `query:"customerId"`
	LinkID     string        `query:"linkId"`
	InsightID  string        `query:"insightId"`
	State      model.State   `query:"processingState" enum:"WAITING,QUEUED,EXECUTING,COMPLETE"`
	Outcome    model.Outcome `query:"outcome" enum:"succeeded,failed,cancelled"`
}

type agendaOutput struct {
	Body model.Agenda
}

func (a *API) addAgendas() {
	submit, agenda := hot[model.Agenda](a, operation(http.MethodPost, "/v1/agendas", "submit-agenda", "Submit an agenda", tagAgendas, access{role: driver.RoleSubmit}))
	submit.DefaultStatus = http.StatusCreated
	submit.Description = "It is accepted wholly or not at all. The customer's resource pool must have an insight that matches."
	answer[wire.Submitted](a, &submit, http.StatusOK)
	register(a, submit, func(ctx context.Context, in *submitInput) (*submitOutput, error) {
		v, err := agenda.decode(in.RawBody)
		if err != nil {
			return nil, err
		}
		return a.submit(ctx, v, in.IdempotencyKey)
	})
	agenda.document(a, submit)

	batch, items := hot[wire.SubmitBatch](a, operation(http.MethodPost, "/v1/agendas:batch", "submit-agendas", "Submit up to 100 agendas", tagAgendas, access{role: driver.RoleSubmit}))
	batch.Description = "Each is accepted or refused on its own."
	register(a, batch, func(ctx context.Context, in *batchInput) (*batchOutput, error) {
		v, err := items.decode(in.RawBody)
		if err != nil {
			return nil, err
		}
		return a.submitBatch(ctx, v.Items)
	})
	items.document(a, batch)

	run := operation(http.MethodPost, "/v1/agendas:run", "run-agenda-template", "Submit the agenda that a payload makes of a template", tagAgendas, access{role: driver.RoleSubmit})
	run.DefaultStatus = http.StatusCreated
	answer[wire.Submitted](a, &run, http.StatusOK)
	register(a, run, a.runTemplate)

	register(a, operation(http.MethodGet, "/v1/agendas", "list-agendas", "List agendas", tagAgendas, access{role: driver.RoleRead}), a.listAgendas)
	register(a, operation(http.MethodGet, "/v1/agendas/{id}", "get-agenda", "Get an agenda", tagAgendas, access{role: driver.RoleRead}),
		func(ctx context.Context, in *idInput) (*agendaOutput, error) {
			agenda, err := a.agenda(ctx, in.ID)
			return &agendaOutput{agenda}, err
		})
	remove := operation(http.MethodDelete, "/v1/agendas/{id}", "delete-agenda", "Delete an agenda and its progress", tagAgendas, access{role: driver.RoleSubmit})
	remove.Description = "It must have ended."
	register(a, remove, func(ctx context.Context, in *idInput) (*struct{}, error) {
		if _, err := a.agenda(ctx, in.ID); err != nil {
			return nil, err
		}
		return nil, a.Engine.Delete(ctx, in.ID)
	})
	a.addControl()
}

func (a *API) submit(ctx context.Context, agenda model.Agenda, key string) (*submitOutput, error) {
	defaultOwner(ctx, &agenda.Meta)
	if err := checkCustomer(ctx, agenda.CustomerID); err != nil {
		return nil, err
	}
	answers := a.Engine.Submit(ctx, []engine.Submission{{Agenda: agenda, IdempotencyKey: key}})
	if err := answers[0].Err; err != nil {
		return nil, err
	}
	return &submitOutput{
		Status: statusOfSubmit(answers[0]), Location: "/v1/agendas/" + url.PathEscape(answers[0].Agenda.ID),
		Body: wire.Submitted{Agenda: answers[0].Agenda, Progress: answers[0].Progress, Replayed: answers[0].Replayed},
	}, nil
}

func statusOfSubmit(s engine.Submitted) int {
	if s.Replayed {
		return http.StatusOK
	}
	return http.StatusCreated
}

func (a *API) submitBatch(ctx context.Context, items []wire.SubmitItem) (*batchOutput, error) {
	if len(items) == 0 || len(items) > wire.MaxBatch {
		return nil, invalid("items", "there must be 1 to 100")
	}
	out := &batchOutput{wire.SubmitResults{Items: make([]wire.SubmitResult, len(items))}}
	submissions := make([]engine.Submission, 0, len(items))
	indexes := make([]int, 0, len(items)) // of the submissions in items
	for i, item := range items {
		defaultOwner(ctx, &item.Agenda.Meta)
		if err := checkCustomer(ctx, item.Agenda.CustomerID); err != nil {
			out.Body.Items[i] = a.refused(ctx, i, err)
			continue
		}
		submissions = append(submissions, engine.Submission{Agenda: item.Agenda, IdempotencyKey: item.IdempotencyKey})
		indexes = append(indexes, i)
	}
	for n, s := range a.Engine.Submit(ctx, submissions) {
		i := indexes[n]
		if s.Err != nil {
			out.Body.Items[i] = a.refused(ctx, i, s.Err)
			continue
		}
		out.Body.Items[i] = wire.SubmitResult{Status: statusOfSubmit(s), Agenda: &s.Agenda, Progress: &s.Progress, Replayed: s.Replayed}
	}
	return out, nil
}

// refused is the result of an agenda of a batch that was not accepted.
func (a *API) refused(ctx context.Context, index int, err error) wire.SubmitResult {
	p, _ := a.problemOf(err)
	p = a.finish(ctx, p, err)
	for i := range p.Errors {
		field := strings.TrimPrefix(p.Errors[i].Location, "body.")
		p.Errors[i].Location = fmt.Sprintf("body.items[%d].agenda.%s", index, field)
	}
	return wire.SubmitResult{Status: p.Status, Problem: p}
}

func (a *API) runTemplate(ctx context.Context, in *runInput) (*submitOutput, error) {
	template, err := a.Catalog.AgendaTemplates.Get(ctx, in.Body.AgendaTemplateID)
	if err == nil && !authz.MayRead(caller(ctx), template.Object.CustomerID, template.Object.Sharing) {
		err = model.Errorf(model.NotFound, "there is no agenda template %q", in.Body.AgendaTemplateID)
	}
	if err != nil {
		return nil, err
	}
	agenda, err := template.Object.Instantiate(in.Body.Payload)
	if err != nil {
		return nil, err
	}
	for _, override := range []struct {
		field *string
		value string
	}{{&agenda.CustomerID, in.Body.CustomerID}, {&agenda.LinkID, in.Body.LinkID}, {&agenda.Title, in.Body.Title}} {
		if override.value != "" {
			*override.field = override.value
		}
	}
	if in.Body.Priority != nil {
		agenda.Priority = *in.Body.Priority
	}
	if !in.Body.NotBefore.IsZero() {
		agenda.NotBefore = in.Body.NotBefore
	}
	return a.submit(ctx, agenda, in.IdempotencyKey)
}

func (a *API) listAgendas(ctx context.Context, in *AgendaListInput) (*listOutput[model.Agenda], error) {
	page, err := a.listProgress(ctx, in)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(page.Progress))
	for i, p := range page.Progress {
		ids[i] = p.ID
	}
	agendas, err := a.Engine.Agendas(ctx, ids) // without those that were deleted in between
	if err != nil {
		return nil, err
	}
	return &listOutput[model.Agenda]{wire.List[model.Agenda]{Items: agendas, Next: cursorTo(page.Next)}}, nil
}

// listProgress returns a page of what the caller can see.
func (a *API) listProgress(ctx context.Context, in *AgendaListInput) (engine.Page, error) {
	cursor, err := in.position()
	if err != nil {
		return engine.Page{}, err
	}
	customerIDs, err := a.customerIDs(ctx, in.CustomerID)
	if err != nil {
		return engine.Page{}, err
	}
	page, err := a.Engine.List(ctx, engine.Filter{
		CustomerIDs: customerIDs, LinkID: in.LinkID, InsightID: in.InsightID, State: in.State, Outcome: in.Outcome,
	}, cursor, in.Limit)
	if err != nil && model.KindOf(err) == model.Invalid { // all else was checked
		err = errCursor(in.Cursor)
	}
	return page, err
}

// customerIDs returns the ids, as they are written, of the customers that the caller acts for, only those equal to one if it is
// given. It is nil for all customers. Those that were deleted are among them, as the caller's credentials write them.
func (a *API) customerIDs(ctx context.Context, only string) ([]string, error) {
	p := caller(ctx)
	if p.Global && only == "" {
		return nil, nil
	}
	ids := []string{}
	add := func(id string) {
		if authz.ActsFor(p, id) && (only == "" || model.SameCustomer(only, id)) && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	all, err := a.Catalog.Customers.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, customer := range all {
		add(customer.Object.ID)
	}
	for _, id := range p.Customers {
		add(id)
	}
	if only != "" {
		add(only)
	}
	return ids, nil
}

// agenda returns an agenda if the caller can see it.
func (a *API) agenda(ctx context.Context, id string) (model.Agenda, error) {
	agenda, err := a.Engine.Agenda(ctx, id)
	if err == nil && !authz.ActsFor(caller(ctx), agenda.CustomerID) {
		return model.Agenda{}, model.Errorf(model.NotFound, "there is no agenda %q", id)
	}
	return agenda, err
}
