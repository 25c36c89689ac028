package model

import (
	"slices"
	"strings"
)

// WithDefaults returns the agenda with what it leaves out.
func (a Agenda) WithDefaults() Agenda {
	if a.MaximumAttempts == 0 {
		a.MaximumAttempts = DefaultMaximumAttempts
	}
	return a
}

// WithDefaults returns the customer with what it leaves out. It owns itself.
func (v Customer) WithDefaults() Customer {
	if v.CustomerID == "" {
		v.CustomerID = v.ID
	}
	if v.Weight == nil {
		v.Weight = new(DefaultWeight)
	}
	return v
}

// WithDefaults returns the insight with what it leaves out. Its id must be set, as it names the queue.
func (v Insight) WithDefaults() Insight {
	if v.QueueName == "" {
		v.QueueName = v.ID
	}
	if v.QueueSize == nil {
		v.QueueSize = new(DefaultQueueSize)
	}
	if v.SchedulingAlgorithm == "" {
		v.SchedulingAlgorithm = WeightedFair
	}
	if v.AgingSeconds == nil {
		v.AgingSeconds = new(DefaultAgingSeconds)
	}
	if v.Cost == "" {
		v.Cost = CostAgenda
	}
	v.Sharing = v.normalized()
	return v
}

// WithDefaults returns the template with what it leaves out.
func (v AgendaTemplate) WithDefaults() AgendaTemplate {
	v.Sharing = v.normalized()
	return v
}

// normalized returns the customers in lower case, in order, each once.
func (s Sharing) normalized() Sharing {
	var ids []string
	for _, id := range s.AllowedCustomerIDs {
		if id = strings.ToLower(strings.TrimSpace(id)); id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	s.AllowedCustomerIDs = slices.Compact(ids)
	return s
}
