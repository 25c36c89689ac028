package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// drained returns why a customer's agendas, or those of an insight, are not accepted; nil if they are.
func drained(now time.Time, customer *model.Customer, insight *model.Insight) error {
	if d := customer.Drain; d.Holds(now) {
		return refusedBy("customer", customer.ID, d)
	}
	if d := insight.Drain; d.Holds(now) {
		return refusedBy("insight", insight.ID, d)
	}
	return nil
}

func refusedBy(noun, id string, d *model.Pause) error {
	text := fmt.Sprintf("%s %q takes no agendas: it was drained by %s", noun, id, d.By)
	if d.Reason != "" {
		text += " (" + d.Reason + ")"
	}
	if d.Until.IsZero() {
		return model.Errorf(model.Conflict, "%s; ask them, or try again once it is resumed", text)
	}
	return model.Errorf(model.Conflict, "%s; try again after %s", text, d.Until.UTC().Format(time.RFC3339))
}

// mayEnter refuses to run an agenda once more that would not be accepted now. What was deleted since refuses nothing.
func (e *Engine) mayEnter(ctx context.Context, r *run) error {
	customer, err := e.catalog.Customers.Get(ctx, r.CustomerID)
	if err != nil && model.KindOf(err) != model.NotFound {
		return err
	}
	insight, err := e.catalog.Insights.Get(ctx, r.AgendaInsight.InsightID)
	if err != nil && model.KindOf(err) != model.NotFound {
		return err
	}
	return drained(e.Now(), &customer.Object, &insight.Object)
}
