package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
)

// part holds all objects of a kind: they are few and change rarely, and lists want them in one order.
const part = "all"

// maxPage is the largest page of [Collection.List].
const maxPage = 1000

// Entry is an object with the version it had when it was read.
type Entry[T any] struct {
	Object  T
	Version driver.Version
}

// Collection keeps the objects of one type.
type Collection[T any] struct {
	store *store.Store
	kind  driver.Kind
	noun  string // for errors
	meta  func(*T) *model.Meta
	check func(context.Context, *T) ([]model.Issue, error) // fills in defaults and validates
	index func(*T) []driver.IndexEntry                     // may be nil
	Options

	subscribers []func(id string)

	mu     sync.Mutex
	byID   map[string]cached[T]
	all    []Entry[T]
	listed time.Time // when all was read; zero if it is out of date
	epoch  int       // counts changes that are known of, so that a read that was overtaken by one is not cached
}

type cached[T any] struct {
	entry Entry[T]
	read  time.Time
}

func (o Options) withDefaults() Options {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	if o.CacheFor == 0 {
		o.CacheFor = 2 * time.Second
	}
	return o
}

func newCollection[T any](st *store.Store, o Options, kind driver.Kind, noun string, meta func(*T) *model.Meta) *Collection[T] {
	return &Collection[T]{store: st, kind: kind, noun: noun, meta: meta, Options: o, byID: map[string]cached[T]{}}
}

// Subscribe has f called after every change that is made through this collection, with the object's id. It must not be called once
// the collection is in use.
func (c *Collection[T]) Subscribe(f func(id string)) { c.subscribers = append(c.subscribers, f) }

// Epoch counts the changes made through this collection or known of. It has grown before subscribers are told of a change.
func (c *Collection[T]) Epoch() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// Get returns an object, possibly from memory.
func (c *Collection[T]) Get(ctx context.Context, id string) (Entry[T], error) {
	c.mu.Lock()
	hit, ok := c.byID[id]
	epoch := c.epoch
	c.mu.Unlock()
	if ok && c.Now().Sub(hit.read) < c.CacheFor {
		return hit.entry, nil
	}
	entry, err := c.Read(ctx, id)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.epoch != epoch:
	case err == nil:
		c.byID[id] = cached[T]{entry, c.Now()}
	case model.KindOf(err) == model.NotFound:
		delete(c.byID, id)
	}
	return entry, err
}

// Prefetch reads into memory those of the objects that are not there, or for too long, all in one call, so that [Collection.Get] finds
// them. What is absent or cannot be decoded is left to Get to tell.
func (c *Collection[T]) Prefetch(ctx context.Context, ids ...string) error {
	c.mu.Lock()
	keys := make([]driver.Key, 0, len(ids))
	asked := make(map[string]bool, len(ids))
	for _, id := range ids {
		if hit, ok := c.byID[id]; !asked[id] && (!ok || c.Now().Sub(hit.read) >= c.CacheFor) {
			asked[id] = true
			keys = append(keys, c.key(id))
		}
	}
	epoch := c.epoch
	c.mu.Unlock()
	records, err := c.store.Get(ctx, keys...)
	if err != nil {
		return fmt.Errorf("read %d %ss: %w", len(keys), c.noun, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch {
		return nil // one of them may have changed
	}
	for i, record := range records {
		if record == nil {
			continue
		}
		if entry, err := c.decode(*record); err == nil {
			c.byID[keys[i].Sort] = cached[T]{entry, c.Now()}
		}
	}
	return nil
}

// Read returns an object as it is in the store.
func (c *Collection[T]) Read(ctx context.Context, id string) (Entry[T], error) {
	if issues := model.ValidateID("id", id); len(issues) > 0 {
		return Entry[T]{}, c.notFound(id)
	}
	record, err := c.store.GetOne(ctx, c.key(id))
	if err != nil {
		return Entry[T]{}, fmt.Errorf("read %s %q: %w", c.noun, id, err)
	}
	if record == nil {
		return Entry[T]{}, c.notFound(id)
	}
	return c.decode(*record)
}

// List returns objects in order of their ids, those after the given id, and the id to go on after, "" at the end.
func (c *Collection[T]) List(ctx context.Context, after string, limit int) (entries []Entry[T], next string, err error) {
	from := ""
	if after != "" {
		from = after + "\x01" // the least string behind after: ids hold no control characters
	}
	limit = min(max(limit, 1), maxPage)
	for record, err := range c.store.Scan(ctx, driver.ScanRequest{Kind: c.kind, Part: part, From: from, Limit: limit + 1}) {
		if err != nil {
			return nil, "", fmt.Errorf("list %ss: %w", c.noun, err)
		}
		if len(entries) == limit {
			return entries, c.meta(&entries[limit-1].Object).ID, nil
		}
		entry, err := c.decode(record)
		if err != nil {
			return nil, "", err
		}
		entries = append(entries, entry)
	}
	return entries, "", nil
}

// All returns all objects in order of their ids, possibly from memory. It is meant for types with few objects.
func (c *Collection[T]) All(ctx context.Context) ([]Entry[T], error) {
	c.mu.Lock()
	all, fresh, epoch := c.all, !c.listed.IsZero() && c.Now().Sub(c.listed) < c.CacheFor, c.epoch
	c.mu.Unlock()
	if fresh {
		return all, nil
	}
	all = nil
	for after := ""; ; {
		page, next, err := c.List(ctx, after, maxPage)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if after = next; next == "" {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == epoch {
		c.all, c.listed = all, c.Now()
	}
	return all, nil
}

// Create stores a new object, generating its id if it has none.
func (c *Collection[T]) Create(ctx context.Context, object T) (Entry[T], error) {
	meta := c.meta(&object)
	if meta.ID == "" {
		meta.ID = c.NewID()
	}
	meta.AddedTime = c.Now().UTC()
	entry, err := c.write(ctx, object, driver.Op{Cond: driver.IfAbsent})
	if driver.IsConflict(err) {
		return Entry[T]{}, model.Errorf(model.Conflict, "there is already a %s with id %q", c.noun, meta.ID)
	}
	return entry, err
}

// Replace stores an object over the one with its id. If ifMatch is not empty, it must be the version of that one.
func (c *Collection[T]) Replace(ctx context.Context, object T, ifMatch driver.Version) (Entry[T], error) {
	id := c.meta(&object).ID
	for {
		old, err := c.Read(ctx, id)
		if err != nil {
			return Entry[T]{}, err
		}
		if ifMatch != "" && ifMatch != old.Version {
			return Entry[T]{}, c.stale(id)
		}
		c.meta(&object).AddedTime = c.meta(&old.Object).AddedTime
		entry, err := c.write(ctx, object, driver.Op{Cond: driver.IfVersion, Version: old.Version})
		if !driver.IsConflict(err) {
			return entry, err
		}
	}
}

// Delete removes an object. If ifMatch is not empty, it must be the object's version.
func (c *Collection[T]) Delete(ctx context.Context, id string, ifMatch driver.Version) error {
	if _, err := c.Read(ctx, id); err != nil {
		return err
	}
	op := driver.Op{Type: driver.Delete, Record: driver.Record{Key: c.key(id)}}
	if ifMatch != "" {
		op.Cond, op.Version = driver.IfVersion, ifMatch
	}
	_, err := c.store.WriteOne(ctx, op)
	c.changed(id)
	if driver.IsConflict(err) {
		return c.stale(id)
	}
	if err != nil {
		return fmt.Errorf("delete %s %q: %w", c.noun, id, err)
	}
	return nil
}

func (c *Collection[T]) write(ctx context.Context, object T, op driver.Op) (Entry[T], error) {
	meta := c.meta(&object)
	issues, err := c.check(ctx, &object)
	if err != nil {
		return Entry[T]{}, err
	}
	if len(issues) > 0 {
		return Entry[T]{}, &model.Error{Kind: model.Invalid, Detail: fmt.Sprintf("%s %q is not valid", c.noun, meta.ID), Issues: issues}
	}
	meta.UpdatedTime = c.Now().UTC()
	body, err := json.Marshal(object)
	if err != nil {
		return Entry[T]{}, fmt.Errorf("encode %s %q: %w", c.noun, meta.ID, err)
	}
	if limit := c.store.Capabilities().MaxRecordBytes; len(body) > limit {
		return Entry[T]{}, model.Errorf(model.TooLarge, "%s %q is %d bytes, the store takes at most %d", c.noun, meta.ID, len(body), limit)
	}
	op.Type, op.Record = driver.Put, driver.Record{Key: c.key(meta.ID), Body: body}
	if c.index != nil {
		op.Record.Index = c.index(&object)
	}
	versions, err := c.store.WriteOne(ctx, op)
	c.changed(meta.ID)
	if err != nil {
		return Entry[T]{}, fmt.Errorf("write %s %q: %w", c.noun, meta.ID, err)
	}
	return Entry[T]{object, versions[0]}, nil
}

// Forget drops what memory holds about an object that another process has changed.
func (c *Collection[T]) Forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byID, id)
	c.listed = time.Time{}
	c.epoch++
}

// changed forgets an object that may have changed, and tells those who want to know.
func (c *Collection[T]) changed(id string) {
	c.Forget(id)
	for _, f := range c.subscribers {
		f(id)
	}
}

func (c *Collection[T]) key(id string) driver.Key {
	return driver.Key{Kind: c.kind, Part: part, Sort: id}
}

func (c *Collection[T]) decode(r driver.Record) (Entry[T], error) {
	var object T
	if err := json.Unmarshal(r.Body, &object); err != nil {
		return Entry[T]{}, driver.Errorf(driver.Corrupt, "catalog", "%s %q: %w", c.noun, r.Key.Sort, err)
	}
	return Entry[T]{object, r.Version}, nil
}

func (c *Collection[T]) notFound(id string) error {
	return model.Errorf(model.NotFound, "there is no %s %q", c.noun, id)
}

func (c *Collection[T]) stale(id string) error {
	return model.Errorf(model.Stale, "%s %q has changed since it was read; read it again", c.noun, id)
}
