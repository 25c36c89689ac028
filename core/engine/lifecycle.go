package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// Cancel ends an agenda that has not ended. Its executor's reports are refused from then on, and it is told to stop.
func (e *Engine) Cancel(ctx context.Context, id, reason string) (model.AgendaProgress, error) {
	if reason == "" {
		reason = "cancelled"
	}
	var lost model.Lease
	var session string
	r, err := e.change(ctx, id, func(r *run) (*run, error) {
		lost, session = model.Lease{AgendaID: r.ID, Fence: r.Fence}, r.SessionID
		return r.cancel(e.Now().UTC(), reason, e.Lease)
	})
	if err != nil {
		return model.AgendaProgress{}, err
	}
	if session != "" {
		ctx, cancel := finish(ctx)
		defer cancel()
		e.revoke(ctx, session, lost)
	}
	return e.detail(ctx, r)
}

// Pause holds an agenda that has not ended. What runs of it is left to end, or stopped at once if it is to be interrupted.
func (e *Engine) Pause(ctx context.Context, id string, pause model.Pause, interrupt bool) (model.AgendaProgress, error) {
	if issues := pause.Validate(e.Now()); len(issues) > 0 {
		return model.AgendaProgress{}, &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be paused", Issues: issues}
	}
	var lease model.Lease
	var session string
	r, err := e.change(ctx, id, func(r *run) (*run, error) {
		lease, session = model.Lease{AgendaID: r.ID, Fence: r.Fence}, r.SessionID
		return r.pause(e.Now().UTC(), pause, interrupt)
	})
	if err != nil {
		return model.AgendaProgress{}, err
	}
	if session != "" {
		ctx, cancel := finish(ctx)
		defer cancel()
		if interrupt {
			e.revoke(ctx, session, lease)
		} else {
			e.tellPaused(ctx, session, lease)
		}
	}
	return e.detail(ctx, r)
}

// Resume ends the pause of an agenda.
func (e *Engine) Resume(ctx context.Context, id string) (model.AgendaProgress, error) {
	r, err := e.change(ctx, id, func(r *run) (*run, error) { return r.resume(e.Now().UTC()) })
	if err != nil {
		return model.AgendaProgress{}, err
	}
	return e.detail(ctx, r)
}

// Rerun runs an agenda that has ended once more, from the operations it names or from where it failed.
func (e *Engine) Rerun(ctx context.Context, id string, req model.Rerun) (model.AgendaProgress, error) {
	for attempt := 1; ; attempt++ {
		p, err := e.rerun(ctx, id, req)
		if model.KindOf(err) != model.Stale || attempt == maxChanges {
			return p, err
		}
	}
}

// RerunAll runs the agendas of a page that match and have ended once more, each on its own. It returns the cursor of the next page.
func (e *Engine) RerunAll(ctx context.Context, f Filter, req model.Rerun, cursor string, limit int) ([]Rerun, string, error) {
	f.State = model.Complete
	page, err := e.List(ctx, f, cursor, min(limit, MaxBatch))
	if err != nil {
		return nil, "", err
	}
	results := make([]Rerun, len(page.Progress))
	for i, p := range page.Progress {
		_, err := e.Rerun(ctx, p.ID, req)
		results[i] = Rerun{AgendaID: p.ID, Err: err}
	}
	return results, page.Next, nil
}

// rerun answers with an error of kind Stale if the run was changed meanwhile.
func (e *Engine) rerun(ctx context.Context, id string, req model.Rerun) (model.AgendaProgress, error) {
	before, err := e.readRun(ctx, id)
	if err != nil {
		return model.AgendaProgress{}, err
	}
	if _, err := before.rerun(e.Now().UTC(), nil, 0, req.SkipExecution); err != nil {
		return model.AgendaProgress{}, err // before anything is said about the operations
	}
	accepted, err := e.readAgenda(ctx, before.run)
	if err != nil {
		return model.AgendaProgress{}, err
	}
	begun, err := e.operationsOf(ctx, before.run)
	if err != nil {
		return model.AgendaProgress{}, err
	}
	agenda := accepted.WithGenerated(begun)
	reset, err := toReset(&agenda, begun, req)
	if err != nil {
		return model.AgendaProgress{}, err
	}
	if !req.SkipExecution {
		if err := e.mayEnter(ctx, before.run); err != nil {
			return model.AgendaProgress{}, err
		}
	}
	kept := slices.DeleteFunc(slices.Clone(begun), func(op model.OperationProgress) bool { return reset[op.Operation] })
	count := len(accepted.WithGenerated(kept).Operations)
	r, err := e.change(ctx, id, func(r *run) (*run, error) {
		if !r.UpdatedTime.Equal(before.UpdatedTime) || r.Fence != before.Fence {
			return nil, model.Errorf(model.Stale, "agenda %q was changed at the same time; try again", id)
		}
		return r.rerun(e.Now().UTC(), slices.Clone(kept), count, req.SkipExecution)
	})
	if err != nil {
		return model.AgendaProgress{}, err
	}
	e.dropOverflow(context.WithoutCancel(ctx), id, before.Overflow.Keys)
	return e.detail(ctx, r)
}

// toReset returns the operations that lose their progress: those that are named, all that depend on them, and all that they have
// generated, which is taken away. Operations that run at the end are always among them: they run at each end.
func toReset(agenda *model.Agenda, begun []model.OperationProgress, req model.Rerun) (map[string]bool, error) {
	graph, bad := agenda.Graph()
	if len(bad) > 0 { // accepted by an older version with other rules
		return nil, &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be run again", Issues: bad}
	}
	var issues []model.Issue
	for i, name := range req.Operations {
		if !graph.Has(name) {
			issues = append(issues, model.Issue{Path: fmt.Sprintf("operations[%d]", i), Message: fmt.Sprintf("the agenda has no operation %q", name)})
		}
	}
	if len(issues) > 0 {
		return nil, &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be run again", Issues: issues}
	}
	names := slices.Clone(req.Operations)
	for _, op := range agenda.Operations {
		if len(req.Operations) == 0 && !req.Continue || op.When.AtTheEnd() {
			names = append(names, op.Name)
		}
	}
	generator := map[string]string{}
	for _, op := range begun {
		for i := range op.Generated {
			generator[op.Generated[i].Name] = op.Operation
		}
	}
	gone := func(reset map[string]bool, name string) bool { return reset[generator[name]] }
	for reset := map[string]bool{}; ; {
		closure := graph.Closure(names)
		if len(closure) == len(reset) {
			return reset, nil
		}
		for _, name := range closure {
			reset[name] = true
		}
		names = closure
		for _, op := range agenda.Operations {
			if gone(reset, op.Name) {
				names = append(names, op.Name)
			}
			// One that was generated and depends on what is taken away cannot stay, so it has to be generated again, too.
			if generator[op.Name] != "" && slices.ContainsFunc(graph.DependsOn(op.Name), func(d string) bool { return gone(reset, d) }) {
				names = append(names, generator[op.Name])
			}
		}
	}
}

// Delete removes an agenda that has ended, or that was never to run, with its progress.
func (e *Engine) Delete(ctx context.Context, id string) error {
	ctx, cancel := finish(ctx)
	defer cancel()
	r, err := e.readRun(ctx, id)
	if driver.CodeOf(err) == driver.Corrupt {
		return e.deleteCorrupt(ctx, id)
	}
	if err != nil {
		return err
	}
	if r.State != model.Complete && !r.Held {
		return model.Errorf(model.Conflict, "agenda %q is %s; cancel it first", id, r.State)
	}
	// The run goes first: without it the agenda does not exist, and what is left of it is found by nobody.
	_, err = e.store.WriteOne(ctx, driver.Op{
		Type: driver.Delete, Record: driver.Record{Key: runKey(id)}, Cond: driver.IfVersion, Version: r.version,
	})
	if driver.IsConflict(err) {
		return model.Errorf(model.Conflict, "agenda %q was changed at the same time; try again", id)
	}
	if err == nil {
		_, err = e.store.WriteOne(ctx, driver.Op{Type: driver.Delete, Record: driver.Record{Key: bodyKey(id, r.Body)}})
	}
	if err == nil {
		err = e.deleteLogs(ctx, id)
	}
	if err == nil && r.Overflow.Used {
		err = e.deleteAll(ctx, kindOverflow, id)
	}
	if err != nil {
		return fmt.Errorf("delete agenda %q: %w", id, err)
	}
	e.recent.forget(id)
	e.watchers.changed(id)
	return nil
}

// deleteCorrupt removes an agenda whose run cannot be read, so that there is a way to be rid of it.
func (e *Engine) deleteCorrupt(ctx context.Context, id string) error {
	if _, err := e.store.WriteOne(ctx, driver.Op{Type: driver.Delete, Record: driver.Record{Key: runKey(id)}}); err != nil {
		return fmt.Errorf("delete agenda %q: %w", id, err)
	}
	return errors.Join(e.deleteAll(ctx, kindBody, id), e.deleteAll(ctx, kindOverflow, id), e.deleteAll(ctx, kindLog, id))
}

// deleteAll deletes the records of an agenda of a kind.
func (e *Engine) deleteAll(ctx context.Context, kind driver.Kind, id string) error {
	for rec, err := range e.store.Scan(ctx, driver.ScanRequest{Kind: kind, Part: id}) {
		if err == nil {
			_, err = e.store.WriteOne(ctx, driver.Op{Type: driver.Delete, Record: driver.Record{Key: rec.Key}})
		}
		if err != nil {
			return fmt.Errorf("delete agenda %q: %w", id, err)
		}
	}
	return nil
}
