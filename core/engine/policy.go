package engine

import (
	"math"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
)

var algorithms = map[model.SchedulingAlgorithm]scheduling.Algorithm{
	model.FirstInFirstOut: scheduling.FirstInFirstOut,
	model.RoundRobin:      scheduling.RoundRobin,
	model.Priority:        scheduling.Priority,
	model.WeightedFair:    scheduling.WeightedFair,
}

// SettingsOf returns how an insight schedules.
func SettingsOf(v *model.Insight) scheduling.Settings {
	full := v.WithDefaults()
	s := scheduling.Settings{
		Algorithm: algorithms[full.SchedulingAlgorithm],
		Aging:     seconds(*full.AgingSeconds),
		QueueSize: *full.QueueSize,
		Cap:       orZero(full.MaxInFlight),
		Paused:    pausedUntil(full.Pause),
	}
	if full.Cost == model.CostRunTime {
		s.Cost = scheduling.RunTime
	}
	return s
}

// PolicyOf returns what a customer may do on each insight.
func PolicyOf(v *model.Customer) scheduling.Policy {
	p := scheduling.Policy{Weight: *v.WithDefaults().Weight, Cap: orZero(v.MaxInFlight), Paused: pausedUntil(v.Pause)}
	if r := v.RateLimit; r != nil {
		p.Rate = scheduling.Rate{Count: r.Count, Per: seconds(r.PeriodSeconds), Burst: r.Burst}
	}
	if q := v.Quota; q != nil {
		p.Quota = scheduling.Quota{Limit: q.Count, Per: seconds(q.WindowSeconds)}
	}
	return p
}

func pausedUntil(p *model.Pause) int64 {
	switch {
	case p == nil:
		return 0
	case p.Until.IsZero():
		return scheduling.Forever
	default:
		return p.Until.UnixNano()
	}
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s*float64(time.Second), math.MaxInt64/2))
}

func orZero(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}
