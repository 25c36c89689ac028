package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

const tagExecution = "execution"

type openInput struct {
	Body wire.OpenSession
}

type sessionOutput struct {
	Status   int
	Location string `header:"Location"`
	Body     model.Session
}

type pullInput struct {
	RawBody []byte `contentType:"application/json"`
}

type pullOutput struct {
	Body wire.Assignments
}

type reportInput struct {
	RawBody []byte `contentType:"application/json"`
}

type reportOutput struct {
	Body wire.ReportResults
}

func (a *API) addExecution() {
	open := operation(http.MethodPost, "/v1/sessions", "open-session", "Open a session", tagExecution, access{role: driver.RolePull})
	open.DefaultStatus = http.StatusCreated
	register(a, open, func(ctx context.Context, in *openInput) (*sessionOutput, error) {
		session, err := a.Engine.OpenSession(ctx, scope(ctx)+in.Body.Name)
		if err != nil {
			return nil, err
		}
		return &sessionOutput{
			Status: http.StatusCreated, Location: "/v1/sessions/" + url.PathEscape(session.ID), Body: unscoped(ctx, session),
		}, nil
	})
	register(a, operation(http.MethodPost, "/v1/sessions/{id}:heartbeat", "heartbeat", "Keep a session alive", tagExecution, access{role: driver.RolePull}),
		func(ctx context.Context, in *idInput) (*sessionOutput, error) {
			if err := checkSession(ctx, in.ID); err != nil {
				return nil, err
			}
			session, err := a.Engine.Heartbeat(ctx, in.ID)
			return &sessionOutput{Status: http.StatusOK, Body: unscoped(ctx, session)}, err
		})
	register(a, operation(http.MethodDelete, "/v1/sessions/{id}", "close-session", "Close a session", tagExecution, access{role: driver.RolePull}),
		func(ctx context.Context, in *idInput) (*struct{}, error) {
			if err := checkSession(ctx, in.ID); err != nil {
				return nil, err
			}
			return nil, a.Engine.CloseSession(ctx, in.ID)
		})

	pull, request := hot[model.PullRequest](a, operation(http.MethodPost, "/v1/agendas:pull", "pull-agendas", "Pull agendas to run, or wait for one", tagExecution,
		access{role: driver.RolePull, waits: true}))
	pull.Description = "The caller must own the insight."
	register(a, pull, func(ctx context.Context, in *pullInput) (*pullOutput, error) {
		v, err := request.decode(in.RawBody)
		if err != nil {
			return nil, err
		}
		return a.pull(ctx, v)
	})
	request.document(a, pull)

	report, reports := hot[wire.Reports](a, operation(http.MethodPost, "/v1/agenda-progress:report", "report-progress", "Report on up to 100 runs", tagExecution,
		access{role: driver.RolePull}))
	report.Description = "Each report is taken in or refused on its own. A report of a fenced-out executor is refused with the kind fenced."
	register(a, report, func(ctx context.Context, in *reportInput) (*reportOutput, error) {
		v, err := reports.decode(in.RawBody)
		if err != nil {
			return nil, err
		}
		return a.report(ctx, v.Items)
	})
	reports.document(a, report)
}

// maxScope is how much of the id of a session may name the caller: ids are bounded, and subjects are as long as issuers like.
const maxScope = 100

// scope returns what the caller's sessions have in front of their names, so that no caller can end or use a session of another.
func scope(ctx context.Context) string {
	subject := url.PathEscape(caller(ctx).Subject)
	if len(subject) > maxScope {
		sum := sha256.Sum256([]byte(subject))
		subject = "%~" + hex.EncodeToString(sum[:]) // which no escaped subject begins with
	}
	return subject + "/"
}

func unscoped(ctx context.Context, s model.Session) model.Session {
	s.Name = strings.TrimPrefix(s.Name, scope(ctx))
	return s
}

// checkSession refuses a session of another caller as if it had ended.
func checkSession(ctx context.Context, id string) error {
	if strings.HasPrefix(id, scope(ctx)) {
		return nil
	}
	return errNoSession(id)
}

func errNoSession(id string) *model.Error {
	return model.Errorf(model.Fenced, "session %q has ended; open a new one", id)
}

func (a *API) pull(ctx context.Context, req model.PullRequest) (*pullOutput, error) {
	if req.InsightID == "" {
		return nil, invalid("insightId", "is missing; name the insight to pull for")
	}
	insight, err := a.Catalog.Insights.Get(ctx, req.InsightID)
	switch {
	case err != nil:
		return nil, err
	case !authz.MayRead(caller(ctx), insight.Object.CustomerID, insight.Object.Sharing):
		return nil, model.Errorf(model.NotFound, "there is no insight %q", req.InsightID)
	case !authz.ActsFor(caller(ctx), insight.Object.CustomerID):
		return nil, model.Errorf(model.Forbidden, "insight %q is shared with you; only its owner may pull for it", req.InsightID)
	}
	if err := checkSession(ctx, req.SessionID); err != nil {
		return nil, err
	}
	waiting := ctx
	if req.WaitMs > 0 {
		var cancel context.CancelFunc
		waiting, cancel = a.waiting(ctx)
		defer cancel()
	}
	assignments, err := a.Engine.Pull(waiting, req)
	if errors.Is(err, context.Canceled) && ctx.Err() == nil { // the server drains
		err = nil
	}
	return &pullOutput{wire.Assignments{Items: orEmpty(assignments)}}, err
}

func (a *API) report(ctx context.Context, reports []model.Report) (*reportOutput, error) {
	if len(reports) == 0 || len(reports) > wire.MaxBatch {
		return nil, invalid("items", "there must be 1 to 100")
	}
	results := make([]model.ReportResult, len(reports))
	mine := make([]model.Report, 0, len(reports))
	indexes := make([]int, 0, len(reports)) // of mine in reports
	for i, r := range reports {
		if refused := checkReport(ctx, &r); refused != nil {
			results[i] = model.ReportResult{AgendaID: r.AgendaID, Err: refused}
			continue
		}
		mine, indexes = append(mine, r), append(indexes, i)
	}
	taken, err := a.Engine.Report(ctx, mine)
	if err != nil {
		return nil, err
	}
	for n, result := range taken {
		results[indexes[n]] = result
	}
	return &reportOutput{wire.ReportResults{Items: results}}, nil
}

// checkReport returns why a report cannot be taken in, nil if it can. What it says is stored as it is.
func checkReport(ctx context.Context, r *model.Report) *model.Error {
	if checkSession(ctx, r.SessionID) != nil {
		return errNoSession(r.SessionID)
	}
	issues := checkStatus(nil, "", &r.Status)
	for i := range r.Operations {
		issues = checkStatus(issues, fmt.Sprintf("operationProgress[%d].", i), &r.Operations[i].Status)
	}
	if len(issues) > 0 {
		return &model.Error{Kind: model.Invalid, Detail: "the report is not valid", Issues: issues}
	}
	return nil
}

func checkStatus(issues []model.Issue, path string, s *model.Status) []model.Issue {
	switch s.State {
	case model.Waiting, model.Queued, model.Executing, model.Complete:
	default:
		issues = append(issues, model.Issue{Path: path + "processingState", Message: fmt.Sprintf("%.40q is none of WAITING, QUEUED, EXECUTING, COMPLETE", s.State)})
	}
	switch s.Outcome {
	case "", model.Succeeded, model.Failed, model.Cancelled:
	default:
		issues = append(issues, model.Issue{Path: path + "outcome", Message: fmt.Sprintf("%.40q is none of succeeded, failed, cancelled", s.Outcome)})
	}
	if s.PercentComplete < 0 || s.PercentComplete > 100 {
		issues = append(issues, model.Issue{Path: path + "percentComplete", Message: fmt.Sprintf("%v is not within 0 and 100", s.PercentComplete)})
	}
	return issues
}
