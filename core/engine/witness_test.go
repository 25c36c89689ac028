package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// The limits that a [witness] knows.
const (
	capOfA   = 2
	capOfAll = 4
	rateOfB  = 4 * time.Second // for one
	burstOfB = 3
	quotaOfB = 5
)

// witness sees every write that a store applies, and says whether limits are kept: what is in flight, and what was charged for it.
//
// An agenda is in flight from being QUEUED, in the epoch of the insight's owner, until it is WAITING again or COMPLETE. What an owner
// schedules that has lost the insight does not count, for as long as nobody can claim it.
type witness struct {
	mu       sync.Mutex
	epoch    int64
	flying   map[string]string // customer by agenda
	inFlight map[string]int    // by customer
	began    time.Time
	served   map[string]int // by customer
	charged  map[int64]int  // to b's quota, by window
	faults   []string

	scheduled, takeovers, handed, void int
}

func newWitness() *witness {
	return &witness{
		flying: map[string]string{}, inFlight: map[string]int{}, served: map[string]int{}, charged: map[int64]int{},
		began: time.Now(),
	}
}

// watch returns a store whose writes the witness sees. They take effect as late as held says, also if nobody waits for them
// any more.
func (w *witness) watch(s driver.Store, held func(driver.WriteRequest) (late time.Duration, frozen bool)) driver.Store {
	if w == nil {
		return s
	}
	return &watched{s, w, held}
}

type watched struct {
	driver.Store
	witness *witness
	held    func(driver.WriteRequest) (late time.Duration, frozen bool)
}

func (s *watched) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	late, frozen := s.held(req)
	if late <= 0 || frozen {
		<-time.After(late)
		return s.write(ctx, req)
	}
	type result struct {
		driver.WriteResponse
		error
	}
	done := make(chan result, 1)
	go func() {
		<-time.After(late)
		resp, err := s.write(context.WithoutCancel(ctx), req)
		done <- result{resp, err}
	}()
	select {
	case r := <-done:
		return r.WriteResponse, r.error
	case <-ctx.Done():
		return driver.WriteResponse{}, fmt.Errorf("write: %w", ctx.Err())
	}
}

func (s *watched) write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	s.witness.mu.Lock() // so that it sees writes in their order
	defer s.witness.mu.Unlock()
	resp, err := s.Store.Write(ctx, req)
	for i, r := range resp.Results {
		for _, op := range req.Groups[i] {
			if r.Err == nil && op.Type == driver.Put {
				s.witness.see(op.Record)
			}
		}
	}
	return resp, err
}

func (w *witness) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

func (w *witness) see(rec driver.Record) {
	switch rec.Key.Kind {
	case kindOwner:
		var o ownerRecord
		_ = json.Unmarshal(rec.Body, &o)
		if rec.Key.Sort != insightID {
			return
		}
		if o.Handed && o.Epoch == w.epoch {
			w.handed++
			return
		}
		if o.Epoch != w.epoch+1 {
			w.fault("epoch %d follows epoch %d", o.Epoch, w.epoch)
		}
		if w.epoch = o.Epoch; w.epoch > 1 {
			w.takeovers++
		}
	case kindAccount:
		var a scheduling.Account
		_ = json.Unmarshal(rec.Body, &a)
		if rec.Key.Sort == "b" {
			w.charged[a.Window] = max(w.charged[a.Window], a.Used)
		}
	case kindRun:
		var r run
		_ = json.Unmarshal(rec.Body, &r)
		w.seeRun(&r)
	}
}

func (w *witness) seeRun(r *run) {
	customer, flying := w.flying[r.ID]
	switch {
	case r.State == model.Queued && r.Epoch != w.epoch && !flying:
		w.void++
	case r.State == model.Queued && !flying:
		w.flying[r.ID] = r.CustomerID
		w.inFlight[r.CustomerID]++
		w.served[r.CustomerID]++
		w.scheduled++
		w.checkLimits(r)
	case r.State == model.Executing && !flying:
		w.fault("agenda %s was claimed in epoch %d though it was scheduled in epoch %d", r.ID, w.epoch, r.Epoch)
	case (r.State == model.Waiting || r.State == model.Complete) && flying:
		delete(w.flying, r.ID)
		w.inFlight[customer]--
	}
}

// checkLimits is called when an agenda was scheduled.
func (w *witness) checkLimits(r *run) {
	if n := w.inFlight["a"]; n > capOfA {
		w.fault("%d agendas of a are in flight, %d may be", n, capOfA)
	}
	if n := len(w.flying); n > capOfAll {
		w.fault("%d agendas are in flight, %d may be", n, capOfAll)
	}
	if r.CustomerID != "b" {
		return
	}
	charged := 0
	for window, n := range w.charged {
		if charged += n; n > quotaOfB {
			w.fault("%d agendas of b are charged to the quota of window %d, %d may be", n, window, quotaOfB)
		}
	}
	if w.served["b"] > charged {
		w.fault("%d agendas of b were scheduled, and %d charged to its quota", w.served["b"], charged)
	}
	if most := burstOfB + int((time.Since(w.began)+2*maxSkew)/rateOfB); w.served["b"] > most {
		w.fault("%d agendas of b were scheduled in %v, its rate allows %d", w.served["b"], time.Since(w.began), most)
	}
}

// testify says what was wrong; limits count only where they never changed.
func (w *witness) testify(t testing.TB, limited bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) > 0 && limited {
		t.Errorf("%d faults, the first: %s", len(w.faults), w.faults[0])
	}
}

// schedules reports whether a request schedules agendas, or is about to.
func schedules(req driver.WriteRequest) bool {
	var r run
	rec := req.Groups[0][0].Record
	return rec.Key.Kind == kindAccount || rec.Key.Kind == kindRun && json.Unmarshal(rec.Body, &r) == nil && r.State == model.Queued
}
