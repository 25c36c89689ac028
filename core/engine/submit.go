package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// idempotencySpace makes agenda ids that follow from a customer and an idempotency key differ from any other hash.
var idempotencySpace = uuid.MustParse("6f7bd1ea-3a43-4d0c-8b33-5f0b7a3c9e51")

// maxIdempotencyKey bounds an idempotency key, in bytes.
const maxIdempotencyKey = 200

// acceptance is a submission on its way into the store.
type acceptance struct {
	index  int // in the batch
	agenda model.Agenda
	run    *run
	body   driver.Record
	rec    driver.Record
	err    error
}

// Submit accepts agendas, each wholly or not at all: an agenda whose answer has no error is stored and will be scheduled. The
// answers are in the order of the submissions.
func (e *Engine) Submit(ctx context.Context, submissions []Submission) []Submitted {
	ctx, cancel := finish(ctx)
	defer cancel()
	answers := make([]Submitted, len(submissions))
	accepted := make([]*acceptance, 0, len(submissions))
	ids := make(map[string]bool, len(submissions))
	for i, s := range submissions {
		a, err := e.prepare(ctx, s)
		switch {
		case err != nil:
			answers[i].Err = err
		case ids[a.run.ID]:
			answers[i].Err = model.Errorf(model.Conflict, "the idempotency key %q is used twice in one batch", s.IdempotencyKey)
		default:
			ids[a.run.ID] = true
			a.index = i
			answers[i].Agenda = a.agenda
			accepted = append(accepted, a)
		}
	}
	e.accept(ctx, accepted)
	// The store may have ended a write half-way, as when a plugin's process dies. It is safe to write once more: a run that is there
	// already shows as a conflict.
	e.accept(ctx, lost(accepted))
	for _, a := range accepted {
		answer := &answers[a.index]
		if driver.IsConflict(a.err) {
			*answer = e.replay(ctx, a)
			continue
		}
		if a.err != nil {
			*answer = Submitted{Err: fmt.Errorf("submit agenda: %w", a.err)}
			continue
		}
		answer.Progress = a.run.AgendaProgress
	}
	return answers
}

// prepare validates a submission, binds it to an insight and makes its records. It writes nothing.
func (e *Engine) prepare(ctx context.Context, s Submission) (*acceptance, error) {
	agenda := s.Agenda.WithDefaults()
	if issues := agenda.Validate(); len(issues) > 0 {
		return nil, &model.Error{Kind: model.Invalid, Detail: "the agenda is not valid", Issues: issues}
	}
	if err := validateIdempotencyKey(s.IdempotencyKey); err != nil {
		return nil, err
	}
	insight, customer, err := e.bind(ctx, &agenda)
	if err != nil {
		return nil, err
	}

	now := e.Now().UTC()
	bodySort := soleSort
	agenda.ID = e.NewID().String()
	if s.IdempotencyKey != "" {
		// The body's key tells agendas apart that were submitted with the same idempotency key: the run, which exists once, names
		// the one that was accepted.
		agenda.ID = uuid.NewHash(sha256.New(), idempotencySpace, []byte(agenda.CustomerID+"\x00"+s.IdempotencyKey), 8).String()
		if bodySort, err = fingerprint(s.Agenda); err != nil {
			return nil, err
		}
	}
	if err := drained(now, customer, insight); err != nil {
		// What was accepted before is answered for all the same.
		if _, known := e.readRun(ctx, agenda.ID); s.IdempotencyKey == "" || known != nil {
			return nil, err
		}
	}
	if agenda.CID == "" {
		agenda.CID = agenda.ID
	}
	agenda.AddedTime, agenda.UpdatedTime = now, now
	agenda.AgendaInsight = &model.AgendaInsight{ResourcePoolID: insight.ResourcePoolID, InsightID: insight.ID}

	a := &acceptance{agenda: agenda, run: newRun(&agenda, bodySort, now)}
	body, err := json.Marshal(agenda)
	if err != nil {
		return nil, fmt.Errorf("encode agenda: %w", err)
	}
	if limit := e.store.Capabilities().MaxRecordBytes; len(body) > limit {
		return nil, model.Errorf(model.TooLarge, "the agenda is %d bytes, the store takes at most %d; pass large data by reference", len(body), limit)
	}
	a.body = driver.Record{Key: bodyKey(agenda.ID, bodySort), Body: body}
	a.rec, err = a.run.record()
	return a, err
}

func newRun(a *model.Agenda, bodySort string, now time.Time) *run {
	ready, held := now, a.Params.Has(model.ParamDoNotRun)
	if a.NotBefore.After(now) {
		ready = a.NotBefore
	}
	r := &run{
		Body: bodySort, Held: held, DoNotRun: held, Ready: ready.UnixNano(), Priority: int8(a.Priority),
		OperationCount: len(a.Operations), Backoff: a.Backoff, Finale: slices.ContainsFunc(a.Operations, runsAtTheEnd),
	}
	r.Meta = a.Meta
	r.AgendaID = a.ID
	r.ExternalID = a.Params.Text(model.ParamExternalID)
	r.AgendaInsight = *a.AgendaInsight
	r.MaximumAttempts = a.MaximumAttempts
	r.State = model.Waiting
	r.Message = "pending"
	if held {
		r.Message = heldMessage
	}
	return r
}

func runsAtTheEnd(op model.Operation) bool { return op.When.AtTheEnd() }

func validateIdempotencyKey(key string) error {
	if len(key) > maxIdempotencyKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' }) {
		return &model.Error{Kind: model.Invalid, Detail: "the idempotency key is not valid", Issues: []model.Issue{
			{Path: "Idempotency-Key", Message: fmt.Sprintf("must be at most %d bytes without control characters", maxIdempotencyKey)},
		}}
	}
	return nil
}

// fingerprint identifies what a client submitted.
func fingerprint(agenda model.Agenda) (string, error) {
	sent, err := json.Marshal(agenda)
	if err != nil {
		return "", fmt.Errorf("encode agenda: %w", err)
	}
	sum := sha256.Sum256(sent)
	return hex.EncodeToString(sum[:16]), nil
}

// bind finds the insight that an agenda belongs to, and its customer.
func (e *Engine) bind(ctx context.Context, agenda *model.Agenda) (*model.Insight, *model.Customer, error) {
	invalid := func(path, format string, args ...any) error {
		return &model.Error{Kind: model.Invalid, Detail: "the agenda cannot be accepted", Issues: []model.Issue{
			{Path: path, Message: fmt.Sprintf(format, args...)},
		}}
	}
	customer, err := e.catalog.Customers.Get(ctx, agenda.CustomerID)
	if model.KindOf(err) == model.NotFound {
		return nil, nil, invalid("customerId", "there is no customer %q; create it first", agenda.CustomerID)
	}
	if err != nil {
		return nil, nil, err
	}
	pool := customer.Object.ResourcePoolID
	if pool == "" {
		return nil, nil, invalid("customerId", "customer %q has no resource pool; set its resourcePoolId", agenda.CustomerID)
	}
	insights, err := e.catalog.InsightsOf(ctx, pool)
	if err != nil {
		return nil, nil, err
	}
	insight, ok := model.SelectInsight(agenda, insights)
	if !ok {
		return nil, nil, invalid("operations", "no insight of resource pool %q matches: %s", pool, model.ExplainNoInsight(agenda, insights))
	}
	return insight, &customer.Object, nil
}

// accept writes agendas. The run comes last or together with the rest: it is what makes an agenda accepted.
func (e *Engine) accept(ctx context.Context, batch []*acceptance) {
	if len(batch) == 0 {
		return
	}
	bodies, runs := make([]driver.Group, len(batch)), make([]driver.Group, len(batch))
	for i, a := range batch {
		bodies[i] = driver.Group{{Type: driver.Put, Record: a.body}}
		runs[i] = driver.Group{{Type: driver.Put, Record: a.rec, Cond: driver.IfAbsent}}
	}
	caps := e.store.Capabilities()
	if caps.CheapGroups && caps.MaxGroupOps >= 2 {
		for i := range runs {
			runs[i] = append(runs[i], bodies[i]...)
		}
	} else if err := firstError(e.store.Write(ctx, bodies...)); err != nil {
		for _, a := range batch {
			a.err = err
		}
		return
	}
	results, err := e.store.Write(ctx, runs...)
	for i, a := range batch {
		if a.err = err; err == nil {
			a.err = results[i].Err
		}
		switch {
		case a.err == nil:
			e.observe(a.run, results[i].Versions[0])
		case !driver.IsConflict(a.err):
			// It may have been accepted all the same.
			e.recheck(a.run.AgendaInsight.InsightID, a.run.ID)
		}
	}
}

// lost returns those of which nobody knows whether they were written.
func lost(batch []*acceptance) (again []*acceptance) {
	for _, a := range batch {
		if a.err != nil && driver.OutcomeOf(a.err) == driver.Unknown {
			again = append(again, a)
		}
	}
	return again
}

func firstError(results []driver.WriteResult, err error) error {
	for _, r := range results {
		if err == nil {
			err = r.Err
		}
	}
	return err
}

// replay answers a submission whose idempotency key was used before.
func (e *Engine) replay(ctx context.Context, a *acceptance) Submitted {
	before, err := e.readRun(ctx, a.run.ID)
	if err != nil {
		return Submitted{Err: err}
	}
	if before.Body != a.run.Body {
		return Submitted{Err: model.Errorf(model.Conflict, "the idempotency key was used before for another agenda, %q", before.ID)}
	}
	agenda, err := e.Agenda(ctx, before.ID)
	progress := before.AgendaProgress
	progress.Operations = nil        // as in the answer to the first submission
	keyed := before.Body != soleSort // otherwise this very submission was accepted, and the answer to the write was lost
	return Submitted{Agenda: agenda, Progress: progress, Replayed: keyed, Err: err}
}
