package engine

import (
	"context"
	"fmt"

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
		return r.cancel(e.Now().UTC(), reason)
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

// Rerun runs an agenda that has ended once more, from the operations it names or from where it failed.
func (e *Engine) Rerun(ctx context.Context, id string, req RerunRequest) (model.AgendaProgress, error) {
	agenda, err := e.Agenda(ctx, id)
	if err != nil {
		return model.AgendaProgress{}, err
	}
	reset, err := toReset(&agenda, req)
	if err != nil {
		return model.AgendaProgress{}, err
	}
	r, err := e.change(ctx, id, func(r *run) (*run, error) {
		return r.rerun(e.Now().UTC(), reset, req.SkipExecution)
	})
	if err != nil {
		return model.AgendaProgress{}, err
	}
	return e.detail(ctx, r)
}

// toReset returns the operations that lose their progress.
func toReset(agenda *model.Agenda, req RerunRequest) (map[string]bool, error) {
	names := req.Operations
	if len(names) == 0 && !req.Continue {
		for _, op := range agenda.Operations {
			names = append(names, op.Name)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	graph, bad := agenda.Graph()
	if len(bad) > 0 { // accepted by an older version with other rules
		return nil, &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be run again", Issues: bad}
	}
	var issues []model.Issue
	for i, name := range names {
		if !graph.Has(name) {
			issues = append(issues, model.Issue{Path: fmt.Sprintf("operations[%d]", i), Message: fmt.Sprintf("the agenda has no operation %q", name)})
		}
	}
	if len(issues) > 0 {
		return nil, &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be run again", Issues: issues}
	}
	reset := map[string]bool{}
	for _, name := range graph.Closure(names) {
		reset[name] = true
	}
	return reset, nil
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
	if r.live() {
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
	if err != nil {
		return fmt.Errorf("delete agenda %q: %w", id, err)
	}
	e.recent.forget(id)
	e.watchers.changed(id)
	return nil
}

// deleteCorrupt removes an agenda whose run cannot be read, so that there is a way to be rid of it.
func (e *Engine) deleteCorrupt(ctx context.Context, id string) error {
	ops := []driver.Op{{Type: driver.Delete, Record: driver.Record{Key: runKey(id)}}}
	for rec, err := range e.store.Scan(ctx, driver.ScanRequest{Kind: kindBody, Part: id}) {
		if err != nil {
			return fmt.Errorf("delete agenda %q: %w", id, err)
		}
		ops = append(ops, driver.Op{Type: driver.Delete, Record: driver.Record{Key: rec.Key}})
	}
	for _, op := range ops {
		if _, err := e.store.WriteOne(ctx, op); err != nil {
			return fmt.Errorf("delete agenda %q: %w", id, err)
		}
	}
	return nil
}
