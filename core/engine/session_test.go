package engine

import (
	"fmt"
	"testing"
	"time"
)

func TestSessionsThatHaveRunOutAreForgottenInTheEnd(t *testing.T) {
	t.Parallel()
	var c sessionCache
	now := time.Unix(1_700_000_000, 0)
	c.set("lasting", now.Add(time.Hour), now)
	for i := range 10_000 { // pods that come and go
		now = now.Add(100 * time.Millisecond)
		c.set(fmt.Sprint("pod-", i), now.Add(DefaultLease), now)
	}
	if n := len(c.alive); n > 2000 {
		t.Errorf("%d sessions are remembered, of which about 150 live", n)
	}
	for _, id := range []string{"lasting", "pod-9999"} {
		if !c.until(id).After(now) {
			t.Errorf("session %q is forgotten", id)
		}
	}
}
