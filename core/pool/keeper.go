package pool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// keepAfter is how long the server may take to take in the end of an operation before it is written to disk. A server that is there
// takes a few milliseconds, so that the disk is touched only while it is away.
const keepAfter = 500 * time.Millisecond

// keeper writes to the spool what has ended and the server has not taken in.
type keeper struct {
	reporter *reporter
	spool    *spool
	files    map[*run]kept
	failing  bool
}

// kept is what the spool holds of a run.
type kept struct {
	file    string
	changes int // of the run when it was written
}

// run keeps until ctx is done.
func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			k.pass(time.Now()) // what was taken in since the last one need not be kept
			return
		case <-k.reporter.keepOn:
		}
		for k.pass(time.Now()) && sleep(ctx, keepAfter/2) == nil {
		}
	}
}

// pass brings the spool up to date and reports whether there is something that the server has not taken in.
func (k *keeper) pass(now time.Time) bool {
	type due struct {
		run     *run
		report  model.Report
		changes int
	}
	k.reporter.mu.Lock()
	var keep []due
	var done []*run
	for r := range k.files {
		if r.settled || !k.reporter.pending[r] {
			done = append(done, r)
		}
	}
	for r := range k.reporter.pending {
		if now.Sub(r.pendingSince) >= keepAfter && k.files[r].changes != r.changes {
			keep = append(keep, due{r, r.unknown(), r.changes})
		}
	}
	more := len(k.reporter.pending) > 0
	k.reporter.mu.Unlock()

	var err error
	for _, r := range done {
		err = errors.Join(err, k.spool.remove(k.files[r].file))
		delete(k.files, r)
	}
	slices.SortFunc(keep, func(a, b due) int { return a.run.pendingSince.Compare(b.run.pendingSince) })
	for _, d := range keep {
		file := k.files[d.run].file
		if file == "" {
			file = k.spool.newName()
		}
		if put := k.spool.put(file, &d.report); put != nil {
			err = errors.Join(err, fmt.Errorf("agenda %s: %w", d.run.AgendaID, put))
			continue
		}
		k.files[d.run] = kept{file, d.changes}
	}
	switch {
	case err != nil && !k.failing:
		k.reporter.log.Error("results that the server has not taken in are kept in memory only", "error", err)
	case len(keep) > 0 && err == nil && k.failing:
		k.reporter.log.Info("results that the server has not taken in are kept on disk again")
	}
	if len(keep) > 0 || err != nil {
		k.failing = err != nil
	}
	return more
}

// deliverLeft reports what an earlier puller of the name has left in the spool: operations that had ended when it was killed. The
// server takes it in if nobody else was given the agenda since. It must be done before a session of the name is opened, for that
// is when the agendas are given away.
func (p *Puller) deliverLeft(ctx context.Context) error {
	if p.keeper == nil {
		return nil
	}
	names, err := p.keeper.spool.names()
	if err != nil {
		p.cfg.Log.Error("what an earlier puller has left is not delivered", "error", err)
		return nil
	}
	left := map[string]model.Report{}
	for _, name := range names {
		report, err := p.keeper.spool.get(name)
		if err != nil {
			p.cfg.Log.Error("a report that an earlier puller has left cannot be read and is dropped", "error", err)
			p.forget(name)
			continue
		}
		left[name] = report
	}
	for failures := 0; len(left) > 0; {
		if err := p.deliver(ctx, left); err == nil {
			continue
		} else if ctx.Err() == nil {
			failures++
			p.cfg.Log.Warn("what an earlier puller has left is not delivered yet", "reports", len(left), "failures", failures, "error", err)
		}
		if err := sleep(ctx, backoff(max(failures, 1))); err != nil {
			return err
		}
	}
	return nil
}

// deliver makes one call with the first of the reports that are left, and takes out what has been answered.
func (p *Puller) deliver(ctx context.Context, left map[string]model.Report) error {
	var names []string
	var reports []model.Report
	size := 0
	for _, name := range slices.Sorted(maps.Keys(left)) {
		if len(reports) == maxReports || size >= maxReportBytes {
			break
		}
		names, reports = append(names, name), append(reports, left[name])
		size += int(p.keeper.spool.sizes[name])
	}
	callCtx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	results, err := p.cfg.API.Report(callCtx, reports)
	if refuses(err) && len(reports) > 1 { // find out which one it is
		names, reports = names[:1], reports[:1]
		results, err = p.cfg.API.Report(callCtx, reports)
	}
	if refuses(err) {
		results = make([]model.ReportResult, 1)
		errors.As(err, &results[0].Err)
		err = nil
	}
	if err == nil && len(results) != len(reports) {
		err = fmt.Errorf("%d results for %d reports", len(results), len(reports))
	}
	if err != nil {
		return err
	}
	for i, result := range results {
		log := p.cfg.Log.With("agenda", reports[i].AgendaID, "fence", reports[i].Fence)
		switch answer := result.Err; {
		case answer == nil:
			log.Info("results that an earlier puller has left are delivered")
		case answer.Kind == model.Fenced || answer.Kind == model.NotFound:
			log.Warn("results that an earlier puller has left come too late, others have the agenda", "answer", answer)
		case refuses(answer):
			log.Error("results that an earlier puller has left are refused", "answer", answer)
		default:
			err = fmt.Errorf("agenda %s: %w", reports[i].AgendaID, answer)
			continue
		}
		p.forget(names[i])
		delete(left, names[i])
	}
	return err
}

func (p *Puller) forget(name string) {
	if err := p.keeper.spool.remove(name); err != nil {
		p.cfg.Log.Warn("a report that an earlier puller has left is not removed, it will be delivered again", "error", err)
	}
}
