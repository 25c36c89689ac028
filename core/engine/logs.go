package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

const (
	// DefaultKeepLogs is how long what operations printed is kept.
	DefaultKeepLogs = 7 * 24 * time.Hour

	maxLogItems = 1000
	maxLogPage  = 1 << 20 // of text, more or less
	maxLogName  = 1 << 10
)

// A log record holds a chunk: Part is the agenda's id, Sort the fence and the chunk's number, so that they are read in order.
func logKey(agendaID string, fence, seq int64) driver.Key {
	return driver.Key{Kind: kindLog, Part: agendaID, Sort: fmt.Sprintf("%016x%016x", fence, seq)}
}

var logCursor = regexp.MustCompile(`^[0-9a-f]{32}$`)

// logTopic is what those watch who wait for what an agenda's operations print.
func logTopic(agendaID string) string { return agendaID + "/log" }

// AppendLogs keeps chunks, each on its own. One that comes twice is kept once. Chunks are kept of any lease that was given out: what
// an executor printed before it lost one tells what it was doing.
func (e *Engine) AppendLogs(ctx context.Context, chunks []model.LogAppend) ([]model.ReportResult, error) {
	return e.AppendOwnLogs(ctx, chunks, func(context.Context, string) error { return nil })
}

// AppendOwnLogs is AppendLogs for a caller who may do so only for some insights; mayReport says why not.
func (e *Engine) AppendOwnLogs(ctx context.Context, chunks []model.LogAppend, mayReport func(ctx context.Context, insightID string) error) ([]model.ReportResult, error) {
	if len(chunks) > MaxBatch {
		return nil, model.Errorf(model.Invalid, "%d chunks in one call; at most %d are taken", len(chunks), MaxBatch)
	}
	ctx, cancel := finish(ctx)
	defer cancel()
	ids := make([]string, len(chunks))
	for i := range chunks {
		ids[i] = chunks[i].AgendaID
	}
	runs, err := e.fitting(ctx, ids, func(i int, r *run) bool { return r.Fence >= chunks[i].Fence })
	if err != nil {
		return nil, err
	}
	results := make([]model.ReportResult, len(chunks))
	ops := map[driver.Key]driver.Op{} // of two for one chunk the last counts
	for i := range chunks {
		c := &chunks[i]
		results[i].AgendaID = c.AgendaID
		if err := checkChunk(ctx, runs[i].run, c, mayReport); err != nil {
			results[i].Err = err
			continue
		}
		body, err := json.Marshal(c.LogChunk)
		if err != nil {
			return nil, fmt.Errorf("encode what agenda %q printed: %w", c.AgendaID, err)
		}
		key := logKey(c.AgendaID, c.Fence, c.Seq)
		ops[key] = driver.Op{Type: driver.Put, Record: driver.Record{Key: key, Body: body, ExpireAt: e.Now().Add(e.KeepLogs)}}
		for _, seq := range c.Drop {
			key := logKey(c.AgendaID, c.Fence, seq)
			ops[key] = driver.Op{Type: driver.Delete, Record: driver.Record{Key: key}}
		}
	}
	groups := make([]driver.Group, 0, len(ops))
	for _, op := range ops {
		groups = append(groups, driver.Group{op})
	}
	outcomes, err := e.store.Write(ctx, groups...)
	for _, outcome := range outcomes {
		if err == nil {
			err = outcome.Err
		}
	}
	if err != nil {
		return nil, fmt.Errorf("keep what operations printed: %w", err)
	}
	for _, id := range ids {
		e.watchers.changed(logTopic(id))
	}
	return results, nil
}

func checkChunk(ctx context.Context, r *run, c *model.LogAppend, mayReport func(ctx context.Context, insightID string) error) *model.Error {
	switch {
	case r == nil:
		return model.Errorf(model.NotFound, "there is no agenda %q", c.AgendaID)
	case c.Fence < 1 || c.Fence > r.Fence:
		return model.Errorf(model.Fenced, "agenda %q was never given out with fence %d", c.AgendaID, c.Fence)
	case c.Seq < 1 || c.Offset < 0 || c.Operation == "" || len(c.Operation) > maxLogName || !utf8.ValidString(c.Text):
		return model.Errorf(model.Invalid, "what agenda %q printed has no operation, seq from 1, offset from 0 or text in UTF-8", c.AgendaID)
	case len(c.Text) > model.MaxLogText || len(c.Drop) > maxLogItems:
		return model.Errorf(model.TooLarge, "a chunk has at most %d bytes and drops at most %d others", model.MaxLogText, maxLogItems)
	}
	if err := mayReport(ctx, r.AgendaInsight.InsightID); err != nil {
		return model.Errorf(model.NotFound, "there is no agenda %q", c.AgendaID)
	}
	return nil
}

// Logs returns what operations of an agenda printed, as soon as there is something or the wait is over. It also returns when the
// agenda ends.
func (e *Engine) Logs(ctx context.Context, id string, req model.LogRequest) (model.LogPage, error) {
	if req.After != "" && !logCursor.MatchString(req.After) {
		return model.LogPage{}, &model.Error{Kind: model.Invalid, Detail: "logs", Issues: []model.Issue{{Path: "after", Message: "is not the next of an earlier page"}}}
	}
	timeout := time.NewTimer(req.Wait)
	defer timeout.Stop()
	poll := time.NewTicker(time.Second) // another server may take chunks, and only tell the store
	defer poll.Stop()
	completeAtFirst := false
	for first := true; ; first = false {
		printed, forgetPrinted := e.watchers.watch(logTopic(id))
		changed, forgetChanged := e.watchers.watch(id)
		r, err := e.readRun(ctx, id)
		var page model.LogPage
		if err == nil {
			page, err = e.readLogs(ctx, id, req)
			page.Complete = r.State == model.Complete
		}
		if first {
			completeAtFirst = page.Complete
		}
		req.After = page.Next
		over := err != nil || len(page.Items) > 0 || page.Complete && !completeAtFirst
		if !over {
			select {
			case <-printed:
			case <-changed:
			case <-poll.C:
			case <-timeout.C:
				over = true
			case <-ctx.Done():
				over, err = true, ctx.Err()
			}
		}
		forgetPrinted()
		forgetChanged()
		if over {
			return page, err
		}
	}
}

// readLogs reads a page. Chunks of other operations are passed over.
func (e *Engine) readLogs(ctx context.Context, id string, req model.LogRequest) (model.LogPage, error) {
	page := model.LogPage{Items: []model.LogChunk{}, Next: req.After}
	limit := min(max(req.Limit, 1), maxLogItems)
	scan := driver.ScanRequest{Kind: kindLog, Part: id}
	if req.After != "" {
		scan.From = req.After + "~" // after it, and before every other: all are as long
	}
	size := 0
	for rec, err := range e.store.Scan(ctx, scan) {
		if err != nil {
			return model.LogPage{}, fmt.Errorf("read what agenda %q printed: %w", id, err)
		}
		if len(page.Items) == limit || size >= maxLogPage {
			break
		}
		page.Next = rec.Key.Sort
		var chunk model.LogChunk
		if err := json.Unmarshal(rec.Body, &chunk); err != nil {
			e.Logger.Error("a chunk of a log is passed over", "agenda", id, "chunk", rec.Key.Sort, "error", err)
			continue
		}
		if req.Operation == "" || req.Operation == chunk.Operation {
			page.Items = append(page.Items, chunk)
			size += len(chunk.Text)
		}
	}
	return page, nil
}

// deleteLogs removes what the operations of an agenda printed.
func (e *Engine) deleteLogs(ctx context.Context, id string) error {
	var groups []driver.Group
	for rec, err := range e.store.Scan(ctx, driver.ScanRequest{Kind: kindLog, Part: id}) {
		if err != nil {
			return err
		}
		groups = append(groups, driver.Group{{Type: driver.Delete, Record: driver.Record{Key: rec.Key}}})
	}
	if len(groups) == 0 {
		return nil
	}
	outcomes, err := e.store.Write(ctx, groups...)
	for _, outcome := range outcomes {
		if err == nil {
			err = outcome.Err
		}
	}
	return err
}
