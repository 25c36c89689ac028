package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
)

// maxNamed is how many users of an object are named when it cannot be deleted.
const maxNamed = 5

func (a *API) addCustomers() {
	a.customers().add()
}

func (a *API) customers() *objects[model.Customer] {
	return &objects[model.Customer]{
		api: a, collection: a.Catalog.Customers, path: "/v1/customers", noun: "customer",
		meta:   func(v *model.Customer) *model.Meta { return &v.Meta },
		poolID: func(v *model.Customer) string { return v.ResourcePoolID },
		own: func(v *model.Customer) { // a customer owns itself
			if v.CustomerID == "" {
				v.CustomerID = v.ID
			}
		},
		users: func(ctx context.Context, id string) (string, error) {
			return a.liveAgendas(ctx, id)
		},
	}
}

func (a *API) addResourcePools() {
	pools := &objects[model.ResourcePool]{
		api: a, collection: a.Catalog.ResourcePools, path: "/v1/resource-pools", noun: "resource pool",
		meta:     func(v *model.ResourcePool) *model.Meta { return &v.Meta },
		complete: a.addInsightIDs,
		users:    a.poolUsers,
	}
	pools.add()
}

func (a *API) addInsights() {
	a.insights().add()
}

func (a *API) insights() *objects[model.Insight] {
	return &objects[model.Insight]{
		api: a, collection: a.Catalog.Insights, path: "/v1/insights", noun: "insight",
		meta:     func(v *model.Insight) *model.Meta { return &v.Meta },
		sharing:  func(v *model.Insight) model.Sharing { return v.Sharing },
		poolID:   func(v *model.Insight) string { return v.ResourcePoolID },
		mayWrite: a.mayJoinPool,
		users: func(ctx context.Context, id string) (string, error) {
			ids, err := a.Engine.Live(ctx, id, maxNamed+1)
			return unfinished(ids), err
		},
	}
}

func (a *API) addAgendaTemplates() {
	a.templates().add()
}

func (a *API) templates() *objects[model.AgendaTemplate] {
	return &objects[model.AgendaTemplate]{
		api: a, collection: a.Catalog.AgendaTemplates, path: "/v1/agenda-templates", noun: "agenda template",
		meta:    func(v *model.AgendaTemplate) *model.Meta { return &v.Meta },
		sharing: func(v *model.AgendaTemplate) model.Sharing { return v.Sharing },
	}
}

// addInsightIDs fills in the insights of a pool that the caller can see.
func (a *API) addInsightIDs(ctx context.Context, pool *model.ResourcePool) error {
	insights, err := a.Catalog.InsightsOf(ctx, pool.ID)
	if err != nil {
		return err
	}
	pool.InsightIDs = []string{}
	for _, insight := range insights {
		if authz.MayRead(caller(ctx), insight.CustomerID, insight.Sharing) {
			pool.InsightIDs = append(pool.InsightIDs, insight.ID)
		}
	}
	return nil
}

// mayJoinPool refuses to put an insight into a resource pool of others: its mappers could draw in the agendas of other customers.
func (a *API) mayJoinPool(ctx context.Context, old, next *model.Insight) error {
	if next.ResourcePoolID == "" || old != nil && old.ResourcePoolID == next.ResourcePoolID {
		return nil
	}
	pool, err := a.Catalog.ResourcePools.Get(ctx, next.ResourcePoolID)
	if err == nil && !authz.ActsFor(caller(ctx), pool.Object.CustomerID) || model.KindOf(err) == model.NotFound {
		return invalid("resourcePoolId", fmt.Sprintf("there is no resource pool %q; create it first", next.ResourcePoolID))
	}
	return err
}

// poolUsers names the insights and customers of a resource pool.
func (a *API) poolUsers(ctx context.Context, id string) (string, error) {
	var insights, customers []string
	err := a.insights().each(ctx, "", func(v *model.Insight) (bool, error) {
		if v.ResourcePoolID == id {
			insights = append(insights, v.ID)
		}
		return true, nil
	})
	if err != nil {
		return "", err
	}
	err = a.customers().each(ctx, "", func(v *model.Customer) (bool, error) {
		if v.ResourcePoolID == id {
			customers = append(customers, v.ID)
		}
		return true, nil
	})
	return named("insight", insights, named("customer", customers, "")), err
}

// liveAgendas names agendas of a customer that have not ended.
func (a *API) liveAgendas(ctx context.Context, customerID string) (string, error) {
	var ids []string
	for _, state := range []model.State{model.Executing, model.Queued, model.Waiting} {
		page, err := a.Engine.List(ctx, engine.Filter{CustomerIDs: []string{customerID}, State: state}, "", maxNamed+1)
		if err != nil {
			return "", err
		}
		for _, p := range page.Progress {
			ids = append(ids, p.ID)
		}
		if len(ids) > maxNamed {
			break
		}
	}
	return unfinished(ids), nil
}

// unfinished names agendas that have not ended.
func unfinished(ids []string) string {
	if len(ids) > maxNamed {
		return fmt.Sprintf("agendas that have not ended, such as %s; wait for them or cancel them", quoted(ids[:maxNamed]))
	}
	return named("agenda", ids, "")
}

// named returns a phrase such as insight "a" and 7 more, customer "b".
func named(noun string, ids []string, rest string) string {
	if len(ids) == 0 {
		return rest
	}
	phrase := noun + " " + quoted(ids[:min(len(ids), maxNamed)])
	if more := len(ids) - maxNamed; more > 0 {
		phrase += fmt.Sprintf(" and %d more", more)
	}
	if rest != "" {
		phrase += "; " + rest
	}
	return phrase
}

func quoted(ids []string) string { return `"` + strings.Join(ids, `", "`) + `"` }
