package onaws

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
)

// TestANoisyNeighbourDelaysNobody lets one customer submit far more than there are slots for, and another a few later on.
func TestANoisyNeighbourDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "noisy", "quiet")
		w.puller(10, func(ctx context.Context, _ *pool.Task) (json.RawMessage, error) {
			select {
			case <-time.After(10 * time.Second):
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		batch := make([]model.Agenda, 100)
		for i := range batch {
			batch[i] = agenda("noisy", 1, 300)
		}
		noisy := append(w.submit(batch...), w.submit(batch...)...)
		<-time.After(30 * time.Second)
		start := time.Now()
		for _, id := range w.submit(agenda("quiet", 1, 300), agenda("quiet", 1, 300), agenda("quiet", 1, 300)) {
			w.await(id)
		}
		// Before them run what is EXECUTING and what is in the queue of 20, and then one of the noisy customer for each of theirs.
		if took := time.Since(start); took > time.Minute {
			t.Errorf("three agendas of a quiet customer took %s", took)
		}
		left := 0
		for _, id := range noisy {
			p, _, err := w.engine.Progress(t.Context(), id)
			w.must(err)
			if p.State != model.Complete {
				left++
			}
		}
		if left < 100 {
			t.Errorf("only %d agendas of the noisy customer were left, too few to prove anything", left)
		}
	})
}
