package objects

import (
	"strconv"
	"strings"

	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

// The kinds, each after those that it may refer to.
var (
	ResourcePool Kind = &kind[model.ResourcePool]{
		name: "ResourcePool", noun: "pool",
		header: []string{"ID", "TITLE", "OWNER", "INSIGHTS"},
		cells: func(v *model.ResourcePool) []string {
			return []string{v.ID, v.Title, v.CustomerID, strings.Join(v.InsightIDs, ", ")}
		},
		collection: func(c *client.Client) *client.Collection[model.ResourcePool] { return c.ResourcePools },
		meta:       func(v *model.ResourcePool) *model.Meta { return &v.Meta },
		pool:       func(*model.ResourcePool) string { return "" },
		complete:   func(v model.ResourcePool) model.ResourcePool { v.InsightIDs = nil; return v },
		validate:   (*model.ResourcePool).Validate,
	}
	Insight Kind = &kind[model.Insight]{
		name: "Insight", noun: "insight",
		header: []string{"ID", "TITLE", "OWNER", "POOL", "ALGORITHM", "QUEUE SIZE", "TAKES"},
		cells: func(v *model.Insight) []string {
			return []string{v.ID, v.Title, v.CustomerID, v.ResourcePoolID, string(v.SchedulingAlgorithm), strconv.Itoa(*v.WithDefaults().QueueSize), takes(v.Mappers)}
		},
		collection: func(c *client.Client) *client.Collection[model.Insight] { return c.Insights },
		meta:       func(v *model.Insight) *model.Meta { return &v.Meta },
		pool:       func(v *model.Insight) string { return v.ResourcePoolID },
		complete:   model.Insight.WithDefaults,
		validate:   (*model.Insight).Validate,
	}
	Customer Kind = &kind[model.Customer]{
		name: "Customer", noun: "customer",
		header: []string{"ID", "TITLE", "POOL", "WEIGHT"},
		cells: func(v *model.Customer) []string {
			return []string{v.ID, v.Title, v.ResourcePoolID, strconv.FormatFloat(*v.WithDefaults().Weight, 'g', -1, 64)}
		},
		collection: func(c *client.Client) *client.Collection[model.Customer] { return c.Customers },
		meta:       func(v *model.Customer) *model.Meta { return &v.Meta },
		pool:       func(v *model.Customer) string { return v.ResourcePoolID },
		complete:   model.Customer.WithDefaults,
		validate:   (*model.Customer).Validate,
	}
	AgendaTemplate Kind = &kind[model.AgendaTemplate]{
		name: "AgendaTemplate", noun: "template",
		header: []string{"ID", "TITLE", "OWNER", "OPERATIONS"},
		cells: func(v *model.AgendaTemplate) []string {
			names := make([]string, len(v.Agenda.Operations))
			for i, op := range v.Agenda.Operations {
				names[i] = op.Name
			}
			return []string{v.ID, v.Title, v.CustomerID, strings.Join(names, ", ")}
		},
		collection: func(c *client.Client) *client.Collection[model.AgendaTemplate] { return c.AgendaTemplates },
		meta:       func(v *model.AgendaTemplate) *model.Meta { return &v.Meta },
		pool:       func(*model.AgendaTemplate) string { return "" },
		complete:   model.AgendaTemplate.WithDefaults,
		validate:   (*model.AgendaTemplate).Validate,
	}
)

// Kinds returns all kinds, each after those that it may refer to.
func Kinds() []Kind { return []Kind{ResourcePool, Insight, Customer, AgendaTemplate} }

func takes(m model.Mappers) string {
	var parts []string
	for _, mapper := range []struct {
		name   string
		values []string
	}{{"name", m.OperationName}, {"params", m.Params}, {"type", m.OperationType}} {
		if len(mapper.values) > 0 {
			parts = append(parts, mapper.name+" "+strings.Join(mapper.values, ", "))
		}
	}
	return strings.Join(parts, "; ")
}
