package catalog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
)

// The kinds of record that the catalog stores.
const (
	kindCustomer driver.Kind = "customer"
	kindPool     driver.Kind = "pool"
	kindInsight  driver.Kind = "insight"
	kindTemplate driver.Kind = "template"
)

// Schema returns the kinds of record that the catalog stores.
func Schema() []driver.KindSchema {
	return []driver.KindSchema{{Kind: kindCustomer, Indexes: []string{indexFolded}}, {Kind: kindPool}, {Kind: kindInsight}, {Kind: kindTemplate}}
}

// indexFolded finds customers by their ids in lower case.
const indexFolded = "folded"

// Catalog holds one collection for each type of object.
type Catalog struct {
	Customers       *Collection[model.Customer]
	ResourcePools   *Collection[model.ResourcePool]
	Insights        *Collection[model.Insight]
	AgendaTemplates *Collection[model.AgendaTemplate]
}

// Options are the optional parts of a [Catalog].
type Options struct {
	Now   func() time.Time // default time.Now
	NewID func() string    // default a random UUID
	// CacheFor is how long an object may be served from memory after another process has changed it. Default 2 seconds.
	CacheFor time.Duration
}

// New returns the catalog in a store.
func New(st *store.Store, o Options) *Catalog {
	o = o.withDefaults()
	c := &Catalog{}
	c.Customers = newCollection(st, o, kindCustomer, "customer", func(v *model.Customer) *model.Meta { return &v.Meta })
	c.ResourcePools = newCollection(st, o, kindPool, "resource pool", func(v *model.ResourcePool) *model.Meta { return &v.Meta })
	c.Insights = newCollection(st, o, kindInsight, "insight", func(v *model.Insight) *model.Meta { return &v.Meta })
	c.AgendaTemplates = newCollection(st, o, kindTemplate, "agenda template", func(v *model.AgendaTemplate) *model.Meta { return &v.Meta })

	c.Customers.index = func(v *model.Customer) []driver.IndexEntry {
		return []driver.IndexEntry{{Index: indexFolded, Part: strings.ToLower(v.ID), Sort: v.ID}}
	}
	c.Customers.check = func(ctx context.Context, v *model.Customer) ([]model.Issue, error) {
		*v = v.WithDefaults()
		issues, err := c.withPool(ctx, v.Validate(), v.ResourcePoolID)
		if err != nil {
			return nil, err
		}
		return c.withoutTwin(ctx, issues, v)
	}
	c.ResourcePools.check = func(_ context.Context, v *model.ResourcePool) ([]model.Issue, error) {
		v.InsightIDs = nil // computed on read
		return v.Validate(), nil
	}
	c.Insights.check = func(ctx context.Context, v *model.Insight) ([]model.Issue, error) {
		*v = v.WithDefaults()
		issues, err := c.withPool(ctx, v.Validate(), v.ResourcePoolID)
		if err != nil {
			return nil, err
		}
		return c.withOwnQueue(ctx, issues, v)
	}
	c.AgendaTemplates.check = func(_ context.Context, v *model.AgendaTemplate) ([]model.Issue, error) {
		*v = v.WithDefaults()
		return v.Validate(), nil
	}
	return c
}

// withPool adds an issue if a resource pool is named that does not exist.
func (c *Catalog) withPool(ctx context.Context, issues []model.Issue, poolID string) ([]model.Issue, error) {
	if poolID == "" {
		return issues, nil
	}
	_, err := c.ResourcePools.Get(ctx, poolID)
	if model.KindOf(err) == model.NotFound {
		return append(issues, model.Issue{Path: "resourcePoolId", Message: fmt.Sprintf("there is no resource pool %q; create it first", poolID)}), nil
	}
	return issues, err
}

// withoutTwin adds an issue if there is a customer whose id differs only in case: case does not matter for who may see what.
func (c *Catalog) withoutTwin(ctx context.Context, issues []model.Issue, customer *model.Customer) ([]model.Issue, error) {
	if len(issues) > 0 {
		return issues, nil // the id may not even be one
	}
	req := driver.ScanRequest{Kind: kindCustomer, Index: indexFolded, Part: strings.ToLower(customer.ID)}
	for found, err := range c.Customers.store.Scan(ctx, req) {
		if err != nil {
			return nil, fmt.Errorf("look for customers like %q: %w", customer.ID, err)
		}
		if id := found.Key.Sort; id != customer.ID {
			issues = append(issues, model.Issue{Path: "id", Message: fmt.Sprintf("differs only in case from that of customer %q; choose another", id)})
		}
	}
	return issues, nil
}

// withOwnQueue adds an issue if another insight has the same queue: the pullers of one would take the agendas of the other.
func (c *Catalog) withOwnQueue(ctx context.Context, issues []model.Issue, insight *model.Insight) ([]model.Issue, error) {
	all, err := c.Insights.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, other := range all {
		if other.Object.ID != insight.ID && other.Object.QueueName == insight.QueueName {
			issues = append(issues, model.Issue{Path: "queueName", Message: fmt.Sprintf("%q is the queue of another insight; choose another or leave it out", insight.QueueName)})
		}
	}
	return issues, nil
}

// InsightsOf returns the insights of a resource pool, in order of their ids.
func (c *Catalog) InsightsOf(ctx context.Context, poolID string) ([]model.Insight, error) {
	all, err := c.Insights.All(ctx)
	if err != nil {
		return nil, err
	}
	var insights []model.Insight
	for _, entry := range all {
		if entry.Object.ResourcePoolID == poolID {
			insights = append(insights, entry.Object)
		}
	}
	return insights, nil
}
