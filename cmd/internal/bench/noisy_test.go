package bench

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// setup is how an insight shares between a noisy customer and its neighbours.
type setup struct {
	algorithm model.SchedulingAlgorithm
	queueSize int
}

func (s setup) String() string { return fmt.Sprintf("%s-%d", s.algorithm, s.queueSize) }

// enough is a queue of three agendas for each pull at a time. What lies on the queue when others come is served before them.
const enough = 3 * parallel

// noise lets one customer submit nine tenths of n agendas before 99 others submit the rest, and then has all dispatched. It returns
// how long the latter took and where in the order the agendas of the others came.
func (s *server) noise(n int) (took time.Duration, positions []int) {
	s.Helper()
	loud := n * 9 / 10
	s.submit(loud, 16, func(int) model.Agenda { return agendaOf(0, 1) })
	s.submit(n-loud, 16, func(i int) model.Agenda { return agendaOf(1+i%(customers-1), 1) })
	var mu sync.Mutex
	var order int
	took = s.work(n, 16, func(a model.Assignment) {
		mu.Lock()
		defer mu.Unlock()
		if order++; a.Agenda.CustomerID != customer(0) {
			positions = append(positions, order)
		}
	})
	return took, positions
}

// BenchmarkNoisyNeighbour reports where in the order of b.N agendas those of the neighbours come: fair is 0.05 in the middle and 0.10
// at worst, first in, first out is 0.95 and 1.
func BenchmarkNoisyNeighbour(b *testing.B) {
	for _, c := range []setup{
		{model.FirstInFirstOut, enough}, {model.RoundRobin, enough}, {model.WeightedFair, enough}, {model.WeightedFair, queueSize},
	} {
		b.Run(c.String(), func(b *testing.B) {
			if b.N == 1 {
				return // the trial run
			}
			s := startServer(b, b.TempDir())
			s.furnish(c.algorithm, c.queueSize)
			_, positions := s.noise(b.N)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(positions[len(positions)/2])/float64(b.N), "median-position")
			b.ReportMetric(float64(positions[len(positions)-1])/float64(b.N), "worst-position")
		})
	}
}

// noisyTurn is long enough for what lies on the queue at the start not to count.
const noisyTurn = 2000

// BenchmarkCostOfFairness has two servers complete b.N agendas of a noisy customer and its neighbours each, in turns, and swaps who is
// first each time. "kept" is the throughput of the first setup of the name divided by that of the second in the same pair of turns, so that
// what the machine does besides meets both: the median of the pairs, and the middle half of them, which says how far to trust it.
// "cpu" is the same of the CPU time of the servers.
func BenchmarkCostOfFairness(b *testing.B) {
	for _, pair := range [][2]setup{
		{{model.WeightedFair, enough}, {model.FirstInFirstOut, enough}},
		{{model.WeightedFair, enough}, {model.WeightedFair, queueSize}},
	} {
		b.Run(fmt.Sprintf("%s/%s", pair[0], pair[1]), func(b *testing.B) {
			if b.N == 1 {
				return // the trial run
			}
			var servers [2]*server
			for i, c := range pair {
				servers[i] = startServer(b, b.TempDir())
				servers[i].furnish(c.algorithm, c.queueSize)
			}
			var kept, cpu []float64
			for round, done := 0, 0; done < b.N; round++ {
				n := min(noisyTurn, b.N-done)
				var took, used [2]time.Duration
				for i := range pair {
					i = (i + round) % 2
					before := servers[i].stats().CPU
					took[i], _ = servers[i].noise(n)
					used[i] = servers[i].stats().CPU - before
				}
				kept = append(kept, took[1].Seconds()/took[0].Seconds())
				cpu = append(cpu, used[0].Seconds()/used[1].Seconds())
				done += n
			}
			slices.Sort(kept)
			slices.Sort(cpu)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(kept[len(kept)/2], "kept")
			b.ReportMetric(kept[len(kept)/4], "kept-from")
			b.ReportMetric(kept[len(kept)*3/4], "kept-to")
			b.ReportMetric(cpu[len(cpu)/2], "cpu")
		})
	}
}
