package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// errRefused is why a run is stopped whose report the server does not accept.
var errRefused = errors.New("the server refused the agenda's report")

// sendAll sends what is queued until ctx is done.
func (p *reporter) sendAll(ctx context.Context) {
	failures := 0
	for {
		runs, reports := p.take()
		if len(runs) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-p.wake:
				continue
			}
		}
		err := p.send(ctx, runs, reports)
		if err == nil {
			failures = 0
			continue
		}
		failures++
		p.log.Warn("reports not delivered, will be sent again", "reports", len(reports), "failures", failures, "error", err)
		err = sleep(ctx, backoff(failures))
		p.again(runs, reports)
		if err != nil {
			return
		}
	}
}

// take returns the next runs to report, and what to report of them.
func (p *reporter) take() (runs []*run, reports []model.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken, size := 0, 0
	for _, r := range p.queue {
		if len(runs) == maxReports || size >= maxReportBytes || r.alone && len(runs) > 0 {
			break
		}
		taken++
		if r.settled {
			r.place = nowhere
			continue
		}
		r.place = inFlight
		report := r.report()
		for i := range report.Operations {
			size += sizeOf(&report.Operations[i])
		}
		runs, reports = append(runs, r), append(reports, report)
		if r.alone {
			break
		}
	}
	p.queue = slices.Delete(p.queue, 0, taken)
	if len(p.queue) > 0 {
		signal(p.wake)
	}
	return runs, reports
}

// sizeOf is about how many bytes there are in what an operation has left.
func sizeOf(op *model.OperationProgress) int {
	size := len(op.ResultPayload)
	for i := range op.Generated {
		size += len(op.Generated[i].Name) + len(op.Generated[i].Payload) + 100
	}
	return size
}

// send makes one call and acts upon the answer. After an error, the runs that are still in flight are to be reported again.
func (p *reporter) send(ctx context.Context, runs []*run, reports []model.Report) error {
	callCtx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	results, err := p.api.Report(callCtx, reports)
	if err == nil && len(results) != len(reports) {
		err = fmt.Errorf("%d results for %d reports", len(results), len(reports))
	}
	if refuses(err) {
		if len(runs) == 1 {
			var answer *model.Error
			errors.As(err, &answer)
			results, err = []model.ReportResult{{Err: answer}}, nil
		} else { // one bad report must not hold the others up
			for _, r := range runs {
				r.alone = true
			}
			p.again(runs, reports)
			return nil
		}
	}
	if err != nil {
		return err
	}

	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range runs {
		switch answer := results[i].Err; {
		case answer == nil:
			p.accepted(r, reports[i], now)
			if results[i].Paused {
				r.pause()
			}
		case answer.Kind == model.Fenced || answer.Kind == model.NotFound:
			p.log.Info("lease lost, agenda stopped", "agenda", r.AgendaID, "fence", r.Fence, "answer", answer)
			p.settle(r)
			r.cancel(ErrRevoked)
		case refuses(answer):
			p.refused(r, answer)
		default:
			err = fmt.Errorf("agenda %s: %w", r.AgendaID, answer)
			continue // in flight
		}
		r.place = nowhere
		p.schedule(r)
	}
	return err
}

// again queues the runs that are still in flight.
func (p *reporter) again(runs []*run, reports []model.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range runs {
		if r.place == inFlight {
			r.unreport(reports[i])
			r.place = nowhere
			p.schedule(r)
		}
	}
}

func (p *reporter) accepted(r *run, report model.Report, now time.Time) {
	r.notBefore = now.Add(max(progressTime, time.Duration(p.progressEvery.Load())))
	r.accept(report)
	if report.State != model.Executing {
		p.settle(r)
	}
	if r.answered() {
		delete(p.pending, r)
	}
}

// refused ends a run whose report the server does not accept, with a report that only says so.
func (p *reporter) refused(r *run, answer *model.Error) {
	if r.refused {
		p.log.Error("final report refused twice, given up", "agenda", r.AgendaID, "fence", r.Fence, "answer", answer)
		p.settle(r)
		return
	}
	p.log.Error("report refused, agenda fails", "agenda", r.AgendaID, "fence", r.Fence, "answer", answer)
	r.refused = true
	event := model.DiagnosticEvent{Time: time.Now(), Message: errRefused.Error() + ": " + answer.Error(), StatusCode: model.StatusNonRetryable}
	status := model.Status{
		State: model.Complete, Outcome: model.Failed, Message: event.Message, CompletedTime: event.Time,
		DiagnosticEvents: []model.DiagnosticEvent{event},
	}
	if r.over() {
		r.status, r.changed = status, true
		r.changes++
		return
	}
	p.end(r, status)
	r.cancel(errRefused)
}

// refuses reports whether the server will answer the same again and again.
func refuses(err error) bool {
	kind := model.KindOf(err)
	return kind == model.Invalid || kind == model.Malformed || kind == model.TooLarge
}
