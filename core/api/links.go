package api

import (
	"context"
	"net/http"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

type linkInput struct {
	LinkID string `path:"linkId" doc:"Any characters, percent-encoded."`
}

type linkOutput struct {
	Body model.Summary
}

func (a *API) addLinks() {
	register(a, operation(http.MethodGet, "/v1/links/{linkId}", "get-link", "Summarize all agendas with a linkId", "links", access{role: driver.RoleRead}),
		func(ctx context.Context, in *linkInput) (*linkOutput, error) {
			customerIDs, err := a.customerIDs(ctx, "")
			if err != nil {
				return nil, err
			}
			summary, err := a.Engine.Summary(ctx, in.LinkID, customerIDs)
			return &linkOutput{summary}, err
		})
}
