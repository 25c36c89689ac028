package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

type cancelInput struct {
	ID   string `path:"id"`
	Body *wire.Cancel
}

type rerunInput struct {
	ID   string `path:"id"`
	Body *model.Rerun
}

type rerunAllInput struct {
	Body wire.RerunAll
}

type rerunAllOutput struct {
	Body wire.Reruns
}

type pauseInput struct {
	ID   string `path:"id"`
	Body *wire.PauseAgenda
}

// addControl adds what is done to agendas that are there.
func (a *API) addControl() {
	control(a, operation(http.MethodPost, "/v1/agendas/{id}:cancel", "cancel-agenda", "Cancel an agenda", tagAgendas, access{role: driver.RoleSubmit}),
		func(in *cancelInput) string { return in.ID },
		func(ctx context.Context, in *cancelInput) (model.AgendaProgress, error) {
			return a.Engine.Cancel(ctx, in.ID, orZero(in.Body).Reason)
		})
	control(a, operation(http.MethodPost, "/v1/agendas/{id}:rerun", "rerun-agenda", "Run an agenda that has ended again", tagAgendas, access{role: driver.RoleSubmit}),
		func(in *rerunInput) string { return in.ID },
		func(ctx context.Context, in *rerunInput) (model.AgendaProgress, error) {
			return a.Engine.Rerun(ctx, in.ID, orZero(in.Body))
		})
	pause := operation(http.MethodPost, "/v1/agendas/{id}:pause", "pause-agenda", "Pause an agenda", tagAgendas, access{role: driver.RoleSubmit})
	pause.Description = "Nothing more of it is started. What runs is left to end, unless it is to be interrupted."
	control(a, pause, func(in *pauseInput) string { return in.ID },
		func(ctx context.Context, in *pauseInput) (model.AgendaProgress, error) {
			body := orZero(in.Body)
			by := caller(ctx).Subject
			return a.Engine.Pause(ctx, in.ID, model.Pause{By: by, Reason: body.Reason, Until: body.Until.UTC()}, body.Interrupt)
		})
	control(a, operation(http.MethodPost, "/v1/agendas/{id}:resume", "resume-agenda", "End the pause of an agenda", tagAgendas, access{role: driver.RoleSubmit}),
		func(in *idInput) string { return in.ID },
		func(ctx context.Context, in *idInput) (model.AgendaProgress, error) {
			return a.Engine.Resume(ctx, in.ID)
		})
	all := operation(http.MethodPost, "/v1/agendas:rerun", "rerun-agendas", "Run agendas that have ended again, by linkId or other fields", tagAgendas, access{role: driver.RoleSubmit})
	all.Description = "Each is run again or refused on its own."
	register(a, all, a.rerunAll)
}

// control makes the API serve an operation that changes the run of an agenda that the caller can see.
func control[I any](a *API, op huma.Operation, id func(*I) string, do func(context.Context, *I) (model.AgendaProgress, error)) {
	register(a, op, func(ctx context.Context, in *I) (*progressOutput, error) {
		if _, err := a.agenda(ctx, id(in)); err != nil {
			return nil, err
		}
		progress, err := do(ctx, in)
		return &progressOutput{Body: progress}, err
	})
}

func orZero[T any](v *T) T {
	if v == nil {
		return *new(T)
	}
	return *v
}

func (a *API) rerunAll(ctx context.Context, in *rerunAllInput) (*rerunAllOutput, error) {
	body := in.Body
	if len(body.AgendaIDs) > 0 {
		return a.rerunListed(ctx, body.AgendaIDs, body.Rerun), nil
	}
	if body.CustomerID == "" && body.LinkID == "" && body.InsightID == "" {
		return nil, invalid("", "names no agendas; give a linkId, customerId, insightId or agendaIds")
	}
	if body.Outcome == "" {
		body.Outcome = model.Failed
	}
	customerIDs, err := a.customerIDs(ctx, body.CustomerID)
	if err != nil {
		return nil, err
	}
	cursor, err := Paging{Cursor: body.Cursor}.position()
	if err != nil {
		return nil, err
	}
	if body.Limit == 0 {
		body.Limit = wire.MaxBatch
	}
	filter := engine.Filter{CustomerIDs: customerIDs, LinkID: body.LinkID, InsightID: body.InsightID, Outcome: body.Outcome}
	results, next, err := a.Engine.RerunAll(ctx, filter, body.Rerun, cursor, body.Limit)
	if err != nil {
		return nil, err
	}
	out := &rerunAllOutput{wire.Reruns{Items: make([]wire.RerunResult, len(results)), Next: cursorTo(next)}}
	for i, r := range results {
		out.Body.Items[i] = a.rerunResult(ctx, r.AgendaID, r.Err)
	}
	return out, nil
}

// rerunListed runs agendas again that are named one by one.
func (a *API) rerunListed(ctx context.Context, ids []string, req model.Rerun) *rerunAllOutput {
	out := &rerunAllOutput{wire.Reruns{Items: make([]wire.RerunResult, len(ids))}}
	for i, id := range ids {
		_, err := a.agenda(ctx, id)
		if err == nil && slices.Contains(ids[:i], id) {
			err = model.Errorf(model.Conflict, "agenda %q is named twice", id)
		}
		if err == nil {
			_, err = a.Engine.Rerun(ctx, id, req)
		}
		out.Body.Items[i] = a.rerunResult(ctx, id, err)
	}
	return out
}

func (a *API) rerunResult(ctx context.Context, id string, err error) wire.RerunResult {
	if err == nil {
		return wire.RerunResult{AgendaID: id, Status: http.StatusOK}
	}
	p, _ := a.problemOf(err)
	p = a.finish(ctx, p, err)
	for i := range p.Errors {
		p.Errors[i].Location = fmt.Sprintf("body.rerun.%s", strings.TrimPrefix(p.Errors[i].Location, "body."))
	}
	return wire.RerunResult{AgendaID: id, Status: p.Status, Problem: p}
}
