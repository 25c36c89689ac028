package model

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// SelectInsight returns the insight that an agenda is bound to, of those of its customer's resource pool. The order of the
// insights does not matter.
//
// An insight can be chosen if the agenda's customer may read it (because it owns it, is one of its allowed customers, or it is
// global) and one value of one of its mappers matches: operationName the name of an operation, operationType the type of one,
// and params a key=value pair in the params of the agenda or of an operation. A pair is split at its first equals sign and
// compared with the text of strings, numbers, true and false; an empty value matches an empty string and null. Case never
// matters.
//
// If the agenda's params have a defaultInsight, only insights with that id or title are considered, as long as one of
// them can be chosen. Then the most specific wins:
//
//  1. an insight that matches by operationName, then one by params, then one by operationType;
//  2. then the one with more matching values, counted over all its mappers;
//  3. then the customer's own, then one that allows the customer, then a global one;
//  4. then the one with the smaller id.
func SelectInsight(agenda *Agenda, insights []Insight) (*Insight, bool) {
	t := traitsOf(agenda, insights)
	preferred := agenda.Params.Text(ParamDefaultInsight)
	var best *match
	for i := range insights {
		m := t.match(&insights[i], agenda.CustomerID, preferred)
		if m != nil && (best == nil || m.compare(best) < 0) {
			best = m
		}
	}
	if best == nil {
		return nil, false
	}
	return best.insight, true
}

// match is an insight that can be chosen, and what it is ranked by: more is better.
type match struct {
	insight     *Insight
	preferred   bool
	specificity int
	values      int
	closeness   int
}

func (m *match) compare(other *match) int {
	if m.preferred != other.preferred {
		if m.preferred {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(other.specificity, m.specificity),
		cmp.Compare(other.values, m.values),
		cmp.Compare(other.closeness, m.closeness),
		cmp.Compare(m.insight.ID, other.insight.ID),
	)
}

// SameCustomer reports whether two ids are of one customer. Case does not matter, in the sense of [strings.ToLower], by which the
// catalog keeps customers apart and authorizers name them: [strings.EqualFold] takes more for the same, such as ſ for s.
func SameCustomer(a, b string) bool {
	return a == b || strings.ToLower(a) == strings.ToLower(b) //nolint:staticcheck // see above
}

// closeness says how an insight is related to a customer; 0 means that the customer may not read it.
func (v *Insight) closeness(customerID string) int {
	switch {
	case SameCustomer(v.CustomerID, customerID):
		return 3
	case slices.ContainsFunc(v.AllowedCustomerIDs, func(id string) bool { return SameCustomer(id, customerID) }):
		return 2
	case v.IsGlobal:
		return 1
	}
	return 0
}

// traits are what mappers look at in an agenda, in lower case.
type traits struct {
	names  map[string]bool
	types  map[string]bool
	params map[param]bool
}

type param struct{ key, value string }

func traitsOf(agenda *Agenda, insights []Insight) traits {
	t := traits{names: map[string]bool{}, types: map[string]bool{}, params: map[param]bool{}}
	for i := range agenda.Operations {
		t.names[strings.ToLower(agenda.Operations[i].Name)] = true
		t.types[strings.ToLower(agenda.Operations[i].Type)] = true
	}
	if slices.ContainsFunc(insights, func(v Insight) bool { return len(v.Mappers.Params) > 0 }) {
		t.addParams(agenda.Params)
		for i := range agenda.Operations {
			t.addParams(agenda.Operations[i].Params)
		}
	}
	return t
}

func (t *traits) addParams(p Params) {
	for key, raw := range p {
		if len(raw) > 0 && raw[0] != '{' && raw[0] != '[' {
			t.params[param{strings.ToLower(key), strings.ToLower(p.Text(key))}] = true
		}
	}
}

// match returns nil if the insight cannot be chosen.
func (t *traits) match(v *Insight, customerID, preferred string) *match {
	m := match{insight: v, closeness: v.closeness(customerID)}
	if m.closeness == 0 {
		return nil
	}
	count := func(values []string, specificity int, has func(value string) bool) {
		var matching map[string]bool // made only for insights that match
		for _, value := range values {
			if value = strings.ToLower(value); has(value) {
				if matching == nil {
					matching = map[string]bool{}
				}
				matching[value] = true
			}
		}
		if len(matching) > 0 {
			m.specificity = max(m.specificity, specificity)
			m.values += len(matching)
		}
	}
	count(v.Mappers.OperationType, 1, func(value string) bool { return t.types[value] })
	count(v.Mappers.Params, 2, func(pair string) bool {
		key, value, ok := strings.Cut(pair, "=")
		return ok && t.params[param{key, value}]
	})
	count(v.Mappers.OperationName, 3, func(value string) bool { return t.names[value] })
	if m.specificity == 0 {
		return nil
	}
	m.preferred = preferred != "" && (strings.EqualFold(v.ID, preferred) || strings.EqualFold(v.Title, preferred))
	return &m
}

// ExplainNoInsight says why none of the insights of a customer's resource pool takes an agenda and what to do about it. It
// names only insights that the agenda's customer may read, and is never long.
func ExplainNoInsight(agenda *Agenda, insights []Insight) string {
	const shown = 5
	names, types := make([]string, len(agenda.Operations)), make([]string, len(agenda.Operations))
	for i, operation := range agenda.Operations {
		names[i], types[i] = operation.Name, operation.Type
	}
	var takes []string
	for i := range insights {
		v := &insights[i]
		if v.closeness(agenda.CustomerID) == 0 {
			continue
		}
		var mappers []string
		for _, mapper := range []struct {
			name   string
			values []string
		}{{"operationName", v.Mappers.OperationName}, {"params", v.Mappers.Params}, {"operationType", v.Mappers.OperationType}} {
			if len(mapper.values) > 0 {
				mappers = append(mappers, mapper.name+" "+list(mapper.values))
			}
		}
		if len(mappers) == 0 {
			mappers = []string{"nothing, as it has no mappers"}
		}
		takes = append(takes, fmt.Sprintf("%q takes %s", clip(v.ID), strings.Join(mappers, " or ")))
	}
	agendaHas := fmt.Sprintf("the agenda has operations of type %s called %s", list(types), list(names))
	if len(takes) == 0 {
		return fmt.Sprintf("%s, and customer %q may use no insight here; create one whose mappers match", agendaHas, clip(agenda.CustomerID))
	}
	more := ""
	if len(takes) > shown {
		more = fmt.Sprintf("; and %d more insights", len(takes)-shown)
		takes = takes[:shown]
	}
	return fmt.Sprintf("%s, but %s%s; add a value that matches to the mappers of one of them, or create one", agendaHas, strings.Join(takes, "; "), more)
}

// list quotes the first few distinct values.
func list(values []string) string {
	const shown = 5
	values = slices.Clone(values)
	slices.Sort(values)
	values = slices.Compact(values)
	quoted := make([]string, 0, shown+1)
	for _, value := range values[:min(len(values), shown)] {
		quoted = append(quoted, fmt.Sprintf("%q", clip(value)))
	}
	if len(values) > shown {
		quoted = append(quoted, fmt.Sprintf("%d more", len(values)-shown))
	}
	return strings.Join(quoted, ", ")
}
