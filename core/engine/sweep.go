package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// sweep takes runs from executors that are gone and sends hints again that nobody has answered.
func (d *dispatcher) sweep(ctx context.Context) error {
	if !d.mayAct() {
		return nil
	}
	return errors.Join(d.reclaimLost(ctx), d.resendHints(ctx))
}

// lostRun is a run to reclaim, and why.
type lostRun struct {
	executingRun
	why    string
	unless func(*run) bool // it turns out not to be lost
}

func (d *dispatcher) reclaimLost(ctx context.Context) error {
	lost, err := d.findLost(ctx)
	if err != nil {
		return err
	}
	for id, l := range lost {
		r, err := d.engine.change(ctx, agendaID(id), func(r *run) (*run, error) {
			if l.unless != nil && l.unless(r) {
				return nil, errNotLost
			}
			return r.reclaim(d.engine.Now(), l.session, l.fence, l.why)
		})
		switch kind := model.KindOf(err); {
		case errors.Is(err, errNotLost):
			d.confirmed(id, l.fence)
		case err == nil:
			d.log.Warn("agenda reclaimed", "agenda", r.ID, "session", l.session, "fence", l.fence, "reason", l.why, "state", r.State)
		case kind == model.Conflict || kind == model.NotFound: // it has moved on
			d.recheck(agendaID(id))
		default:
			return fmt.Errorf("reclaim agenda %q: %w", agendaID(id), err)
		}
	}
	return nil
}

// findLost returns the executing runs whose session has ended, and those whose executor was never heard of.
func (d *dispatcher) findLost(ctx context.Context) (map[scheduling.ID]lostRun, error) {
	now := d.engine.Now()
	d.mu.Lock()
	sessions := map[string]bool{}
	lost := map[scheduling.ID]lostRun{}
	for id, e := range d.executing {
		sessions[e.session] = true
		if !e.confirmBy.IsZero() && now.After(e.confirmBy) {
			lost[id] = lostRun{e, "the executor that claimed the agenda has not reported on it", func(r *run) bool {
				return r.State == model.Executing && r.Fence == e.fence && r.Confirmed
			}}
		}
	}
	d.mu.Unlock()
	ended := map[string]bool{}
	for session := range sessions {
		alive, err := d.engine.sessionAlive(ctx, session)
		if err != nil {
			return nil, err
		}
		if !alive {
			ended[session] = true
		}
	}
	if len(ended) == 0 {
		return lost, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, e := range d.executing {
		if ended[e.session] {
			lost[id] = lostRun{e, fmt.Sprintf("session %q of the executor has ended", e.session), nil}
		}
	}
	return lost, nil
}

// errNotLost is what keeps a run that is not lost from being reclaimed.
var errNotLost = errors.New("the run is not lost")

// confirmed notes that the executor has reported.
func (d *dispatcher) confirmed(id scheduling.ID, fence int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.executing[id]; ok && e.fence == fence {
		e.confirmBy = time.Time{}
		d.executing[id] = e
	}
}

// resendHints sends the hints of QUEUED runs again that should have been claimed by now, at growing intervals. Runs that are not
// QUEUED any more are dropped from memory.
func (d *dispatcher) resendHints(ctx context.Context) error {
	now := d.engine.Now()
	d.mu.Lock()
	due := map[string]queuedRun{}
	for id, q := range d.queued {
		if now.After(q.resendAt) {
			due[agendaID(id)] = q
			q.resendAt, q.resend = now.Add(q.resend), 2*q.resend
			d.queued[id] = q
		}
	}
	d.mu.Unlock()
	if len(due) == 0 {
		return nil
	}
	insight, err := d.engine.catalog.Insights.Get(ctx, d.insightID)
	if err != nil {
		return err
	}
	ids := make([]string, 0, len(due))
	for id := range due {
		ids = append(ids, id)
	}
	runs, err := d.engine.readRuns(ctx, ids)
	if err != nil {
		return err
	}
	var messages []driver.Message
	for i, r := range runs {
		if q := due[ids[i]]; r.run != nil && r.State == model.Queued && r.DispatchSeq == q.hint.DispatchSeq && r.Epoch == d.epoch {
			messages = append(messages, q.message())
		} else {
			d.recheck(ids[i])
		}
	}
	if err := d.engine.queue.Send(ctx, insight.Object.QueueName, messages); err != nil {
		return fmt.Errorf("send %d hints again: %w", len(messages), err)
	}
	return nil
}
