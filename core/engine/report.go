package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// Report takes in what executors say about their runs. Each report has its own answer, in order.
func (e *Engine) Report(ctx context.Context, reports []model.Report) ([]model.ReportResult, error) {
	if len(reports) > MaxBatch {
		return nil, model.Errorf(model.Invalid, "%d reports in one call; at most %d are taken", len(reports), MaxBatch)
	}
	ctx, cancel := finish(ctx)
	defer cancel()
	results := make([]model.ReportResult, len(reports))
	open := make([]int, 0, len(reports)) // reports without an answer
	for i, r := range reports {
		results[i].AgendaID = r.AgendaID
		open = append(open, i)
	}
	for attempt := 1; len(open) > 0; attempt++ {
		again, err := e.tryReports(ctx, reports, results, open)
		if err != nil {
			return nil, err
		}
		if attempt == maxChanges && len(again) > 0 {
			return nil, model.Errorf(model.Unavailable, "%d runs are changed by others all the time; try again", len(again))
		}
		open = again
	}
	return results, nil
}

// tryReports applies the open reports once and returns those whose run was changed at the same time. Two reports on one agenda are
// applied one after the other.
func (e *Engine) tryReports(ctx context.Context, reports []model.Report, results []model.ReportResult, open []int) (again []int, err error) {
	var now []int
	ids := make([]string, 0, len(open))
	seen := make(map[string]bool, len(open))
	for _, i := range open {
		if id := reports[i].AgendaID; seen[id] {
			again = append(again, i)
		} else {
			seen[id] = true
			now, ids = append(now, i), append(ids, id)
		}
	}
	runs, err := e.fitting(ctx, ids, func(n int, r *run) bool {
		rep := &reports[now[n]]
		return r.State == model.Executing && r.Fence == rep.Fence && r.SessionID == rep.SessionID
	})
	if err != nil {
		return nil, err
	}
	var groups []driver.Group
	var moved []*run
	var written []int // indexes of the reports in groups
	for n, i := range now {
		before := runs[n]
		if before.run == nil {
			results[i].Err = model.Errorf(model.Fenced, "there is no agenda %q any more", ids[n])
			continue
		}
		settled, err := e.settled(ctx, before.run)
		if err != nil {
			return nil, err
		}
		next, changed, err := before.report(e.Now().UTC(), reports[i], settled)
		if err == nil && changed {
			err = e.checkGenerated(ctx, before.run, reports[i].Operations)
		}
		if refused, ok := errors.AsType[*model.Error](err); ok {
			results[i].Err = refused
			continue
		}
		if err != nil {
			return nil, err
		}
		if !changed {
			e.observe(before.run, before.version) // in case the answer to the first report was lost
			continue
		}
		op, err := e.fit(ctx, before, next)
		if refused, ok := errors.AsType[*model.Error](err); ok && refused.Kind == model.TooLarge {
			results[i].Err = refused
			continue
		}
		if err != nil {
			return nil, err
		}
		groups, moved, written = append(groups, driver.Group{op}), append(moved, next), append(written, i)
	}
	outcomes, err := e.store.Write(ctx, groups...)
	if err != nil {
		return nil, e.unsettled(moved, fmt.Errorf("report on %d agendas: %w", len(groups), err))
	}
	e.readLimits(ctx, moved)
	for n, outcome := range outcomes {
		switch {
		case outcome.Err == nil:
			results[written[n]].Paused = moved[n].State == model.Executing && moved[n].Pause != nil
			e.observe(moved[n], outcome.Versions[0])
		case driver.IsConflict(outcome.Err):
			e.recent.forget(moved[n].ID)
			again = append(again, written[n])
		default:
			return nil, e.unsettled(moved, fmt.Errorf("report on agenda %q: %w", moved[n].ID, outcome.Err))
		}
	}
	return again, nil
}

// checkGenerated refuses operations that were generated and cannot be part of the agenda. Executors look at them before, to
// fail what has generated them; the server must not depend on that.
func (e *Engine) checkGenerated(ctx context.Context, r *run, operations []model.OperationProgress) error {
	if !slices.ContainsFunc(operations, func(op model.OperationProgress) bool { return len(op.Generated) > 0 }) {
		return nil
	}
	agenda, before, err := e.grown(ctx, r)
	if err != nil {
		return err
	}
	done := map[string]bool{}
	for _, op := range before {
		done[op.Operation] = op.Outcome == model.Succeeded
	}
	graph, issues := agenda.Graph()
	for i, op := range operations {
		if len(issues) > 0 {
			break
		}
		if len(op.Generated) == 0 || done[op.Operation] {
			continue
		}
		for _, issue := range agenda.Extend(graph, op.Operation, op.Generated) {
			issue.Path = fmt.Sprintf("operationProgress[%d].generatedOperations.%s", i, issue.Path)
			issues = append(issues, issue)
		}
	}
	if len(issues) > 0 {
		return &model.Error{Kind: model.Invalid, Detail: "the report cannot be taken in", Issues: issues}
	}
	return nil
}

// unsettled makes the insights of runs look at them in the store, after a write of which it is not known what it did.
func (e *Engine) unsettled(runs []*run, err error) error {
	for _, r := range runs {
		e.recent.forget(r.ID)
		e.recheck(r.AgendaInsight.InsightID, r.ID)
	}
	return err
}
