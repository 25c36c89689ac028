package pool

import (
	"context"

	"github.com/pop-platform/pop/core/model"
)

// API is what a puller needs of the server. A [*model.Error] is the server's answer; any other error means that the answer is
// not known.
type API interface {
	// OpenSession begins a session. It ends the session that had the name before.
	OpenSession(ctx context.Context, name string) (model.Session, error)
	// Heartbeat extends a session. An error of kind [model.NotFound] or [model.Fenced] means that it is over.
	Heartbeat(ctx context.Context, sessionID string) (model.Session, error)
	// CloseSession ends a session. The server gives its agendas to others at once.
	CloseSession(ctx context.Context, sessionID string) error
	// Pull waits for agendas as long as the request says. None is not an error.
	Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error)
	// Report takes in reports and returns one result for each, in order.
	Report(ctx context.Context, reports []model.Report) ([]model.ReportResult, error)
	// AppendLogs keeps what operations printed. Work does not depend on it.
	AppendLogs(ctx context.Context, chunks []model.LogAppend) ([]model.ReportResult, error)
}
