package api

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/model"
)

// readyTimeout is how long the store may take to answer for the server to be called ready.
const readyTimeout = 2 * time.Second

type healthOutput struct {
	Body wire.Health
}

type versionOutput struct {
	Body wire.Version
}

func (a *API) addHealth() {
	register(a, operation(http.MethodGet, "/healthz", "health", "Is the process up?", "server", access{public: true}),
		func(context.Context, *struct{}) (*healthOutput, error) {
			return &healthOutput{wire.Health{Status: "up"}}, nil
		})
	register(a, operation(http.MethodGet, "/readyz", "readiness", "Can the server serve? If not, the problem says why.", "server", access{public: true}),
		func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
			if a.draining.Err() != nil {
				return nil, model.Errorf(model.Unavailable, "the server is about to stop")
			}
			ctx, cancel := context.WithTimeout(ctx, readyTimeout)
			defer cancel()
			if err := a.Engine.Ready(ctx); err != nil {
				return nil, model.Errorf(model.Unavailable, "the server is not ready: %v", err)
			}
			return &healthOutput{wire.Health{Status: "ready"}}, nil
		})
	register(a, operation(http.MethodGet, "/v1/version", "version", "Which version is it?", "server", access{public: true}),
		func(context.Context, *struct{}) (*versionOutput, error) {
			return &versionOutput{wire.Version{Version: a.Version, Go: runtime.Version()}}, nil
		})
}
