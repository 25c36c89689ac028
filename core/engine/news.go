package engine

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// news is what a server tells the owner of an insight, over a queue of its own: that it has changed something the owner should look
// at. It is a hint like any other. The owner reads the store, and what was lost is found by its next rescan.
type news struct {
	Agendas   []string `json:"agendas,omitempty"`   // their runs were changed
	Customers []string `json:"customers,omitempty"` // their limits were changed
	Insight   bool     `json:"insight,omitempty"`   // it was changed itself
	Pulled    bool     `json:"pulled,omitempty"`    // somebody has asked for agendas
}

// maxNews is how many agendas or customers a message names at most, so that it fits into the smallest one.
const maxNews = 64

// newsQueue is the queue for news of an insight. No insight can have it for its agendas, since their names do not begin with space.
func newsQueue(queueName string) string { return " news of " + queueName }

// pulledEvery is how often the owner of an insight is told that somebody asks for agendas.
const pulledEvery = pullerGone / 3

// newsroom holds the news that are to be sent.
type newsroom struct {
	mu      sync.Mutex
	pending map[string]news      // by insight; there is a sender for each that is in it
	pulled  map[string]time.Time // when it was last told
}

// inform sends news to the owner of an insight. What comes while others are sent goes out together.
func (e *Engine) inform(insightID string, n news) {
	room := &e.newsroom
	room.mu.Lock()
	defer room.mu.Unlock()
	if e.ctx.Err() != nil {
		return
	}
	if n.Pulled {
		if now := e.Now(); now.Sub(room.pulled[insightID]) < pulledEvery {
			return
		} else if room.pulled == nil {
			room.pulled = map[string]time.Time{insightID: now}
		} else {
			room.pulled[insightID] = now
		}
	}
	if room.pending == nil {
		room.pending = map[string]news{}
	}
	before, sending := room.pending[insightID]
	before.Agendas = append(before.Agendas, n.Agendas...)
	before.Customers = append(before.Customers, n.Customers...)
	before.Insight, before.Pulled = before.Insight || n.Insight, before.Pulled || n.Pulled
	room.pending[insightID] = before
	if !sending {
		e.running.Go(func() { e.sendNews(insightID) })
	}
}

// sendNews sends the news of an insight until there are no more.
func (e *Engine) sendNews(insightID string) {
	for room := &e.newsroom; ; {
		room.mu.Lock()
		n := room.pending[insightID]
		if len(n.Agendas)+len(n.Customers) == 0 && !n.Insight && !n.Pulled {
			delete(room.pending, insightID)
			room.mu.Unlock()
			return
		}
		room.pending[insightID] = news{}
		room.mu.Unlock()
		ctx, cancel := finish(e.ctx) // what has happened is told, even if the server stops
		err := e.publish(ctx, insightID, n)
		cancel()
		if err != nil {
			e.Logger.Warn("the owner of an insight was not told of changes, it finds them with its next rescan", "insight", insightID, "error", err)
		}
	}
}

func (e *Engine) publish(ctx context.Context, insightID string, n news) error {
	insight, err := e.catalog.Insights.Get(ctx, insightID)
	if model.KindOf(err) == model.NotFound {
		return nil // there is nothing to schedule
	}
	if err != nil {
		return err
	}
	name := newsQueue(insight.Object.QueueName)
	if err := e.ensure(ctx, name); err != nil {
		return err
	}
	var messages []driver.Message
	for first := true; first || len(n.Agendas)+len(n.Customers) > 0; first = false {
		part := news{Insight: n.Insight, Pulled: n.Pulled}
		part.Agendas, n.Agendas = n.Agendas[:min(maxNews, len(n.Agendas))], n.Agendas[min(maxNews, len(n.Agendas)):]
		if len(part.Agendas) == 0 { // ids of customers can be long
			part.Customers, n.Customers = n.Customers[:min(maxNews/8, len(n.Customers))], n.Customers[min(maxNews/8, len(n.Customers)):]
		}
		body, err := json.Marshal(part)
		if err != nil {
			return err
		}
		messages = append(messages, driver.Message{Body: body})
	}
	return e.queue.Send(ctx, name, messages)
}

// listen takes in news for as long as the insight is this server's.
func (d *dispatcher) listen(ctx context.Context) {
	for failing := false; ; {
		err := d.hear(ctx)
		if ctx.Err() != nil {
			return
		}
		before := failing
		switch failing = err != nil && model.KindOf(err) != model.NotFound; {
		case failing && !before:
			d.log.Warn("news of other servers not received, trying again", "error", err)
		case before && !failing:
			d.log.Info("news of other servers are received again")
		}
		if err == nil {
			continue
		}
		timer := time.NewTimer(d.engine.Sweep)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// hear takes in the news that there are, and waits if there are none.
func (d *dispatcher) hear(ctx context.Context) error {
	insight, err := d.engine.catalog.Insights.Get(ctx, d.insightID)
	if err != nil {
		return err
	}
	name := newsQueue(insight.Object.QueueName)
	if err := d.engine.ensure(ctx, name); err != nil {
		return err
	}
	deliveries, err := d.engine.queue.Receive(ctx, name, MaxBatch, MaxWait, hintLease)
	if err != nil || len(deliveries) == 0 {
		return err
	}
	if !d.mayAct() {
		return nil // they come again, for the next owner
	}
	receipts := make([]string, len(deliveries))
	var all news
	for i, delivery := range deliveries {
		receipts[i] = delivery.Receipt
		var n news
		if json.Unmarshal(delivery.Message.Body, &n) != nil {
			continue // not ours
		}
		all.Agendas, all.Customers = append(all.Agendas, n.Agendas...), append(all.Customers, n.Customers...)
		all.Insight, all.Pulled = all.Insight || n.Insight, all.Pulled || n.Pulled
	}
	d.takeIn(all)
	return d.engine.queue.Ack(ctx, name, receipts)
}

// takeIn acts upon news.
func (d *dispatcher) takeIn(n news) {
	if n.Pulled {
		d.noticePull()
	}
	if n.Insight {
		d.engine.catalog.Insights.Forget(d.insightID)
	}
	slices.Sort(n.Customers)
	for _, id := range slices.Compact(n.Customers) {
		d.engine.catalog.Customers.Forget(id)
		d.customerChanged(id)
	}
	d.recheck(n.Agendas...)
}

// tellOfCustomer tells the owners of insights on other servers that a customer's limits have changed.
func (e *Engine) tellOfCustomer(id string) {
	if e.owners == nil {
		return
	}
	customer, err := e.catalog.Customers.Get(e.ctx, id)
	if err != nil {
		return // it was deleted, or the owners find out with their next rescan
	}
	insights, err := e.catalog.InsightsOf(e.ctx, customer.Object.ResourcePoolID)
	if err != nil {
		return
	}
	for _, insight := range insights {
		if e.dispatcher(insight.ID) == nil {
			e.inform(insight.ID, news{Customers: []string{id}})
		}
	}
}
