package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

type appendLogsInput struct {
	RawBody []byte `contentType:"application/json"`
}

type logsInput struct {
	ID        string `path:"id"`
	Operation string `query:"operation" doc:"Only what this operation printed."`
	After     string `query:"after" doc:"Next of an earlier page: only what came after it."`
	Limit     int    `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Most chunks."`
	WaitMs    int64  `query:"waitMs" minimum:"0" maximum:"30000" doc:"How long to wait, in milliseconds, if there is nothing yet."`
}

type logsOutput struct {
	Body model.LogPage
}

func (a *API) addLogs() {
	appending, chunks := hot[wire.Logs](a, operation(http.MethodPost, "/v1/operation-logs:append", "append-operation-logs",
		"Keep up to 100 chunks of what operations printed", tagExecution, access{role: driver.RolePull}))
	appending.Description = "The caller must own the insights of the agendas. Each chunk is kept or refused on its own; one that is sent again is kept once."
	register(a, appending, func(ctx context.Context, in *appendLogsInput) (*reportOutput, error) {
		v, err := chunks.decode(in.RawBody)
		if err != nil {
			return nil, err
		}
		if len(v.Items) == 0 || len(v.Items) > wire.MaxBatch {
			return nil, invalid("items", "there must be 1 to 100")
		}
		results, err := a.Engine.AppendOwnLogs(ctx, v.Items, a.ownsInsight)
		return &reportOutput{wire.ReportResults{Items: results}}, err
	})
	chunks.document(a, appending)

	logs := operation(http.MethodGet, "/v1/agendas/{id}/logs", "get-agenda-logs", "Read what the operations of an agenda printed, or wait for it", tagAgendas,
		access{role: driver.RoleRead, waits: true})
	logs.Description = "In the order in which it was printed, the last megabyte of each attempt. To follow, ask again with after, and waitMs, until complete."
	register(a, logs, func(ctx context.Context, in *logsInput) (*logsOutput, error) {
		if _, err := a.agenda(ctx, in.ID); err != nil {
			return nil, err
		}
		waiting := ctx
		if in.WaitMs > 0 {
			var cancel context.CancelFunc
			waiting, cancel = a.waiting(ctx)
			defer cancel()
		}
		page, err := a.Engine.Logs(waiting, in.ID, model.LogRequest{
			Operation: in.Operation, After: in.After, Limit: in.Limit, Wait: time.Duration(in.WaitMs) * time.Millisecond,
		})
		if errors.Is(err, context.Canceled) && ctx.Err() == nil { // the server drains
			err = nil
		}
		page.Items = orEmpty(page.Items)
		return &logsOutput{page}, err
	})
}

// ownsInsight returns an error if the caller may not pull for an insight.
func (a *API) ownsInsight(ctx context.Context, id string) error {
	insight, err := a.Catalog.Insights.Get(ctx, id)
	if err == nil && !authz.ActsFor(caller(ctx), insight.Object.CustomerID) {
		err = model.Errorf(model.Forbidden, "insight %q is not yours", id)
	}
	return err
}
