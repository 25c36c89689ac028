package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// hintLease is how long a received hint is kept from other pullers: far longer than a claim takes.
const hintLease = 30 * time.Second

// Pull hands out agendas of an insight to a session, waiting for the first one if it is asked to. No agendas is an empty answer.
func (e *Engine) Pull(ctx context.Context, req model.PullRequest) ([]model.Assignment, error) {
	if issues := validatePull(req); len(issues) > 0 {
		return nil, &model.Error{Kind: model.Invalid, Detail: "pull", Issues: issues}
	}
	insight, err := e.catalog.Insights.Get(ctx, req.InsightID)
	if err != nil {
		return nil, err
	}
	if e.Now().After(e.sessions.until(req.SessionID)) {
		if _, _, err := e.readSession(ctx, req.SessionID); err != nil {
			return nil, err
		}
	}
	queueName := insight.Object.QueueName
	deadline := e.Now().Add(time.Duration(req.WaitMs) * time.Millisecond)
	if d := e.dispatcher(req.InsightID); d != nil {
		d.noticePull()
	} else {
		e.inform(req.InsightID, news{Pulled: true})
	}
	if err := e.ensure(ctx, queueName); err != nil {
		return nil, err
	}
	for {
		wait := max(0, deadline.Sub(e.Now()))
		deliveries, err := e.queue.Receive(ctx, queueName, max(1, req.Max), wait, hintLease)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil //nolint:nilerr // the puller has gone or the server is about to stop: there is nothing for it
			}
			return nil, fmt.Errorf("pull from queue %q: %w", queueName, err)
		}
		assignments, err := e.claim(ctx, queueName, req, deliveries)
		if err != nil || len(assignments) > 0 || wait == 0 {
			return assignments, err
		}
	}
}

func validatePull(req model.PullRequest) (issues []model.Issue) {
	if req.Max < 0 || req.Max > MaxBatch {
		issues = append(issues, model.Issue{Path: "max", Message: fmt.Sprintf("must be 1 to %d", MaxBatch)})
	}
	if req.WaitMs < 0 || req.WaitMs > MaxWait.Milliseconds() {
		issues = append(issues, model.Issue{Path: "waitMs", Message: fmt.Sprintf("must be 0 to %d", MaxWait.Milliseconds())})
	}
	if req.InsightID == "" {
		issues = append(issues, model.Issue{Path: "insightId", Message: "must be given"})
	}
	return issues
}

// claim turns hints into assignments. A hint whose run has moved on is dropped; one that could not be claimed for now is left
// to be delivered again.
func (e *Engine) claim(ctx context.Context, queueName string, req model.PullRequest, deliveries []driver.Delivery) ([]model.Assignment, error) {
	if len(deliveries) == 0 {
		return nil, nil
	}
	ctx, cancel := finish(ctx)
	defer cancel()
	hints := make([]hint, 0, len(deliveries))
	receipts := make([]string, 0, len(deliveries))
	ids := make([]string, 0, len(deliveries))
	bodies := make([]driver.Key, 0, len(deliveries))
	seen := make(map[string]bool, len(deliveries))
	for _, d := range deliveries {
		receipts = append(receipts, d.Receipt)
		var h hint
		if err := json.Unmarshal(d.Message.Body, &h); err != nil || seen[h.AgendaID] {
			continue // not ours, or delivered twice
		}
		seen[h.AgendaID] = true
		hints = append(hints, h)
		ids, bodies = append(ids, h.AgendaID), append(bodies, bodyKey(h.AgendaID, h.Body))
	}
	runs, err := e.fitting(ctx, ids, func(i int, r *run) bool { return r.State == model.Queued && r.DispatchSeq == hints[i].DispatchSeq })
	if err != nil {
		return nil, err
	}
	// Who owns the insight is read after the hints have come. So no hint is taken that an owner sends who has lost it already.
	keys := bodies
	if e.owners != nil {
		keys = append(keys, ownerKey(req.InsightID))
	}
	records, err := e.store.Get(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("claim %d agendas: %w", len(hints), err)
	}
	epoch, err := epochOf(records[len(bodies):])
	if err != nil {
		return nil, err
	}
	var groups []driver.Group
	var claimed []model.Assignment
	var moved []*run
	for i, h := range hints {
		before, body := runs[i], records[i]
		if before.run == nil || body == nil {
			continue
		}
		if before.AgendaInsight.InsightID != req.InsightID {
			continue
		}
		if before.Epoch != epoch {
			e.recheck(req.InsightID, h.AgendaID) // the owner must see to it
			continue
		}
		next, err := before.claim(e.Now().UTC(), h.DispatchSeq, req.SessionID)
		if err != nil {
			continue // cancelled or claimed by another
		}
		agenda, err := decodeAgenda(body)
		if err != nil {
			e.Logger.Error("agenda not claimed", "agenda", h.AgendaID, "error", err) // one must not spoil the others
			continue
		}
		progress := next.AgendaProgress
		if progress.Operations, err = e.operationsOf(ctx, next); err != nil {
			e.Logger.Error("agenda not claimed", "agenda", h.AgendaID, "error", err)
			continue
		}
		op, err := before.put(next)
		if err != nil {
			return nil, err
		}
		groups, moved = append(groups, driver.Group{op}), append(moved, next)
		claimed = append(claimed, model.Assignment{
			Lease: model.Lease{AgendaID: next.ID, Fence: next.Fence}, Agenda: agenda, Progress: progress,
		})
	}
	if len(groups) > 0 {
		if err := e.ensureSession(ctx, req.SessionID); err != nil {
			return nil, e.returnHints(ctx, queueName, deliveries, err)
		}
	}
	won := claimed[:0]
	results, err := e.store.Write(ctx, groups...)
	if err != nil {
		for _, r := range moved {
			e.recent.forget(r.ID)
		}
		// Some may be EXECUTING now, without anybody who knows: they are found, and reclaimed for want of a report.
		e.recheck(req.InsightID, agendasOf(moved)...)
		return nil, fmt.Errorf("claim %d agendas: %w", len(groups), err)
	}
	e.readLimits(ctx, moved)
	for i, result := range results {
		if result.Err == nil {
			won = append(won, claimed[i])
			e.observe(moved[i], result.Versions[0])
			continue
		}
		e.recent.forget(moved[i].ID)
		if !driver.IsConflict(result.Err) {
			e.recheck(req.InsightID, moved[i].ID)
			e.Logger.Error("agenda not claimed", "agenda", moved[i].ID, "error", result.Err)
		}
	}
	if err := e.queue.Ack(ctx, queueName, receipts); err != nil {
		e.Logger.Warn("hints not acknowledged, they will be dropped when they come again", "queue", queueName, "error", err)
	}
	return won, nil
}

// returnHints puts hints that a session cannot claim, for the reason err, back on the queue at once.
func (e *Engine) returnHints(ctx context.Context, queueName string, deliveries []driver.Delivery, err error) error {
	messages := make([]driver.Message, len(deliveries))
	receipts := make([]string, len(deliveries))
	for i, d := range deliveries {
		messages[i], receipts[i] = d.Message, d.Receipt
	}
	if sent := e.queue.Send(ctx, queueName, messages); sent != nil {
		return errors.Join(err, sent) // then they come again when they are due
	}
	return errors.Join(err, e.queue.Ack(ctx, queueName, receipts))
}

// epochOf returns the epoch of the owner of an insight, if there are several: of its record, or of none.
func epochOf(records []*driver.Record) (int64, error) {
	if len(records) == 0 || records[0] == nil {
		return 0, nil
	}
	owner, err := decodeOwner(records[0])
	return owner.Epoch, err
}
