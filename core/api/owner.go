package api

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"

	"github.com/gin-gonic/gin"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

type ownerOutput struct {
	Body model.Owner
}

// addOwner serves who schedules an insight.
func (a *API) addOwner() {
	owner := operation(http.MethodGet, "/v1/insights/{id}/owner", "get-insight-owner", "Show which server schedules an insight", "insights", access{role: driver.RoleRead})
	owner.Description = "Of several servers that share a store one schedules an insight at a time; if it goes, another takes over. What only that one knows " +
		"(explanations, previews, fairness) any server answers by asking it."
	register(a, owner, func(ctx context.Context, in *idInput) (*ownerOutput, error) {
		if _, err := a.insights().read(ctx, in.ID); err != nil {
			return nil, err
		}
		found, err := a.Engine.Owner(ctx, in.ID)
		return &ownerOutput{found}, err
	})
}

// relayed marks requests that another server has passed on, so that none goes in circles while an insight moves.
const relayed = "Pop-Relayed"

// passOn passes a request on to the server that schedules its insight, if that is another one which can be reached, with the
// credentials of its caller. It reports whether the request was answered.
func (a *API) passOn(ctx context.Context, c *gin.Context, of asks, body []byte) bool {
	if of == nobody || c.Request.Header.Get(relayed) != "" {
		return false
	}
	insightID := c.Param("id")
	if of == ownerOfAgenda {
		p, _, err := a.Engine.Progress(ctx, insightID)
		if err != nil {
			return false // whoever serves it says why
		}
		insightID = p.AgendaInsight.InsightID
	}
	if a.Engine.Owns(insightID) {
		return false
	}
	owner, err := a.Engine.Owner(ctx, insightID)
	if err != nil || owner.Here || !owner.Alive || owner.Address == "" {
		return false
	}
	target, err := url.Parse(owner.Address)
	if err != nil {
		a.Logger.WarnContext(ctx, "the address of a server cannot be read", "server", owner.Server, "error", err)
		return false
	}
	body = bytes.Clone(body) // which may still be sent when it is answered already, and then the buffer is another request's
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Header.Set(relayed, "1")
			r.Out.Header.Set("X-Request-Id", requestOf(ctx).id)
			r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("X-Request-Id") // it is set here
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			a.fail(ctx, c, model.Errorf(model.Unavailable, "server %q, which schedules insight %q, does not answer: %v", owner.Server, insightID, err))
		},
		ErrorLog: slog.NewLogLogger(a.Logger.Handler(), slog.LevelDebug),
	}
	proxy.ServeHTTP(c.Writer, c.Request.WithContext(ctx))
	return true
}
