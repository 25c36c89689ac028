package scheduling

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var (
	steps = flag.Int("steps", 10_000_000, "steps of the long simulation; a twentieth of them under the race detector")
	seed  = flag.Uint64("seed", 0, "first seed of the long simulation")
)

// Ten million steps in many histories, with all that the auditor knows to look for.
func TestTenMillionStepsAreFair(t *testing.T) {
	t.Parallel()
	const parts, history = 4, 2000
	n := *steps
	if raceDetector {
		n /= 20
	}
	for part := range uint64(parts) {
		t.Run(fmt.Sprint("part ", part+1), func(t *testing.T) {
			t.Parallel()
			var done, services int
			worst := 0.0
			for i := part; done < n/parts; i += parts {
				random := rand.New(rand.NewPCG(*seed+i, 1))
				m := newMachine(random.IntN, settingsOf(random.IntN), 1+random.IntN(6), true)
				for range history {
					m.step()
					if len(m.audit.violations) > 0 {
						t.Fatalf("seed %d: %s", *seed+i, m.audit.violations[0])
					}
				}
				if err := m.check(); err != nil {
					t.Fatalf("seed %d: %v", *seed+i, err)
				}
				if !m.state.Certificate(m.now, 0).Holds {
					t.Fatalf("seed %d: the certificate says that its bound does not hold", *seed+i)
				}
				done, services, worst = done+history, services+m.audit.services, max(worst, m.audit.worst)
			}
			t.Logf("%d steps, %d agendas served, the largest lag was %.4f of its bound", done, services, worst)
			if worst < 0.99 {
				t.Errorf("the largest lag was %.4f of its bound: the histories are too tame to prove anything", worst)
			}
		})
	}
}
