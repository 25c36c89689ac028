package model

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Limits bound what one customer gets of an insight. Each insight keeps to them by itself.
type Limits struct {
	Weight      *float64 `json:"weight,omitempty" exclusiveMinimum:"0" doc:"Share under WeightedFair, relative to other customers. Default 1."`
	MaxInFlight *int     `json:"maxInFlight,omitempty" minimum:"1" doc:"Most agendas that are QUEUED or EXECUTING at a time. Default: no limit."`
	RateLimit   *Rate    `json:"rateLimit,omitempty" doc:"How fast agendas are scheduled at most."`
	Quota       *Quota   `json:"quota,omitempty" doc:"How many agendas are scheduled at most in each window of time."`
}

// Rate is a rate with a burst, kept by the generic cell rate algorithm.
type Rate struct {
	Count         int     `json:"count" minimum:"1" doc:"Agendas in each period."`
	PeriodSeconds float64 `json:"periodSeconds" exclusiveMinimum:"0"`
	Burst         int     `json:"burst,omitempty" minimum:"0" doc:"Agendas that may come at once after a time of rest. Default 1."`
}

// Quota is a number of agendas in each window. Windows begin at multiples of their length since 1970.
type Quota struct {
	Count         int     `json:"count" minimum:"1"`
	WindowSeconds float64 `json:"windowSeconds" minimum:"1"`
}

// Pause holds work back, or as a drain keeps new work out. What runs goes on.
type Pause struct {
	By     string    `json:"by" doc:"Who did it."`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero" doc:"When it ends by itself."`
}

// Holds reports whether a pause is in force.
func (p *Pause) Holds(now time.Time) bool {
	return p != nil && (p.Until.IsZero() || now.Before(p.Until))
}

// A weight beyond these would leave the fair shares of floating-point numbers.
const (
	minWeight = 0.001
	maxWeight = 1_000_000
)

// Bounds of rates and quotas.
const (
	maxCount  = 1_000_000_000
	maxPeriod = 366 * 24 * time.Hour
)

func (c *checker) limits(l *Limits) {
	if w := l.Weight; w != nil && !(*w >= minWeight && *w <= maxWeight) { // NaN is neither
		c.issue("weight", "is %v; it must be %v to %d, or absent for %v", *w, minWeight, maxWeight, DefaultWeight)
	}
	c.count("maxInFlight", l.MaxInFlight, "no limit")
	if r := l.RateLimit; r != nil {
		c.count("rateLimit.count", &r.Count, "")
		c.period("rateLimit.periodSeconds", r.PeriodSeconds)
		if r.Burst < 0 || r.Burst > maxCount {
			c.issue("rateLimit.burst", "is %d; it must be 1 to %d, or absent for 1", r.Burst, maxCount)
		}
	}
	if q := l.Quota; q != nil {
		c.count("quota.count", &q.Count, "")
		c.period("quota.windowSeconds", q.WindowSeconds)
	}
}

// count checks a number that must be positive if it is there. What is said to be the default is for the message.
func (c *checker) count(path string, n *int, absent string) {
	if n == nil || *n >= 1 && *n <= maxCount {
		return
	}
	if absent != "" {
		absent = ", or absent for " + absent
	}
	bound := "at least 1"
	if *n > maxCount {
		bound = fmt.Sprintf("at most %d", maxCount)
	}
	c.issue(path, "is %d; it must be %s%s", *n, bound, absent)
}

func (c *checker) period(path string, seconds float64) {
	if !(seconds > 0 && seconds <= maxPeriod.Seconds()) || math.IsInf(seconds, 0) {
		c.issue(path, "is %v; it must be more than 0 and at most %.0f", seconds, maxPeriod.Seconds())
	}
}

// Validate returns what is wrong with a pause that begins now.
func (p *Pause) Validate(now time.Time) []Issue {
	var c checker
	c.pause("pause", p)
	if !p.Until.IsZero() && !p.Until.After(now) {
		c.issue("pause.until", "is %s, which is over; name a time to come, or none", p.Until.Format(time.RFC3339))
	}
	for i := range c.issues {
		c.issues[i].Path = strings.TrimPrefix(c.issues[i].Path, "pause.")
	}
	return c.result()
}

func (c *checker) pause(path string, p *Pause) {
	if p == nil {
		return
	}
	c.required(path+".by", p.By, "say who did it, so that others know whom to ask")
	c.text(path+".reason", p.Reason, 400)
}
