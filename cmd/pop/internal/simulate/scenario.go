package simulate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/strict"
)

// Scenario is what is simulated: an insight, the slots that run its agendas, and customers that submit them.
type Scenario struct {
	Title string `json:"title,omitempty"`
	// Insight holds what an insight says of scheduling: its algorithm, cost, queue size and so on.
	Insight model.Insight `json:"insight,omitzero"`
	// Slots is how many agendas run at a time.
	Slots int `json:"slots"`
	// Duration is how long it takes. Without one it ends when all agendas have.
	Duration  Duration   `json:"duration,omitempty"`
	Seed      uint64     `json:"seed,omitempty"`
	RunTime   RunTime    `json:"runTime,omitzero"`
	Customers []Customer `json:"customers,omitempty"`
	Changes   []Change   `json:"changes,omitempty"`
	// Trace is a file with progress of agendas as a server gives it, whose times are played again. Its path is relative to the
	// scenario's.
	Trace string `json:"trace,omitempty"`

	recorded []recorded
}

// Customer submits agendas. With copies it stands for so many customers of the same kind.
type Customer struct {
	ID string `json:"id"`
	model.Limits
	Copies   int       `json:"copies,omitempty"`
	RunTime  *RunTime  `json:"runTime,omitempty"`
	Arrivals []Arrival `json:"arrivals,omitempty"`
}

// Arrival says when agendas are submitted: Count of them once, at a time; or again and again until another, each so long after the
// one before; or at random, at a mean rate.
type Arrival struct {
	At        Duration `json:"at,omitempty"`
	Until     Duration `json:"until,omitempty"`
	Every     Duration `json:"every,omitempty"`
	PerSecond float64  `json:"perSecond,omitempty"`
	Count     int      `json:"count,omitempty"`
	Priority  int8     `json:"priority,omitempty"`
}

// RunTime says how long agendas run.
type RunTime struct {
	Mean Duration `json:"mean,omitempty"`
	// Distribution is fixed, exponential, or lognormal: most short, and a few very long.
	Distribution string `json:"distribution,omitempty"`
}

// Change is what somebody does in the middle: to the insight, to the slots, or to a customer and its copies.
type Change struct {
	At       Duration       `json:"at"`
	Slots    *int           `json:"slots,omitempty"`
	Insight  *model.Insight `json:"insight,omitempty"`
	Customer string         `json:"customer,omitempty"`
	Limits   *model.Limits  `json:"limits,omitempty"`
	Paused   *bool          `json:"paused,omitempty"`
}

// Duration is a time such as 1m30s, or a number of seconds.
type Duration time.Duration

// UnmarshalJSON reads a duration.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var seconds float64
	if json.Unmarshal(data, &seconds) == nil {
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	var text string
	if json.Unmarshal(data, &text) == nil {
		if parsed, err := time.ParseDuration(text); err == nil {
			*d = Duration(parsed)
			return nil
		}
	}
	return errors.New("must be a time such as 1m30s, or a number of seconds")
}

// Load reads a scenario from a file, with the trace that it names.
func Load(path string) (*Scenario, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := Parse(data)
	if refused, ok := errors.AsType[*model.Error](err); ok {
		refused.Detail = path + " is no scenario that can be run"
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.Trace != "" {
		trace := s.Trace
		if !filepath.IsAbs(trace) {
			trace = filepath.Join(filepath.Dir(path), trace)
		}
		if s.recorded, err = readTrace(trace); err != nil {
			return nil, fmt.Errorf("trace %s: %w", trace, err)
		}
	}
	return s, nil
}

// Parse reads a scenario.
func Parse(data []byte) (*Scenario, error) {
	s := Scenario{RunTime: RunTime{Mean: Duration(time.Second)}}
	if issues := strict.Unmarshal(data, &s); len(issues) > 0 {
		return nil, &model.Error{Kind: model.Malformed, Detail: "this is no scenario", Issues: issues}
	}
	return &s, s.Validate()
}

const (
	maxSlots  = 1_000_000
	maxCopies = 100_000
	maxCount  = 10_000_000
)

// checker collects what is wrong, with the path of the field.
type checker []model.Issue

func (c *checker) issue(ok bool, path, format string, args ...any) {
	if !ok {
		*c = append(*c, model.Issue{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) model(path string, issues []model.Issue) {
	for _, issue := range issues {
		c.issue(false, path+issue.Path, "%s", issue.Message)
	}
}

// Validate tells all that is wrong with a scenario.
func (s *Scenario) Validate() error {
	var c checker
	c.issue(s.Slots >= 1 && s.Slots <= maxSlots, "slots", "is %d; it must be 1 to %d", s.Slots, maxSlots)
	c.issue(s.Duration >= 0, "duration", "is negative")
	c.runTime("runTime", s.RunTime)
	c.insight("insight.", &s.Insight)
	c.issue(len(s.Customers) > 0 || s.Trace != "", "customers", "are missing, and there is no trace; name some that submit agendas")
	for i, customer := range s.Customers {
		path := fmt.Sprintf("customers[%d].", i)
		c.issue(customer.ID != "", path+"id", "is missing")
		c.issue(s.customer(customer.ID) == &s.Customers[i], path+"id", "is %q, as is that of another", customer.ID)
		c.issue(customer.Copies >= 0 && customer.Copies <= maxCopies, path+"copies", "is %d; it must be 1 to %d, or absent for 1", customer.Copies, maxCopies)
		c.limits(path, customer.Limits)
		if customer.RunTime != nil {
			c.runTime(path+"runTime", *customer.RunTime)
		}
		c.issue(len(customer.Arrivals) > 0 || s.Trace != "", path+"arrivals", "are missing, so that it submits nothing")
		for j, arrival := range customer.Arrivals {
			c.arrival(fmt.Sprintf("%sarrivals[%d].", path, j), arrival, s.Duration)
		}
	}
	for i, change := range s.Changes {
		c.change(fmt.Sprintf("changes[%d].", i), change, s)
	}
	if len(c) > 0 {
		return &model.Error{Kind: model.Invalid, Detail: "the scenario cannot be run", Issues: c}
	}
	return nil
}

// customer returns the customer of an id, nil if there is none.
func (s *Scenario) customer(id string) *Customer {
	at := slices.IndexFunc(s.Customers, func(c Customer) bool { return c.ID == id })
	if at < 0 {
		return nil
	}
	return &s.Customers[at]
}

func (c *checker) runTime(path string, r RunTime) {
	c.issue(r.Mean > 0, path+".mean", "must be more than 0")
	c.issue(slices.Contains([]string{"", "fixed", "exponential", "lognormal"}, r.Distribution), path+".distribution",
		"is %q; it must be fixed, exponential or lognormal, or absent for fixed", r.Distribution)
}

func (c *checker) insight(path string, v *model.Insight) {
	complete := *v
	complete.Meta, complete.ResourcePoolID = model.Meta{ID: "insight", CustomerID: "customer", Title: "insight"}, "pool"
	c.model(path, complete.Validate())
}

func (c *checker) limits(path string, limits model.Limits) {
	complete := model.Customer{Meta: model.Meta{ID: "customer", CustomerID: "customer", Title: "customer"}, Limits: limits}
	c.model(path, complete.Validate())
}

func (c *checker) arrival(path string, a Arrival, duration Duration) {
	again := a.Every > 0 || a.PerSecond > 0
	c.issue(a.At >= 0, path+"at", "is negative")
	c.issue(a.Every >= 0 && a.PerSecond >= 0, path+"every", "and perSecond must not be negative")
	c.issue(a.Every == 0 || a.PerSecond == 0, path+"every", "and perSecond exclude each other")
	c.issue(a.Count >= 0 && a.Count <= maxCount, path+"count", "is %d; it must be 1 to %d, or absent for 1", a.Count, maxCount)
	c.issue(a.Priority >= -model.MaxPriority && a.Priority <= model.MaxPriority, path+"priority", "is %d; it must be %d to %d", a.Priority, -model.MaxPriority, model.MaxPriority)
	c.issue(!again || a.Until > 0 || duration > 0, path+"until", "is missing, and the scenario has no duration, so that it would never end")
	c.issue(a.Until == 0 || again, path+"until", "says how long agendas go on to be submitted; say how often with every or perSecond")
}

func (c *checker) change(path string, change Change, s *Scenario) {
	c.issue(change.At >= 0, path+"at", "is negative")
	c.issue(change.Slots == nil || *change.Slots >= 0 && *change.Slots <= maxSlots, path+"slots", "must be 0 to %d", maxSlots)
	c.issue(change.Slots != nil || change.Insight != nil || change.Limits != nil || change.Paused != nil, path+"at",
		"is all there is; say what changes: slots, insight, limits or paused")
	c.issue(change.Customer == "" || s.customer(change.Customer) != nil, path+"customer", "is %q, which the scenario has not", change.Customer)
	c.issue(change.Limits == nil || change.Customer != "", path+"customer", "is missing; say whose limits change")
	if change.Insight != nil {
		c.insight(path+"insight.", change.Insight)
	}
	if change.Limits != nil {
		c.limits(path+"limits.", *change.Limits)
	}
}
