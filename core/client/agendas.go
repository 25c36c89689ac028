package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// AgendaFilter restricts a list of agendas or of their progress; empty fields do not.
type AgendaFilter struct {
	CustomerID string
	LinkID     string
	InsightID  string
	State      model.State
	Outcome    model.Outcome
}

func (f AgendaFilter) query() url.Values {
	return values("customerId", f.CustomerID, "linkId", f.LinkID, "insightId", f.InsightID,
		"processingState", string(f.State), "outcome", string(f.Outcome))
}

// Submit submits an agenda. With an idempotency key it is retried, and submitting the same agenda again changes nothing.
func (c *Client) Submit(ctx context.Context, agenda model.Agenda, idempotencyKey string) (wire.Submitted, error) {
	return c.submit(ctx, "/v1/agendas", agenda, idempotencyKey)
}

// Run submits the agenda that a payload makes of an agenda template.
func (c *Client) Run(ctx context.Context, run wire.Run, idempotencyKey string) (wire.Submitted, error) {
	return c.submit(ctx, "/v1/agendas:run", run, idempotencyKey)
}

func (c *Client) submit(ctx context.Context, path string, body any, key string) (wire.Submitted, error) {
	r := call{method: http.MethodPost, path: path, body: body}
	if key != "" {
		r.header, r.safe = http.Header{"Idempotency-Key": {key}}, true
	}
	var out wire.Submitted
	_, _, err := c.do(ctx, r, &out)
	return out, err
}

// SubmitBatch submits up to [wire.MaxBatch] agendas and returns what became of each. It is retried if each has an idempotency key.
func (c *Client) SubmitBatch(ctx context.Context, items []wire.SubmitItem) ([]wire.SubmitResult, error) {
	safe := true
	for _, item := range items {
		safe = safe && item.IdempotencyKey != ""
	}
	var out wire.SubmitResults
	_, _, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/agendas:batch", body: wire.SubmitBatch{Items: items}, safe: safe}, &out)
	return out.Items, err
}

// Agenda reads an agenda.
func (c *Client) Agenda(ctx context.Context, id string) (model.Agenda, error) {
	return get[model.Agenda](ctx, c, "/v1/agendas/"+url.PathEscape(id), nil)
}

// Agendas reads one page of agendas.
func (c *Client) Agendas(ctx context.Context, f AgendaFilter, p Page) (wire.List[model.Agenda], error) {
	return get[wire.List[model.Agenda]](ctx, c, "/v1/agendas", p.addTo(f.query()))
}

// DeleteAgenda removes an agenda and its progress.
func (c *Client) DeleteAgenda(ctx context.Context, id string) error {
	_, _, err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/agendas/" + url.PathEscape(id)}, nil)
	return err
}

// Cancel cancels an agenda.
func (c *Client) Cancel(ctx context.Context, id, reason string) (model.AgendaProgress, error) {
	return post[model.AgendaProgress](ctx, c, "/v1/agendas/"+url.PathEscape(id)+":cancel", wire.Cancel{Reason: reason})
}

// Rerun runs an agenda again.
func (c *Client) Rerun(ctx context.Context, id string, rerun model.Rerun) (model.AgendaProgress, error) {
	return post[model.AgendaProgress](ctx, c, "/v1/agendas/"+url.PathEscape(id)+":rerun", rerun)
}

// RerunAll runs agendas that have ended again. It answers for up to [wire.MaxBatch]; the next of the answer is the cursor to go on.
func (c *Client) RerunAll(ctx context.Context, all wire.RerunAll) (wire.Reruns, error) {
	return post[wire.Reruns](ctx, c, "/v1/agendas:rerun", all)
}

// Pause pauses an agenda.
func (c *Client) Pause(ctx context.Context, id string, pause wire.PauseAgenda) (model.AgendaProgress, error) {
	return post[model.AgendaProgress](ctx, c, "/v1/agendas/"+url.PathEscape(id)+":pause", pause)
}

// Resume ends the pause of an agenda.
func (c *Client) Resume(ctx context.Context, id string) (model.AgendaProgress, error) {
	return post[model.AgendaProgress](ctx, c, "/v1/agendas/"+url.PathEscape(id)+":resume", nil)
}

// Explain says why an agenda waits.
func (c *Client) Explain(ctx context.Context, id string) (model.Explanation, error) {
	return get[model.Explanation](ctx, c, "/v1/agendas/"+url.PathEscape(id)+"/explain", nil)
}

// Progress reads the progress of an agenda with that of its operations, and its entity tag.
func (c *Client) Progress(ctx context.Context, id string) (model.AgendaProgress, string, error) {
	return c.Await(ctx, id, "", 0)
}

// Progresses reads one page of the progress of agendas.
func (c *Client) Progresses(ctx context.Context, f AgendaFilter, p Page) (wire.List[model.AgendaProgress], error) {
	return get[wire.List[model.AgendaProgress]](ctx, c, "/v1/agenda-progress", p.addTo(f.query()))
}

// AllProgress iterates over the progress of all agendas that match. It ends at the first error.
func (c *Client) AllProgress(ctx context.Context, f AgendaFilter) iter.Seq2[model.AgendaProgress, error] {
	return all(func(p Page) (wire.List[model.AgendaProgress], error) { return c.Progresses(ctx, f, p) })
}

// Await returns the progress of an agenda and its entity tag as soon as the tag differs from seen, or after wait.
func (c *Client) Await(ctx context.Context, id, seen string, wait time.Duration) (model.AgendaProgress, string, error) {
	q := values("seen", seen)
	if wait > 0 {
		q.Set("waitMs", strconv.FormatInt(min(wait.Milliseconds(), wire.MaxWaitMs), 10))
	}
	var progress model.AgendaProgress
	_, h, err := c.do(ctx, call{method: http.MethodGet, path: progressPath(id), query: q, safe: true}, &progress)
	return progress, h.Get("ETag"), err
}

// Watch iterates over the progress of an agenda: as it is, then whenever it changes, until it is COMPLETE. It ends at the
// first error; what passes, such as a restart of the server, is waited out as for any other call.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[model.AgendaProgress, error] {
	return func(yield func(model.AgendaProgress, error) bool) {
		seen := ""
		for {
			progress, etag, err := c.Await(ctx, id, seen, wire.MaxWaitMs*time.Millisecond)
			if err != nil {
				yield(progress, err)
				return
			}
			if etag == seen {
				continue
			}
			if !yield(progress, nil) || progress.State == model.Complete {
				return
			}
			seen = etag
		}
	}
}

// OperationProgresses reads the progress of all operations of an agenda.
func (c *Client) OperationProgresses(ctx context.Context, agendaID string) ([]model.OperationProgress, error) {
	list, err := get[wire.List[model.OperationProgress]](ctx, c, "/v1/operation-progress", values("agendaProgressId", agendaID))
	return list.Items, err
}

// OperationProgress reads the progress of one operation; [model.OperationProgressID] makes its id.
func (c *Client) OperationProgress(ctx context.Context, id string) (model.OperationProgress, error) {
	return get[model.OperationProgress](ctx, c, "/v1/operation-progress/"+url.PathEscape(id), nil)
}

// Link reads the summary of all agendas with a linkId.
func (c *Client) Link(ctx context.Context, linkID string) (model.Summary, error) {
	return get[model.Summary](ctx, c, "/v1/links/"+url.PathEscape(linkID), nil)
}

// Version reads which version the server is.
func (c *Client) Version(ctx context.Context) (wire.Version, error) {
	var v wire.Version
	_, _, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/version", safe: true, public: true}, &v)
	return v, err
}

// Ready returns nil if the server can serve, and says what is wrong otherwise. It asks only once.
func (c *Client) Ready(ctx context.Context) error {
	_, _, err := c.do(ctx, call{method: http.MethodGet, path: "/readyz", public: true}, nil)
	return err
}

// Healthy returns nil if the server's process answers. It asks only once.
func (c *Client) Healthy(ctx context.Context) error {
	_, _, err := c.do(ctx, call{method: http.MethodGet, path: "/healthz", public: true}, nil)
	return err
}

func progressPath(id string) string { return "/v1/agenda-progress/" + url.PathEscape(id) }

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	var out T
	_, _, err := c.do(ctx, call{method: http.MethodGet, path: path, query: q, safe: true}, &out)
	return out, err
}

func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	var out T
	_, _, err := c.do(ctx, call{method: http.MethodPost, path: path, body: body}, &out)
	return out, err
}
