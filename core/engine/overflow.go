package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// A run is written anew with each report. So that this does not cost more and more in an agenda of thousands of operations, and
// that its record stays small enough for any store, the progress of operations that have ended is moved out of a run that has
// grown large, into records that never change. They are named by the run, which stays the authority: what no run names is garbage.

const (
	// spillBytes is how large the record of a run may be before the progress of ended operations is moved out of it.
	spillBytes = 64 << 10
	// MaxProgressBytes bounds the progress of an agenda, with all results and all that was generated.
	MaxProgressBytes = 32 << 20
)

// overflow is where the progress of operations is kept that is not in the run itself.
type overflow struct {
	Keys      []string `json:"keys,omitempty"` // sort keys of the records, the oldest first
	Succeeded int      `json:"succeeded,omitempty"`
	Bytes     int      `json:"bytes,omitempty"`
	Used      bool     `json:"used,omitempty"` // there may be records, though they are not named any more
}

func overflowKey(agendaID, sort string) driver.Key {
	return driver.Key{Kind: kindOverflow, Part: agendaID, Sort: sort}
}

// spill moves the progress of ended operations out of a run, into records of at most about a number of bytes.
func (r *run) spill(newID func() string, most int) ([]driver.Record, error) {
	var records []driver.Record
	var page []json.RawMessage
	size := 0
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		body, err := json.Marshal(page)
		if err != nil {
			return fmt.Errorf("encode progress of agenda %s: %w", r.ID, err)
		}
		key := overflowKey(r.ID, newID())
		records = append(records, driver.Record{Key: key, Body: body})
		r.Overflow.Keys = append(slices.Clip(r.Overflow.Keys), key.Sort)
		r.Overflow.Bytes += len(body)
		page, size = nil, 0
		return nil
	}
	var stay []model.OperationProgress
	for _, op := range r.Operations {
		if op.State != model.Complete {
			stay = append(stay, op)
			continue
		}
		encoded, err := json.Marshal(op)
		if err != nil {
			return nil, fmt.Errorf("encode progress of operation %q of agenda %s: %w", op.Operation, r.ID, err)
		}
		if size+len(encoded) > most {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		page, size = append(page, encoded), size+len(encoded)
		if op.Outcome == model.Succeeded {
			r.Overflow.Succeeded++
		}
	}
	r.Operations = stay
	r.Overflow.Used = true
	return records, flush()
}

// fit returns the operation that replaces a run by the one after it. If that has grown large it first moves progress out of it.
func (e *Engine) fit(ctx context.Context, before stored, next *run) (driver.Op, error) {
	limit := e.store.Capabilities().MaxRecordBytes
	op, err := before.put(next)
	if err == nil && len(op.Record.Body) > min(spillBytes, limit/2) && slices.ContainsFunc(next.Operations, ended) {
		if op, err = e.spill(ctx, before, next, min(4*spillBytes, limit*3/4)); err != nil {
			return op, err
		}
	}
	if err == nil && (len(op.Record.Body) > limit || next.Overflow.Bytes+len(op.Record.Body) > MaxProgressBytes) {
		return op, model.Errorf(model.TooLarge, "the progress of agenda %q is %d bytes, more than can be kept; pass large results by reference",
			next.ID, next.Overflow.Bytes+len(op.Record.Body))
	}
	return op, err
}

func ended(op model.OperationProgress) bool { return op.State == model.Complete }

func (e *Engine) spill(ctx context.Context, before stored, next *run, most int) (driver.Op, error) {
	records, err := next.spill(func() string { return e.NewID().String() }, most)
	if err != nil {
		return driver.Op{}, err
	}
	groups := make([]driver.Group, len(records))
	for i, rec := range records {
		if limit := e.store.Capabilities().MaxRecordBytes; len(rec.Body) > limit {
			return driver.Op{}, model.Errorf(model.TooLarge, "the progress of an operation of agenda %q is %d bytes, the store takes at most %d; pass large results by reference",
				next.ID, len(rec.Body), limit)
		}
		groups[i] = driver.Group{{Type: driver.Put, Record: rec}}
	}
	if next.Overflow.Bytes <= MaxProgressBytes { // else it is refused
		if err := firstError(e.store.Write(ctx, groups...)); err != nil {
			return driver.Op{}, fmt.Errorf("move progress out of agenda %q: %w", next.ID, err)
		}
	}
	return before.put(next)
}

// operationsOf returns the progress of all operations of a run that have begun, each once.
func (e *Engine) operationsOf(ctx context.Context, r *run) ([]model.OperationProgress, error) {
	if len(r.Overflow.Keys) == 0 {
		return r.Operations, nil
	}
	pages, err := e.readOverflow(ctx, r.ID, r.Overflow.Keys)
	if err != nil {
		return nil, err
	}
	at := map[string]int{}
	var all []model.OperationProgress
	for _, page := range append(pages, r.Operations) {
		for _, op := range page {
			if i, ok := at[op.Operation]; ok {
				all[i] = op
			} else {
				at[op.Operation] = len(all)
				all = append(all, op)
			}
		}
	}
	return all, nil
}

func (e *Engine) readOverflow(ctx context.Context, agendaID string, sorts []string) ([][]model.OperationProgress, error) {
	keys := make([]driver.Key, len(sorts))
	for i, sort := range sorts {
		keys[i] = overflowKey(agendaID, sort)
	}
	records, err := e.store.Get(ctx, keys...)
	if err != nil {
		return nil, fmt.Errorf("read progress of agenda %q: %w", agendaID, err)
	}
	pages := make([][]model.OperationProgress, len(records))
	for i, rec := range records {
		if rec == nil { // the agenda was run again, or deleted, since its run was read
			return nil, model.Errorf(model.Conflict, "agenda %q was changed at the same time; try again", agendaID)
		}
		if err := json.Unmarshal(rec.Body, &pages[i]); err != nil {
			return nil, driver.Errorf(driver.Corrupt, "engine", "progress of agenda %q: %w", agendaID, err)
		}
	}
	return pages, nil
}

// settled returns what tells whether an operation outside of the run has succeeded; nil if there are none.
func (e *Engine) settled(ctx context.Context, r *run) (func(operation string) bool, error) {
	if len(r.Overflow.Keys) == 0 {
		return nil, nil
	}
	pages := make([]map[string]bool, len(r.Overflow.Keys))
	var missing []string
	for i, key := range r.Overflow.Keys {
		if pages[i] = e.pages.get(key); pages[i] == nil {
			missing = append(missing, key)
		}
	}
	read, err := e.readOverflow(ctx, r.ID, missing)
	if err != nil {
		return nil, err
	}
	for i, key := range missing {
		names := make(map[string]bool, len(read[i]))
		for _, op := range read[i] {
			if op.Outcome == model.Succeeded {
				names[op.Operation] = true
			}
		}
		e.pages.put(key, names)
		pages[slices.Index(r.Overflow.Keys, key)] = names
	}
	return func(operation string) bool {
		return slices.ContainsFunc(pages, func(page map[string]bool) bool { return page[operation] })
	}, nil
}

// dropOverflow deletes records that no run names any more. What is left over does no harm but take room.
func (e *Engine) dropOverflow(ctx context.Context, agendaID string, sorts []string) {
	if len(sorts) == 0 {
		return
	}
	groups := make([]driver.Group, len(sorts))
	for i, sort := range sorts {
		groups[i] = driver.Group{{Type: driver.Delete, Record: driver.Record{Key: overflowKey(agendaID, sort)}}}
	}
	if err := firstError(e.store.Write(ctx, groups...)); err != nil {
		e.Logger.Warn("progress that is not needed any more was not deleted", "agenda", agendaID, "error", err)
	}
}

// pageNames remembers which operations have succeeded according to records of [kindOverflow], which never change. It forgets in
// generations.
type pageNames struct {
	mu         sync.Mutex
	young, old map[string]map[string]bool // by sort key
}

// maxPages bounds half of what [pageNames] holds.
const maxPages = 1024

func (c *pageNames) get(key string) map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if names, ok := c.young[key]; ok {
		return names
	}
	names, ok := c.old[key]
	if ok {
		c.keep(key, names)
	}
	return names
}

func (c *pageNames) put(key string, names map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(key, names)
}

func (c *pageNames) keep(key string, names map[string]bool) {
	if c.young == nil || len(c.young) >= maxPages {
		c.old, c.young = c.young, make(map[string]map[string]bool, maxPages)
	}
	c.young[key] = names
}
