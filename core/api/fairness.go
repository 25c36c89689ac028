package api

import (
	"context"
	"net/http"

	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

type explanationOutput struct {
	Body model.Explanation
}

type previewInput struct {
	ID   string `path:"id" doc:"Any characters, percent-encoded."`
	Body *model.PreviewRequest
}

type previewOutput struct {
	Body model.Preview
}

type fairnessInput struct {
	ID      string `path:"id" doc:"Any characters, percent-encoded."`
	Busiest int    `query:"busiest" default:"20" minimum:"0" maximum:"100" doc:"How many customers to list one by one."`
}

type fairnessOutput struct {
	Body model.Fairness
}

// addFairness serves what says why an agenda waits, what is next, and how fair that is.
func (a *API) addFairness() {
	register(a, operation(http.MethodGet, "/v1/agendas/{id}/explain", "explain-agenda", "Say why an agenda waits, and for how long", tagAgendas, access{role: driver.RoleRead, asks: ownerOfAgenda}),
		func(ctx context.Context, in *idInput) (*explanationOutput, error) {
			if _, err := a.agenda(ctx, in.ID); err != nil {
				return nil, err
			}
			explanation, err := a.Engine.Explain(ctx, in.ID)
			return &explanationOutput{explanation}, err
		})

	preview := operation(http.MethodPost, "/v1/insights/{id}:preview", "preview-insight", "Show what an insight schedules next, or would after a change", "insights", access{role: driver.RoleRead, asks: ownerOfInsight})
	preview.Description = "Nothing is scheduled or changed. Only the insight's owner may see it, as it names customers and their agendas."
	register(a, preview, func(ctx context.Context, in *previewInput) (*previewOutput, error) {
		if err := a.ownInsight(ctx, in.ID); err != nil {
			return nil, err
		}
		var body model.PreviewRequest
		if in.Body != nil {
			body = *in.Body
		}
		found, err := a.Engine.Preview(ctx, in.ID, body)
		return &previewOutput{found}, err
	})

	fairness := operation(http.MethodGet, "/v1/insights/{id}/fairness", "get-insight-fairness", "Measure how fair an insight is", "insights", access{role: driver.RoleRead, asks: ownerOfInsight})
	fairness.Description = "Only the insight's owner may see it, as it names customers."
	register(a, fairness, func(ctx context.Context, in *fairnessInput) (*fairnessOutput, error) {
		if err := a.ownInsight(ctx, in.ID); err != nil {
			return nil, err
		}
		measured, err := a.Engine.Fairness(ctx, in.ID, in.Busiest)
		return &fairnessOutput{measured}, err
	})
}

// ownInsight refuses what only the owner of an insight may see: its customers, and what they have waiting.
func (a *API) ownInsight(ctx context.Context, id string) error {
	insight, err := a.insights().read(ctx, id)
	if err != nil || authz.ActsFor(caller(ctx), insight.Object.CustomerID) {
		return err
	}
	return model.Errorf(model.Forbidden, "insight %q is shared with you; only its owner may see who waits for it", id)
}
