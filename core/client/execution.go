package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// OpenSession opens a session. An older one of the caller with the same name ends.
func (c *Client) OpenSession(ctx context.Context, name string) (model.Session, error) {
	var s model.Session
	_, _, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/sessions", body: wire.OpenSession{Name: name}, safe: true}, &s)
	return s, err
}

// Heartbeat keeps a session alive. It is not retried: the next one is due soon anyway.
func (c *Client) Heartbeat(ctx context.Context, sessionID string) (model.Session, error) {
	return post[model.Session](ctx, c, "/v1/sessions/"+url.PathEscape(sessionID)+":heartbeat", nil)
}

// CloseSession ends a session; the agendas that it holds are handed out again.
func (c *Client) CloseSession(ctx context.Context, sessionID string) error {
	_, _, err := c.do(ctx, call{method: http.MethodDelete, path: "/v1/sessions/" + url.PathEscape(sessionID)}, nil)
	return err
}

// Pull asks for agendas to run. It is not retried: the answer that got lost may have held some.
func (c *Client) Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error) {
	out, err := post[wire.Assignments](ctx, c, "/v1/agendas:pull", req)
	return out.Items, err
}

// Report reports on up to [wire.MaxBatch] runs. Reporting the same twice does no harm, so it is retried.
func (c *Client) Report(ctx context.Context, reports []model.Report) ([]model.ReportResult, error) {
	var out wire.ReportResults
	_, _, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/agenda-progress:report", body: wire.Reports{Items: reports}, safe: true}, &out)
	return out.Items, err
}
