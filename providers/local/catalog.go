package local

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/pop-platform/pop/plugins/driver"
)

// catalog numbers the kinds and indexes of the schema. Numbers are given once and never again.
type catalog struct {
	Kinds map[driver.Kind]kindInfo `json:"kinds"`
}

type kindInfo struct {
	ID      byte            `json:"id"`
	Indexes map[string]byte `json:"indexes,omitempty"`
}

// maxIDs is how many kinds there can be, and indexes of a kind: numbers are 1 to 255.
const maxIDs = 255

// extend returns the catalog with the kinds and indexes of a schema added, and what was added in words.
func (c *catalog) extend(schema driver.Schema) (*catalog, []string, error) {
	next := &catalog{Kinds: maps.Clone(c.Kinds)}
	if next.Kinds == nil {
		next.Kinds = map[driver.Kind]kindInfo{}
	}
	var steps []string
	for _, k := range schema.Kinds {
		if k.Kind == "" {
			return nil, nil, driver.Errorf(driver.Invalid, "local: migrate", "a kind of the schema has no name")
		}
		info, ok := next.Kinds[k.Kind]
		if !ok {
			if len(next.Kinds) == maxIDs {
				return nil, nil, driver.Errorf(driver.TooLarge, "local: migrate", "more than %d kinds", maxIDs)
			}
			info.ID = byte(len(next.Kinds) + 1)
			steps = append(steps, fmt.Sprintf("add kind %s", k.Kind))
		}
		info.Indexes = maps.Clone(info.Indexes)
		for _, index := range k.Indexes {
			if _, ok := info.Indexes[index]; ok {
				continue
			}
			if index == "" {
				return nil, nil, driver.Errorf(driver.Invalid, "local: migrate", "an index of kind %s has no name", k.Kind)
			}
			if len(info.Indexes) == maxIDs {
				return nil, nil, driver.Errorf(driver.TooLarge, "local: migrate", "more than %d indexes of kind %s", maxIDs, k.Kind)
			}
			if info.Indexes == nil {
				info.Indexes = map[string]byte{}
			}
			info.Indexes[index] = byte(len(info.Indexes) + 1)
			steps = append(steps, fmt.Sprintf("add index %s of kind %s", index, k.Kind))
		}
		next.Kinds[k.Kind] = info
	}
	return next, steps, nil
}

// kind returns what is known of a declared kind.
func (c *catalog) kind(op string, k driver.Kind) (kindInfo, error) {
	info, ok := c.Kinds[k]
	if !ok {
		return kindInfo{}, driver.Errorf(driver.Invalid, op, "kind %q is in no schema that was migrated", k)
	}
	return info, nil
}

// index returns the number of a declared index.
func (i kindInfo) index(op string, k driver.Kind, name string) (byte, error) {
	id, ok := i.Indexes[name]
	if !ok {
		return 0, driver.Errorf(driver.Invalid, op, "index %q of kind %q is in no schema that was migrated", name, k)
	}
	return id, nil
}

// named returns the kind with a number.
func (c *catalog) named(id byte) (driver.Kind, bool) {
	for k, info := range c.Kinds {
		if info.ID == id {
			return k, true
		}
	}
	return "", false
}

// name returns the name of an index.
func (i kindInfo) name(id byte) (string, bool) {
	for name, n := range i.Indexes {
		if n == id {
			return name, true
		}
	}
	return "", false
}

// Migrate implements [driver.Store].
func (s *Store) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	const op = "local: migrate"
	if err := s.begin(ctx, op); err != nil {
		return driver.MigrateResponse{}, err
	}
	defer s.calls.Done()
	if err := s.disk.check(op, 0); err != nil {
		return driver.MigrateResponse{}, err
	}
	s.migrate.Lock()
	defer s.migrate.Unlock()
	next, steps, err := s.catalog.Load().extend(req.Schema)
	if err != nil || req.DryRun || len(steps) == 0 {
		return driver.MigrateResponse{Steps: steps}, err
	}
	v, err := json.Marshal(next)
	if err != nil {
		return driver.MigrateResponse{}, fault(op, err)
	}
	r, err := s.commit(op, next, func(e *evaluator) { e.set(metaCatalog, v) })
	if err != nil {
		return driver.MigrateResponse{}, err
	}
	if err := r.wait(ctx); err != nil {
		return driver.MigrateResponse{}, err
	}
	s.catalog.Store(next)
	return driver.MigrateResponse{Steps: steps}, nil
}
