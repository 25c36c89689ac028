package scheduling

import (
	"math"
	"time"
)

// Algorithm says what a customer's rank is.
type Algorithm uint8

const (
	// WeightedFair is start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): the rank is a tag that rises by cost/weight
	// with each agenda served. Over any time in which two customers always have agendas that may run, what they were served,
	// divided by their weights, differs by at most c1/w1 + c2/w2, where c is the cost of an agenda.
	WeightedFair Algorithm = iota
	// RoundRobin takes one agenda of each customer in turn: it is WeightedFair with the same weight for all and no costs.
	RoundRobin
	// Priority ranks by the score of the customer's first agenda: when it became ready, less [Settings.Aging] for each step of
	// its priority. So an agenda of priority p is passed only by those that become ready within (highest - p) × aging after it.
	Priority
	// FirstInFirstOut ranks by when the customer's first agenda became ready. It knows no priorities.
	FirstInFirstOut
)

// fair reports whether the algorithm shares between customers, by tags, rather than serving agendas by their scores.
func (a Algorithm) fair() bool { return a == WeightedFair || a == RoundRobin }

// Cost says what a customer is charged for an agenda.
type Cost uint8

const (
	// PerAgenda charges 1 for each.
	PerAgenda Cost = iota
	// RunTime charges the seconds that it ran: what the customer's agendas took lately when it is served, and the difference once
	// it has ended.
	RunTime
)

// Settings are those of an insight.
type Settings struct {
	Algorithm Algorithm
	Cost      Cost
	Aging     time.Duration // what a step of priority is worth; at most a year
	QueueSize int           // most agendas served and not yet claimed; 0 means no limit
	Cap       int           // most agendas in flight; 0 means no limit
	Paused    int64         // until when nothing is served
}

// Forever is until when something is paused that no time ends.
const Forever = math.MaxInt64

const maxAging = 365 * 24 * time.Hour

// aging is what a step of priority is worth in the lines.
func (s *Settings) aging() int64 {
	if s.Algorithm == FirstInFirstOut {
		return 0
	}
	return int64(min(s.Aging, maxAging))
}

// Policy is what one customer may do.
type Policy struct {
	Weight float64 // its share under WeightedFair, relative to others
	Cap    int     // most agendas in flight: served and not yet ended; 0 means no limit
	Rate   Rate
	Quota  Quota
	Paused int64 // until when none of its agendas is served
}

// Rate limits how fast agendas are served: Count in Per, evenly, and Burst at once. A count of 0 means no limit, a burst below 1
// counts as 1. In no time t are there more than Burst + t×Count/Per.
//
// It is the generic cell rate algorithm of ATM, whose only state is a time.
type Rate struct {
	Count int
	Per   time.Duration
	Burst int
}

// interval is the time between two agendas at the full rate, rounded up so that the rate is never exceeded.
func (r Rate) interval() int64 {
	return max(1, (int64(r.Per)+int64(r.Count)-1)/int64(r.Count))
}

// tolerance is how far the theoretical time of arrival may be in the future.
func (r Rate) tolerance() int64 {
	slack, interval := int64(max(r.Burst, 1)-1), r.interval()
	if slack > math.MaxInt64/4/interval {
		return math.MaxInt64 / 4
	}
	return slack * interval
}

// Quota limits how many agendas are served in a window: Limit in each Per, counted from whole multiples of Per since 1970, so that
// a day begins at midnight UTC. A Per of 0 means no limit.
type Quota struct {
	Limit int
	Per   time.Duration
}

// Account is what must outlive the process of a customer's use of its rate and quota, and of what it owes. It holds no secrets.
type Account struct {
	// Arrival is the theoretical arrival time of the rate's next agenda.
	Arrival int64 `json:"arrival,omitempty"`
	// Window is when the quota's window began, Used how much of it is used.
	Window int64 `json:"window,omitempty"`
	Used   int   `json:"used,omitempty"`
	// Estimate is the mean run time of its agendas lately, in seconds; 0 if none has run.
	Estimate float64 `json:"estimate,omitempty"`
	// Debt is how far the customer has been served ahead of others, as cost.
	Debt float64 `json:"debt,omitempty"`
}

// unlimited is an allowance without a limit.
const unlimited = math.MaxInt

// byRate returns how many agendas the rate allows at once, and when it allows one.
func (a *Account) byRate(r Rate, now int64) (int, int64) {
	if r.Count <= 0 {
		return unlimited, 0
	}
	at := max(a.Arrival, now) - r.tolerance()
	if at > now {
		return 0, at
	}
	return int((now-at)/r.interval()) + 1, 0
}

// byQuota returns how many agendas are left of the quota, and when the window ends.
func (a *Account) byQuota(q Quota, now int64) (int, int64) {
	if q.Per <= 0 {
		return unlimited, 0
	}
	window := a.window(q, now)
	if a.Window != window {
		return q.Limit, window + int64(q.Per)
	}
	return max(0, q.Limit-a.Used), window + int64(q.Per)
}

// window returns when the quota's window begins that the account is in: the next one if the account was used by a server whose clock
// is ahead.
func (a *Account) window(q Quota, now int64) int64 {
	window := now - now%int64(q.Per)
	if next := window + int64(q.Per); a.Window == next {
		return next
	}
	return window
}

// use counts an agenda.
func (a *Account) use(p *Policy, now int64) {
	if p.Rate.Count > 0 {
		a.Arrival = max(a.Arrival, now) + p.Rate.interval()
	}
	if p.Quota.Per > 0 {
		if window := a.window(p.Quota, now); a.Window != window {
			a.Window, a.Used = window, 0
		}
		a.Used++
	}
}

// giveBack takes back the count of an agenda that was not served after all.
func (a *Account) giveBack(p *Policy, now int64) {
	if p.Rate.Count > 0 {
		a.Arrival -= p.Rate.interval()
	}
	if p.Quota.Per > 0 && a.Window == a.window(p.Quota, now) {
		a.Used = max(0, a.Used-1)
	}
}

// adapt follows a change of policy: nobody waits longer than the new rate makes one wait.
func (a *Account) adapt(p *Policy, now int64) {
	if p.Rate.Count > 0 {
		a.Arrival = min(a.Arrival, now+p.Rate.tolerance()+p.Rate.interval())
	}
}

// settled reports whether an empty account would allow the same.
func (a *Account) settled(p *Policy, now int64) bool {
	return a.Arrival <= now && (p.Quota.Per <= 0 || a.Window != a.window(p.Quota, now) || a.Used == 0)
}
