package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// maxSummary bounds the agendas of a [model.Summary].
const maxSummary = 10_000

// Agenda returns an agenda as it was accepted.
func (e *Engine) Agenda(ctx context.Context, id string) (model.Agenda, error) {
	r, err := e.readRun(ctx, id)
	if err != nil {
		return model.Agenda{}, err
	}
	return e.readAgenda(ctx, r.run)
}

func (e *Engine) readAgenda(ctx context.Context, r *run) (model.Agenda, error) {
	rec, err := e.store.GetOne(ctx, bodyKey(r.ID, r.Body))
	if err != nil {
		return model.Agenda{}, fmt.Errorf("read agenda %q: %w", r.ID, err)
	}
	if rec == nil {
		return model.Agenda{}, notFound(r.ID) // deleted in between
	}
	return acceptedAgenda(rec, r)
}

// acceptedAgenda decodes an agenda. The run knows when it was accepted: submitting again may have written the body again.
func acceptedAgenda(rec *driver.Record, r *run) (model.Agenda, error) {
	a, err := decodeAgenda(rec)
	a.AddedTime, a.UpdatedTime = r.AddedTime, r.AddedTime
	return a, err
}

// Agendas returns agendas as they were accepted, without those that are not there.
func (e *Engine) Agendas(ctx context.Context, ids []string) ([]model.Agenda, error) {
	runs, err := e.readRuns(ctx, ids)
	if err != nil {
		return nil, err
	}
	runs = slices.DeleteFunc(runs, func(r stored) bool { return r.run == nil })
	keys := make([]driver.Key, len(runs))
	for i, r := range runs {
		keys[i] = bodyKey(r.ID, r.Body)
	}
	records, err := e.store.Get(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("read %d agendas: %w", len(runs), err)
	}
	agendas := make([]model.Agenda, 0, len(runs))
	for i, rec := range records {
		if rec == nil {
			continue
		}
		a, err := acceptedAgenda(rec, runs[i].run)
		if err != nil {
			return nil, err
		}
		agendas = append(agendas, a)
	}
	return agendas, nil
}

// Live returns the ids of agendas of an insight that are still to be executed, at most limit.
func (e *Engine) Live(ctx context.Context, insightID string, limit int) ([]string, error) {
	var ids []string
	for shard := range liveShards {
		req := driver.ScanRequest{Kind: kindRun, Index: indexLive, Part: livePart(insightID, shard), Limit: limit}
		for rec, err := range e.store.Scan(ctx, req) {
			if err != nil {
				return nil, fmt.Errorf("find live agendas of insight %q: %w", insightID, err)
			}
			if len(ids) == limit {
				return ids, nil
			}
			ids = append(ids, rec.Key.Part)
		}
	}
	return ids, nil
}

// Progress returns the progress of an agenda with that of all its operations, and its version.
func (e *Engine) Progress(ctx context.Context, id string) (model.AgendaProgress, driver.Version, error) {
	r, err := e.readRun(ctx, id)
	if err != nil {
		return model.AgendaProgress{}, "", err
	}
	p, err := e.detail(ctx, r.run)
	return p, r.version, err
}

// detail adds the operations that have not begun to a run's progress. They are not stored.
func (e *Engine) detail(ctx context.Context, r *run) (model.AgendaProgress, error) {
	agenda, begun, err := e.grown(ctx, r)
	if err != nil {
		return model.AgendaProgress{}, err
	}
	known := make(map[string]model.OperationProgress, len(begun))
	generator := map[string]string{}
	for _, op := range begun {
		known[op.Operation] = op
		for i := range op.Generated {
			generator[op.Generated[i].Name] = op.Operation
		}
	}
	p := r.AgendaProgress
	p.Operations = make([]model.OperationProgress, len(agenda.Operations))
	for i, op := range agenda.Operations {
		progress, ok := known[op.Name]
		if !ok {
			progress = model.OperationProgress{Operation: op.Name, Params: op.Params}
			progress.State = model.Waiting
			if r.Outcome == model.Succeeded {
				progress.State, progress.Outcome = model.Complete, model.Skipped
			}
		}
		progress.ID = model.OperationProgressID(r.ID, op.Name)
		progress.AgendaProgressID = r.ID
		progress.GeneratedBy = generator[op.Name]
		p.Operations[i] = progress
	}
	return p, nil
}

// grown returns the agenda of a run with what was generated, and the progress of the operations that have begun.
func (e *Engine) grown(ctx context.Context, r *run) (model.Agenda, []model.OperationProgress, error) {
	agenda, err := e.readAgenda(ctx, r)
	if err != nil {
		return model.Agenda{}, nil, err
	}
	begun, err := e.operationsOf(ctx, r)
	return agenda.WithGenerated(begun), begun, err
}

// Await returns the progress of an agenda as soon as its version is not the one already seen, or when the wait is over.
func (e *Engine) Await(ctx context.Context, id string, seen driver.Version, wait time.Duration) (model.AgendaProgress, driver.Version, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	poll := time.NewTicker(time.Second) // another server may change the run, and only tell the store
	defer poll.Stop()
	for {
		changed, forget := e.watchers.watch(id)
		p, version, err := e.Progress(ctx, id)
		over := err != nil || version != seen
		if !over {
			select {
			case <-changed:
			case <-poll.C:
			case <-timeout.C:
				over = true
			case <-ctx.Done():
				over, err = true, ctx.Err()
			}
		}
		forget()
		if over {
			return p, version, err
		}
	}
}

// List returns a page of progress, the newest agendas of each customer first, customers in order of their ids. Operations are
// left out.
func (e *Engine) List(ctx context.Context, f Filter, cursor string, limit int) (Page, error) {
	limit = min(max(limit, 1), 1000)
	index, parts, err := e.listParts(ctx, f)
	if err != nil {
		return Page{}, err
	}
	at, below := 0, ""
	if cursor != "" {
		part, sort, ok := strings.Cut(cursor, "\n")
		if at, _ = slices.BinarySearch(parts, part); !ok {
			return Page{}, &model.Error{Kind: model.Invalid, Detail: "list", Issues: []model.Issue{{Path: "cursor", Message: "is not the next of an earlier page"}}}
		}
		if at < len(parts) && parts[at] == part {
			below = sort
		}
	}
	var page Page
	for ; at < len(parts); at, below = at+1, "" {
		req := driver.ScanRequest{Kind: kindRun, Index: index, Part: parts[at], To: below, Reverse: true, Limit: limit + 1}
		for {
			found, err := e.store.Page(ctx, req)
			if err != nil {
				return Page{}, fmt.Errorf("list agendas: %w", err)
			}
			runs, err := e.runsOf(ctx, found.Records)
			if err != nil {
				return Page{}, err
			}
			for i, r := range runs {
				if r.run == nil || !f.matches(r.run) {
					continue
				}
				if len(page.Progress) == limit {
					return page, nil
				}
				p := r.AgendaProgress
				p.Operations = nil
				page.Progress = append(page.Progress, p)
				page.Next = parts[at] + "\n" + found.Records[i].Index[0].Sort
			}
			if req.Cursor = found.Next; req.Cursor == "" {
				break
			}
		}
	}
	page.Next = ""
	return page, nil
}

// listParts returns the index to list from and its parts, in order.
func (e *Engine) listParts(ctx context.Context, f Filter) (index string, parts []string, err error) {
	if f.LinkID != "" {
		return indexLink, []string{f.LinkID}, nil
	}
	if f.CustomerIDs != nil {
		parts = slices.Clone(f.CustomerIDs)
		slices.Sort(parts)
		return indexCustomer, slices.Compact(parts), nil
	}
	customers, err := e.catalog.Customers.All(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, c := range customers {
		parts = append(parts, c.Object.ID)
	}
	return indexCustomer, parts, nil
}

func (f Filter) matches(r *run) bool {
	return (f.CustomerIDs == nil || slices.Contains(f.CustomerIDs, r.CustomerID)) &&
		(f.LinkID == "" || f.LinkID == r.LinkID) &&
		(f.InsightID == "" || f.InsightID == r.AgendaInsight.InsightID) &&
		(f.State == "" || f.State == r.State) &&
		(f.Outcome == "" || f.Outcome == r.Outcome)
}

func (e *Engine) runsOf(ctx context.Context, records []driver.Record) ([]stored, error) {
	ids := make([]string, len(records))
	for i, rec := range records {
		ids[i] = rec.Key.Part
	}
	return e.readRuns(ctx, ids)
}

// Summary returns the state of all agendas with a linkId that belong to the customers, nil for all. There being none is an error.
func (e *Engine) Summary(ctx context.Context, linkID string, customerIDs []string) (model.Summary, error) {
	s := model.Summary{LinkID: linkID}
	for cursor := ""; ; {
		page, err := e.List(ctx, Filter{LinkID: linkID, CustomerIDs: customerIDs}, cursor, 1000)
		if err != nil {
			return model.Summary{}, err
		}
		s.Agendas = append(s.Agendas, page.Progress...)
		if cursor = page.Next; cursor == "" || len(s.Agendas) >= maxSummary {
			break
		}
	}
	if len(s.Agendas) == 0 {
		return model.Summary{}, model.Errorf(model.NotFound, "nothing has the linkId %q", linkID)
	}
	s.State, s.Outcome, s.PercentComplete = summarize(s.Agendas)
	return s, nil
}

// summarize makes one state of many: all the same, or EXECUTING if they differ.
func summarize(agendas []model.AgendaProgress) (model.State, model.Outcome, float64) {
	state, outcome, percent := agendas[0].State, model.Succeeded, 0.0
	for _, p := range agendas {
		percent += p.PercentComplete
		if p.State != state {
			state = model.Executing
		}
		if p.Outcome == model.Failed || p.Outcome == model.Cancelled && outcome == model.Succeeded {
			outcome = p.Outcome
		}
	}
	if state != model.Complete {
		outcome = ""
	}
	return state, outcome, percent / float64(len(agendas))
}
