package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// readAtOnce is how many records are read in one call where there may be any number.
const readAtOnce = 500

// load brings memory up to date with the live runs of the insight: with all that are QUEUED or EXECUTING, and those that wait and have
// come into line since a time. What the index shows of a run that memory has otherwise may be old, so the store is asked.
func (d *dispatcher) load(ctx context.Context, since time.Time) error {
	start := d.engine.Now()
	waiting := map[string][]scheduling.Item{}
	unsure := map[string]bool{}
	unseen := d.inFlight()
	for shard := range liveShards {
		req := driver.ScanRequest{Kind: kindRun, Index: indexLive, Part: livePart(d.insightID, shard), From: liveFrom(since)}
		for rec, err := range d.engine.store.Scan(ctx, req) {
			if err != nil {
				return fmt.Errorf("load live agendas: %w", err)
			}
			entry, err := parseLiveSort(rec.Index[0].Sort)
			if err != nil {
				return driver.Errorf(driver.Corrupt, "engine", "live agenda %q: %w", rec.Key.Part, err)
			}
			_, known := unseen[entry.item.ID]
			switch {
			case entry.waiting != known:
				delete(unseen, entry.item.ID)
				if entry.waiting {
					waiting[entry.customer] = append(waiting[entry.customer], entry.item)
				}
			default:
				unsure[rec.Key.Part] = true
			}
		}
	}
	for id := range unseen {
		unsure[agendaID(id)] = true
	}
	if err := d.loadAccounts(ctx); err != nil {
		return err
	}
	err := d.eachCustomer(ctx, slices.Sorted(maps.Keys(waiting)), func(now int64, id string, policy scheduling.Policy) {
		d.line.AddAll(now, id, policy, waiting[id])
	})
	if err != nil {
		return err
	}
	busy := make([]string, 0, len(unsure))
	for id := range unsure {
		busy = append(busy, id)
	}
	if err := d.settle(ctx, busy); err != nil {
		return err
	}
	if !d.began && len(waiting)+len(busy) > 0 {
		d.log.Info("live agendas loaded", "customers_waiting", len(waiting), "busy", len(busy), "took", d.engine.Now().Sub(start))
	}
	d.began = true
	return nil
}

// eachCustomer is [dispatcher.withPolicy] for many customers, whose limits are read in few calls.
func (d *dispatcher) eachCustomer(ctx context.Context, ids []string, f func(now int64, id string, policy scheduling.Policy)) error {
	for some := range slices.Chunk(ids, readAtOnce) {
		if err := d.engine.catalog.Customers.Prefetch(ctx, some...); err != nil {
			return err
		}
		for _, id := range some {
			d.withPolicy(id, func(now int64, policy scheduling.Policy) { f(now, id, policy) })
		}
	}
	return nil
}

// inFlight returns the runs that memory has as QUEUED or EXECUTING, or that may be.
func (d *dispatcher) inFlight() map[scheduling.ID]struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make(map[scheduling.ID]struct{}, len(d.queued)+len(d.executing)+len(d.unsure))
	for id := range d.unsure {
		all[id] = struct{}{}
	}
	for id := range d.queued {
		all[id] = struct{}{}
	}
	for id := range d.executing {
		all[id] = struct{}{}
	}
	return all
}

// recheck makes the loop look in the store at runs that somebody may have changed, before it schedules anything else.
func (d *dispatcher) recheck(ids ...string) {
	d.mu.Lock()
	for _, id := range ids {
		d.suspects[id] = true
	}
	d.mu.Unlock()
	d.signal()
}

// settleSuspects looks at the runs that are to be looked at.
func (d *dispatcher) settleSuspects(ctx context.Context) error {
	d.mu.Lock()
	ids := make([]string, 0, len(d.suspects))
	for id := range d.suspects {
		ids = append(ids, id)
	}
	clear(d.suspects)
	d.mu.Unlock()
	err := d.settle(ctx, ids)
	if err != nil {
		d.recheck(ids...)
	}
	return err
}

// settle makes memory have runs as the store has them, and sends the hints of those that are QUEUED and have none.
func (d *dispatcher) settle(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	insight, err := d.engine.catalog.Insights.Get(ctx, d.insightID)
	if err != nil {
		return err
	}
	for batch := range slices.Chunk(ids, readAtOnce) {
		runs, err := d.engine.readRuns(ctx, batch)
		if err != nil {
			return err
		}
		found := make([]*run, 0, len(runs))
		for _, r := range runs {
			if r.run != nil {
				found = append(found, r.run)
			}
		}
		d.engine.readLimits(ctx, found)
		var unsent []*run
		var void []stored
		for i, r := range runs {
			if r.run == nil {
				d.forget(batch[i])
				continue
			}
			d.resolve(r.run)
			switch {
			case r.AgendaInsight.InsightID != d.insightID:
			case r.State != model.Queued:
				d.observe(r.run)
			case r.Epoch < d.epoch:
				void = append(void, r)
			case r.Epoch == d.epoch && !d.hasQueued(r.run):
				unsent = append(unsent, r.run)
			}
		}
		renewed, err := d.renew(ctx, void)
		if err != nil {
			return err
		}
		d.send(ctx, insight.Object.QueueName, append(unsent, renewed...))
	}
	return nil
}

// renew sees to runs that an earlier owner has scheduled and nobody has claimed. What the last one has left is the new one's from then
// on. All else was scheduled by one who had lost the insight, without regard to what another scheduled at that time, and goes back in
// line.
func (d *dispatcher) renew(ctx context.Context, void []stored) (renewed []*run, err error) {
	now := d.engine.Now().UTC()
	groups := make([]driver.Group, len(void))
	next := make([]*run, len(void))
	for i, before := range void {
		if !d.began && before.Epoch == d.epoch-1 {
			next[i] = before.renew(now, d.epoch)
		} else {
			next[i] = before.putBack(now)
		}
		op, err := before.put(next[i])
		if err != nil {
			return nil, err
		}
		groups[i] = driver.Group{op}
	}
	results, err := d.engine.store.Write(ctx, groups...)
	if err != nil {
		return nil, fmt.Errorf("take over %d scheduled agendas: %w", len(void), err)
	}
	for i, result := range results {
		switch {
		case driver.IsConflict(result.Err):
			d.recheck(next[i].ID) // claimed or cancelled in between
		case result.Err != nil:
			return nil, fmt.Errorf("take over scheduled agenda %q: %w", next[i].ID, result.Err)
		case next[i].State == model.Queued:
			d.engine.recent.put(next[i], result.Versions[0])
			renewed = append(renewed, next[i])
		default:
			d.log.Warn("agenda put back in line, its scheduler had lost the insight", "agenda", next[i].ID, "epoch", void[i].Epoch)
			d.engine.recent.put(next[i], result.Versions[0])
			d.observe(next[i])
		}
	}
	return renewed, nil
}

func (d *dispatcher) hasQueued(r *run) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	q, ok := d.queued[r.item().ID]
	return ok && q.hint.DispatchSeq == r.DispatchSeq
}

// forget drops a run that is not there any more.
func (d *dispatcher) forget(agendaID string) {
	r := run{AgendaProgress: model.AgendaProgress{Meta: model.Meta{ID: agendaID}}}
	id := r.item().ID
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.queued, id)
	delete(d.executing, id)
	delete(d.unsure, id)
	d.line.Finish(d.now(), id)
}

// steps remembers how far the runs had come that were told of last. It forgets in generations.
type steps struct {
	young, old map[scheduling.ID]int64
}

// take notes how far a run has come, and reports false if it was known to be further.
func (s *steps) take(id scheduling.ID, step int64) bool {
	known, ok := s.young[id]
	if !ok {
		known = s.old[id]
	}
	if step < known {
		return false
	}
	if s.young == nil || len(s.young) >= recentRuns {
		s.old, s.young = s.young, make(map[scheduling.ID]int64)
	}
	s.young[id] = step
	return true
}
