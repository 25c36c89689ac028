package engine

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

func TestASubmissionWhoseWriteIsLostIsWrittenOnceMore(t *testing.T) {
	t.Parallel()
	separate := ownStore()
	separate.CheapGroups = false
	for _, caps := range []driver.StoreCapabilities{ownStore(), separate} {
		for name, fault := range map[string]memdriver.Fault{"after it was applied": memdriver.LostReply(), "before it was applied": memdriver.LostRequest()} {
			for _, key := range []string{"", "k"} {
				for _, write := range []int32{1, 2} {
					t.Run(fmt.Sprintf("write %d, %s, cheap groups: %t, key: %q", write, name, caps.CheapGroups, key), func(t *testing.T) {
						t.Parallel()
						synctest.Test(t, func(t *testing.T) { loseAWrite(t, caps, fault, write, key) })
					})
				}
			}
		}
	}
}

// loseAWrite submits an agenda to a store that loses the n-th of the writes from there.
func loseAWrite(t *testing.T, caps driver.StoreCapabilities, fault memdriver.Fault, n int32, key string) {
	t.Helper()
	var writes atomic.Int32 // until one is lost
	w := &world{TB: t, base: memdriver.NewStore(memdriver.StoreOptions{Capabilities: caps})}
	w.faults = func(c memdriver.Call) memdriver.Fault {
		if c.Method == memdriver.Write && writes.Add(-1) == 0 {
			return fault
		}
		return memdriver.Fault{}
	}
	w.start()
	defer w.Stop()
	w.furnish()
	writes.Store(n)
	got := w.submitOne(Submission{Agenda: agendaOf("a"), IdempotencyKey: key})
	writes.Store(0)
	if key == "" && got.Replayed {
		t.Error("it is a replay, though nobody has submitted it before")
	}
	a := w.pullOne(w.session("executor"))
	if a.AgendaID != got.Agenda.ID {
		t.Errorf("agenda %s is pulled, want %s", a.AgendaID, got.Agenda.ID)
	}
}
