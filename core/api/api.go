package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// requestTimeout is how long a request may take that does not wait for anything on purpose.
const requestTimeout = 30 * time.Second

// Engine is what the API needs of [engine.Engine].
type Engine interface {
	Submit(ctx context.Context, submissions []engine.Submission) []engine.Submitted
	Agenda(ctx context.Context, id string) (model.Agenda, error)
	Agendas(ctx context.Context, ids []string) ([]model.Agenda, error)
	Live(ctx context.Context, insightID string, limit int) ([]string, error)
	Progress(ctx context.Context, id string) (model.AgendaProgress, driver.Version, error)
	Await(ctx context.Context, id string, seen driver.Version, wait time.Duration) (model.AgendaProgress, driver.Version, error)
	List(ctx context.Context, f engine.Filter, cursor string, limit int) (engine.Page, error)
	Summary(ctx context.Context, linkID string, customerIDs []string) (model.Summary, error)
	Cancel(ctx context.Context, id, reason string) (model.AgendaProgress, error)
	Rerun(ctx context.Context, id string, req model.Rerun) (model.AgendaProgress, error)
	RerunAll(ctx context.Context, f engine.Filter, req model.Rerun, cursor string, limit int) ([]engine.Rerun, string, error)
	Pause(ctx context.Context, id string, pause model.Pause, interrupt bool) (model.AgendaProgress, error)
	Resume(ctx context.Context, id string) (model.AgendaProgress, error)
	Delete(ctx context.Context, id string) error
	Explain(ctx context.Context, id string) (model.Explanation, error)
	Preview(ctx context.Context, insightID string, req model.PreviewRequest) (model.Preview, error)
	Fairness(ctx context.Context, insightID string, busiest int) (model.Fairness, error)
	Owner(ctx context.Context, insightID string) (model.Owner, error)
	Owns(insightID string) bool
	OpenSession(ctx context.Context, name string) (model.Session, error)
	Heartbeat(ctx context.Context, sessionID string) (model.Session, error)
	CloseSession(ctx context.Context, sessionID string) error
	Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error)
	Report(ctx context.Context, reports []model.Report) ([]model.ReportResult, error)
	AppendOwnLogs(ctx context.Context, chunks []model.LogAppend, mayReport func(ctx context.Context, insightID string) error) ([]model.ReportResult, error)
	Logs(ctx context.Context, id string, req model.LogRequest) (model.LogPage, error)
	Ready(ctx context.Context) error
}

// Options are the parts of an [API]. Engine, Catalog and Logger are required.
type Options struct {
	Engine  Engine
	Catalog *catalog.Catalog
	Logger  *slog.Logger
	// Authorizer authenticates callers. Nil lets everyone do everything.
	Authorizer *authz.Authorizer
	Version    string // of the server
	// Metrics are served besides those of the insights; nil for none.
	Metrics prometheus.Gatherer
}

// API serves /v1. It is an [http.Handler], safe for concurrent use.
type API struct {
	Options
	gin  *gin.Engine
	huma huma.API

	requests requestIDs
	// draining ends when long polls and streams are to end, for the server is about to stop.
	draining context.Context
	drain    context.CancelFunc
}

// useProblems makes Huma, which is configured by variables of its package, speak of errors as this API does.
var useProblems = sync.OnceFunc(func() {
	huma.NewErrorWithContext = newProblem
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return newProblem(nil, status, message, errs...)
	}
	huma.DefaultArrayNullable = false
	gin.SetMode(gin.ReleaseMode)
})

// New returns the API.
func New(o Options) *API {
	useProblems()
	a := &API{Options: o, gin: gin.New(), requests: newRequestIDs()}
	a.draining, a.drain = context.WithCancel(context.Background())

	a.gin.UseEscapedPath, a.gin.UnescapePathValues = true, false // an id may hold slashes; see guard
	a.gin.RedirectTrailingSlash, a.gin.HandleMethodNotAllowed = false, true
	a.gin.NoRoute(a.guard(access{public: true}, a.noRoute))
	a.gin.NoMethod(a.guard(access{public: true}, a.noMethod))

	a.huma = huma.NewAPI(config(), &router{api: a, verbs: map[string]verbs{}})
	a.addCustomers()
	a.addResourcePools()
	a.addInsights()
	a.addAgendaTemplates()
	a.addAgendas()
	a.addProgress()
	a.addFairness()
	a.addOwner()
	a.addLinks()
	a.addExecution()
	a.addLogs()
	a.addHealth()
	a.addMetrics()
	a.addDocs()
	return a
}

// ServeHTTP serves a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.gin.ServeHTTP(w, r) }

// Drain ends long polls and streams, present and future ones, with what there is to say. It is called before a server is shut
// down, so that it need not wait for them.
func (a *API) Drain() { a.drain() }

// waiting returns a context for a wait that ends when the server drains.
func (a *API) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(a.draining, cancel)
	return ctx, func() { stop(); cancel() }
}

func config() huma.Config {
	c := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "POP",
				Version: "1",
				Description: "Priority Operation Processing: submit agendas, follow their progress, and configure who runs what and in which order. " +
					"Errors are problem documents as in RFC 9457. What a caller may not see does not exist for it.",
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}},
			},
			Security: []map[string][]string{{"bearer": {}}},
		},
		Formats:                      map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	return c
}
