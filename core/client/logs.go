package client

import (
	"context"
	"iter"
	"net/url"
	"strconv"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// AppendLogs keeps up to [wire.MaxBatch] chunks of what operations printed. It is not retried: whoever sends them has more to come.
func (c *Client) AppendLogs(ctx context.Context, chunks []model.LogAppend) ([]model.ReportResult, error) {
	out, err := post[wire.ReportResults](ctx, c, "/v1/operation-logs:append", wire.Logs{Items: chunks})
	return out.Items, err
}

// LogPage reads a page of what operations of an agenda printed.
func (c *Client) LogPage(ctx context.Context, agendaID string, req model.LogRequest) (model.LogPage, error) {
	q := values("operation", req.Operation, "after", req.After)
	if req.Limit > 0 {
		q.Set("limit", strconv.Itoa(req.Limit))
	}
	if req.Wait > 0 {
		q.Set("waitMs", strconv.FormatInt(min(req.Wait.Milliseconds(), wire.MaxWaitMs), 10))
	}
	return get[model.LogPage](ctx, c, "/v1/agendas/"+url.PathEscape(agendaID)+"/logs", q)
}

// trailing is how long what was printed last may take to follow the end of an agenda.
const trailing = 2 * time.Second

// Logs iterates over what an operation of an agenda printed, or all operations if none is named. With follow it goes on until the
// agenda is COMPLETE. It ends at the first error.
func (c *Client) Logs(ctx context.Context, agendaID, operation string, follow bool) iter.Seq2[model.LogChunk, error] {
	return func(yield func(model.LogChunk, error) bool) {
		req := model.LogRequest{Operation: operation, Limit: wire.MaxPage}
		for {
			page, err := c.LogPage(ctx, agendaID, req)
			if err != nil {
				yield(model.LogChunk{}, err)
				return
			}
			for _, chunk := range page.Items {
				if !yield(chunk, nil) {
					return
				}
			}
			if len(page.Items) == 0 && (!follow || page.Complete && req.Wait == trailing) {
				return
			}
			req.After = page.Next
			if follow {
				req.Wait = wire.MaxWaitMs * time.Millisecond
				if page.Complete {
					req.Wait = trailing
				}
			}
		}
	}
}
