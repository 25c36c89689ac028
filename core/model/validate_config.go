package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pop-platform/pop/core/workflow"
)

// Validate returns what is wrong with a customer.
func (v *Customer) Validate() []Issue {
	var c checker
	c.meta(&v.Meta, "customer")
	if v.CustomerID != "" && v.CustomerID != v.ID {
		c.issue("customerId", "is %q, but a customer owns itself; leave it out, or make it the id, %q", clip(v.CustomerID), clip(v.ID))
	}
	c.title(v.Title, "customer")
	c.text("billingCode", v.BillingCode, 200)
	c.name("resourcePoolId", v.ResourcePoolID)
	c.limits(&v.Limits)
	c.pause("pause", v.Pause)
	c.pause("drain", v.Drain)
	return c.result()
}

// Validate returns what is wrong with a resource pool.
func (v *ResourcePool) Validate() []Issue {
	var c checker
	c.meta(&v.Meta, "resource pool")
	return c.result()
}

// Validate returns what is wrong with an insight.
func (v *Insight) Validate() []Issue {
	var c checker
	c.meta(&v.Meta, "insight")
	c.title(v.Title, "insight")
	c.sharing(&v.Sharing)
	c.required("resourcePoolId", v.ResourcePoolID, "name the resource pool that runs what the insight takes")
	c.name("queueName", v.QueueName)
	c.count("queueSize", v.QueueSize, fmt.Sprint(DefaultQueueSize))
	c.count("maxInFlight", v.MaxInFlight, "no limit")
	c.pause("pause", v.Pause)
	c.pause("drain", v.Drain)
	switch v.SchedulingAlgorithm {
	case "", FirstInFirstOut, RoundRobin, Priority, WeightedFair:
	default:
		c.issue("schedulingAlgorithm", "is %q; it must be %s, %s, %s or %s", clip(string(v.SchedulingAlgorithm)), FirstInFirstOut, RoundRobin, Priority, WeightedFair)
	}
	switch v.Cost {
	case "", CostAgenda, CostRunTime:
	default:
		c.issue("cost", "is %q; it must be %s or %s", clip(string(v.Cost)), CostAgenda, CostRunTime)
	}
	if v.AgingSeconds != nil {
		c.period("agingSeconds", *v.AgingSeconds)
	}
	c.notBlank("mappers.operationName", v.Mappers.OperationName)
	c.notBlank("mappers.operationType", v.Mappers.OperationType)
	for i, param := range v.Mappers.Params {
		if key, _, ok := strings.Cut(param, "="); !ok || key == "" {
			c.issue(fmt.Sprintf("mappers.params[%d]", i), "is %q; write it as key=value", clip(param))
		}
	}
	return c.result()
}

// Validate returns what is wrong with an agenda template. A reference in it may name a static parameter and [PopPayload], and
// within the payload of an operation also what every payload may.
func (v *AgendaTemplate) Validate() []Issue {
	var c checker
	c.meta(&v.Meta, "agenda template")
	c.sharing(&v.Sharing)
	for _, name := range slices.Sorted(maps.Keys(v.StaticParameters)) {
		path := "staticParameters." + clip(name)
		switch {
		case name == "" || strings.Contains(name, "::") || strings.Contains(name, ">"):
			c.issue(path, "no reference can name it; give it a name without :: and >")
		case strings.HasPrefix(name, popPrefix):
			c.issue(path, "names that begin with %s are the platform's; choose another", popPrefix)
		}
	}

	inner := checker{prefix: "agenda.", template: true}
	v.checkAgenda(&inner)
	c.issues = append(c.issues, inner.issues...)
	return c.result()
}

// checkAgenda validates what can be told before the template is filled.
func (v *AgendaTemplate) checkAgenda(c *checker) {
	v.Agenda.check(c)
	if len(v.Agenda.Operations) > MaxOperations {
		return
	}
	names := v.names()
	dynamic := false // what operations are called, or depend on, is known only once the template is filled
	v.Agenda.eachField(func(f field) {
		refs, err := workflow.Parse(f.raw())
		c.references(f.path, err)
		for _, ref := range refs {
			if !slices.Contains(names, ref.Name) {
				c.unknown(f.path, ref, names)
			}
		}
		dynamic = dynamic || f.shapesGraph && (len(refs) > 0 || err != nil)
	})
	if !dynamic {
		_, issues := v.Agenda.graph(workflow.Scope{Names: names})
		for _, issue := range issues {
			c.issue(issue.Path, "%s", issue.Message)
		}
		return
	}
	for i := range v.Agenda.Operations {
		refs, err := workflow.Parse(v.Agenda.Operations[i].Payload)
		c.references(operationPath(i, "payload"), err)
		for _, ref := range refs {
			if !slices.Contains(names, ref.Name) && !knownInPayload(ref.Name) {
				c.unknown(operationPath(i, "payload"), ref, names)
			}
		}
	}
}

func (c *checker) title(title, kind string) {
	if strings.TrimSpace(title) == "" {
		c.issue("title", "is missing; give the %s a title", kind)
	}
}

func (c *checker) sharing(s *Sharing) {
	for i, id := range s.AllowedCustomerIDs {
		c.name(fmt.Sprintf("allowedCustomerIds[%d]", i), id)
	}
}

func (c *checker) notBlank(path string, values []string) {
	for i, value := range values {
		if strings.TrimSpace(value) == "" {
			c.issue(fmt.Sprintf("%s[%d]", path, i), "is blank; remove it")
		}
	}
}
