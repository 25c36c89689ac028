package engine

import (
	"context"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
)

// Reasons of agendas that wait for something else than their turn.
const (
	reasonHeld       = "HELD"
	reasonNotClaimed = "NOT_CLAIMED"
	reasonNoPuller   = "NO_PULLER"
	reasonStarting   = "STARTING"
	reasonPaused     = "AGENDA_PAUSED"
	reasonBackoff    = "BACKOFF"
	reasonNoOwner    = "NO_OWNER"
)

// pullerGone is after how long without a pull an insight is said to have no puller.
const pullerGone = 2 * MaxWait

// Explain says why an agenda waits, in which place, and for how long.
func (e *Engine) Explain(ctx context.Context, id string) (model.Explanation, error) {
	r, err := e.readRun(ctx, id)
	if err != nil {
		return model.Explanation{}, err
	}
	d := e.dispatcher(r.AgendaInsight.InsightID)
	out := model.Explanation{AgendaID: id, InsightID: r.AgendaInsight.InsightID, State: r.State, Reasons: []model.WaitReason{}}
	switch {
	case r.State == model.Complete:
	case r.Pause != nil:
		out.Reasons = append(out.Reasons, r.paused())
	case r.State == model.Executing:
	case r.Held:
		// A drain holds nothing back that was accepted, but what is held must be accepted again.
		entry := e.mayEnter(ctx, r.run)
		if entry != nil && model.KindOf(entry) != model.Conflict {
			return out, entry
		}
		out.Reasons = append(out.Reasons, held(entry))
	case d == nil:
		err := e.elsewhere(ctx, out.InsightID)
		if model.KindOf(err) != model.Unavailable {
			return out, err
		}
		out.Reasons = append(out.Reasons, model.WaitReason{Code: reasonNoOwner, Remedy: err.Error()})
	case r.State == model.Queued:
		out.Reasons = append(out.Reasons, d.unclaimed())
	default:
		d.explain(r.run, &out)
	}
	return out, nil
}

// paused says why nothing of a paused run is started.
func (r *run) paused() model.WaitReason {
	why := model.WaitReason{Code: reasonPaused, Until: r.Pause.Until, Remedy: pausedMessage(*r.Pause) + "; resume it to go on"}
	if r.State == model.Executing {
		why.Remedy = pausedMessage(*r.Pause) + "; what runs of it is left to end; resume it to go on"
	}
	return why
}

// held says why a run is held, and what keeps it from being run again, if anything does.
func held(entry error) model.WaitReason {
	why := model.WaitReason{Code: reasonHeld, Remedy: "it was stored with doNotRun, or reset without execution; run it again, or submit it without doNotRun"}
	if entry != nil {
		why.Remedy += "; not now, as " + entry.Error()
	}
	return why
}

// unclaimed says why an agenda that is on the queue is not claimed.
func (d *dispatcher) unclaimed() model.WaitReason {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, queued := d.line.InFlight()
	if d.engine.Now().Sub(d.pulled) > pullerGone {
		return model.WaitReason{Code: reasonNoPuller, Count: queued, Remedy: "nobody has pulled for this insight for a minute; start a puller for it"}
	}
	return model.WaitReason{Code: reasonNotClaimed, Count: queued, Remedy: "the next puller with a free slot takes it; add slots or pullers if that takes long"}
}

// explain adds why a run waits in line.
func (d *dispatcher) explain(r *run, out *model.Explanation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	why, ok := d.line.Explain(d.now(), r.CustomerID, r.item())
	if !ok { // it was accepted a moment ago, or is being scheduled
		out.Reasons = append(out.Reasons, model.WaitReason{Code: reasonStarting, Remedy: "the scheduler takes it in; ask again in a second"})
		return
	}
	out.Ahead, out.Exact = why.Ahead, why.Exact
	out.LowSeconds, out.HighSeconds = why.Low.Seconds(), why.High.Seconds()
	for _, c := range why.Causes {
		reason := model.WaitReason{
			Code: c.Reason.String(), Count: c.Count, Limit: c.Limit, Customers: c.Customers, Until: timeOf(c.Until), Remedy: c.Remedy,
		}
		switch {
		case c.Reason != scheduling.NotBefore:
		case r.Ending != "":
			reason.Code, reason.Remedy = reasonBackoff, "its executor was given time to stop; then what runs at the end is run"
		case r.AttemptsCompleted > 0:
			reason.Code, reason.Remedy = reasonBackoff, "its last attempt failed, and the next one is made then; see its backoff"
		}
		out.Reasons = append(out.Reasons, reason)
	}
}

// Preview returns what an insight schedules next, or would after a change. Nothing is scheduled by it.
func (e *Engine) Preview(ctx context.Context, insightID string, req model.PreviewRequest) (model.Preview, error) {
	insight, err := e.catalog.Insights.Get(ctx, insightID)
	if err != nil {
		return model.Preview{}, err
	}
	changed := insight.Object
	if req.Algorithm != "" {
		changed.SchedulingAlgorithm = req.Algorithm
	}
	changed.Pause = nil
	if issues := changed.Validate(); len(issues) > 0 {
		return model.Preview{}, &model.Error{Kind: model.Invalid, Detail: "preview", Issues: issues}
	}
	settings := SettingsOf(&changed)
	change := scheduling.Change{Settings: &settings, Policies: map[string]scheduling.Policy{}}
	for id, limits := range req.Customers {
		customer, err := e.catalog.Customers.Get(ctx, id)
		if err != nil {
			return model.Preview{}, err
		}
		customer.Object.Limits = limits
		if issues := customer.Object.Validate(); len(issues) > 0 {
			for i := range issues {
				issues[i].Path = "customers." + id + "." + issues[i].Path
			}
			return model.Preview{}, &model.Error{Kind: model.Invalid, Detail: "preview", Issues: issues}
		}
		change.Policies[id] = PolicyOf(&customer.Object)
	}
	count := req.Count
	if count == 0 {
		count = 20
	}
	d := e.dispatcher(insightID)
	if d == nil {
		return model.Preview{}, e.elsewhere(ctx, insightID)
	}
	d.mu.Lock()
	picks := d.line.Preview(d.now(), min(count, 1000), change)
	d.mu.Unlock()
	out := model.Preview{InsightID: insightID, Agendas: make([]model.PreviewItem, len(picks))}
	for i, p := range picks {
		out.Agendas[i] = model.PreviewItem{AgendaID: agendaID(p.Item.ID), CustomerID: p.Customer}
	}
	return out, nil
}

// Fairness measures an insight. It lists the busiest customers up to a number.
func (e *Engine) Fairness(ctx context.Context, insightID string, busiest int) (model.Fairness, error) {
	insight, err := e.catalog.Insights.Get(ctx, insightID)
	if err != nil {
		return model.Fairness{}, err
	}
	d := e.dispatcher(insightID)
	if d == nil {
		return model.Fairness{}, e.elsewhere(ctx, insightID)
	}
	d.mu.Lock()
	c := d.line.Certificate(d.now(), busiest)
	d.mu.Unlock()
	out := model.Fairness{
		InsightID: insightID, Server: e.Server, Epoch: d.epoch, Algorithm: insight.Object.SchedulingAlgorithm, Since: timeOf(c.Since),
		Lag: c.Lag, Bound: c.Bound, Holds: c.Holds, Newcomer: c.Newcomer, Queue: c.Queue, Jain: c.Jain, JainOver: c.JainServices,
		Customers: c.Customers, Active: c.Active, Parked: c.Parked, Waiting: c.Waiting, Queued: c.Queued, InFlight: c.InFlight,
		Scheduled: c.Served, Busiest: make([]model.CustomerService, len(c.Top)), Others: serviceOf(c.Other),
	}
	for i, s := range c.Top {
		out.Busiest[i] = serviceOf(s)
	}
	return out, nil
}

func serviceOf(s scheduling.Service) model.CustomerService {
	out := model.CustomerService{
		CustomerID: s.Name, Weight: s.Policy.Weight, Scheduled: s.Served, Cost: s.Cost, Waiting: s.Ready + s.Later, InFlight: s.InFlight,
		Held: s.Held.String(), HeldUntil: timeOf(s.Until), DwellP50: s.P50.Seconds(), DwellP99: s.P99.Seconds(), Lag: s.Lag, Bound: s.Bound,
	}
	for reason, t := range s.Parked {
		if out.ParkedSeconds == nil {
			out.ParkedSeconds = map[string]float64{}
		}
		out.ParkedSeconds[reason.String()] = t.Seconds()
	}
	return out
}

// timeOf is the time of the planner as the API shows it; zero for none.
func timeOf(nanos int64) time.Time {
	if nanos <= 0 || nanos == scheduling.Forever {
		return time.Time{}
	}
	return time.Unix(0, nanos).UTC()
}
