package client

import (
	"context"
	"net/http"
	"strconv"

	"github.com/pop-platform/pop/core/model"
)

// Preview shows what an insight schedules next, or would after a change. Nothing is scheduled or changed.
func (c *Client) Preview(ctx context.Context, insightID string, req model.PreviewRequest) (model.Preview, error) {
	var out model.Preview
	_, _, err := c.do(ctx, call{method: http.MethodPost, path: c.Insights.of(insightID) + ":preview", body: req, safe: true}, &out)
	return out, err
}

// Fairness measures how fair an insight is. It lists the busiest customers, up to a number of at most 100.
func (c *Client) Fairness(ctx context.Context, insightID string, busiest int) (model.Fairness, error) {
	return get[model.Fairness](ctx, c, c.Insights.of(insightID)+"/fairness", values("busiest", strconv.Itoa(busiest)))
}

// Owner shows which server schedules an insight.
func (c *Client) Owner(ctx context.Context, insightID string) (model.Owner, error) {
	return get[model.Owner](ctx, c, c.Insights.of(insightID)+"/owner", nil)
}
