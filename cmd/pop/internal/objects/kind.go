package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"time"

	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/strict"
)

// Kind is a type of object.
type Kind interface {
	// Name is what manifests call the kind: ResourcePool.
	Name() string
	// Noun is what commands call it: pool.
	Noun() string
	// Header returns the titles of a table's columns.
	Header() []string
	// Decode reads an object from a parsed document without its kind, and validates it.
	Decode(doc map[string]any) (Object, []model.Issue)
	// Get reads an object and its entity tag.
	Get(ctx context.Context, c *client.Client, id string) (Object, string, error)
	// All iterates over the objects that match, in order of their ids.
	All(ctx context.Context, c *client.Client, f client.Filter) iter.Seq2[Object, error]
	// Put stores an object over the one with its id, if there is one.
	Put(ctx context.Context, c *client.Client, o Object) (stored Object, created bool, err error)
	// Replace stores an object over the state of it that had an entity tag, or as a new one if the tag is empty.
	Replace(ctx context.Context, c *client.Client, o Object, etag string) error
	// Delete removes an object.
	Delete(ctx context.Context, c *client.Client, id string) error
}

// Object is an object of any kind.
type Object struct {
	Kind  Kind
	ID    string
	Value any      // a model.Customer, model.ResourcePool, model.Insight or model.AgendaTemplate
	Pool  string   // id of the resource pool that it names, if any
	Cells []string // of its row in a table
}

// kind is the kind of the objects of type T.
type kind[T any] struct {
	name, noun string
	header     []string
	cells      func(*T) []string
	collection func(*client.Client) *client.Collection[T]
	meta       func(*T) *model.Meta
	pool       func(*T) string
	complete   func(T) T // fills in defaults
	validate   func(*T) []model.Issue
}

func (k *kind[T]) Name() string     { return k.name }
func (k *kind[T]) Noun() string     { return k.noun }
func (k *kind[T]) Header() []string { return k.header }

func (k *kind[T]) object(v T) Object {
	return Object{Kind: k, ID: k.meta(&v).ID, Value: v, Pool: k.pool(&v), Cells: k.cells(&v)}
}

func (k *kind[T]) Decode(doc map[string]any) (Object, []model.Issue) {
	var v T
	if issues := strict.Decode(doc, &v); len(issues) > 0 {
		id, _ := doc["id"].(string) // so that what refers to the object does not seem to be wrong as well
		return Object{Kind: k, ID: id}, issues
	}
	v = k.complete(v)
	issues := k.validate(&v)
	if k.meta(&v).ID == "" {
		issues = append([]model.Issue{{Path: "id", Message: "is missing; give the object an id, so that applying it again finds it"}}, issues...)
	}
	return k.object(v), issues
}

func (k *kind[T]) Get(ctx context.Context, c *client.Client, id string) (Object, string, error) {
	e, err := k.collection(c).Get(ctx, id)
	return k.object(e.Object), e.ETag, err
}

func (k *kind[T]) All(ctx context.Context, c *client.Client, f client.Filter) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for v, err := range k.collection(c).All(ctx, f) {
			if !yield(k.object(v), err) {
				return
			}
		}
	}
}

func (k *kind[T]) Put(ctx context.Context, c *client.Client, o Object) (Object, bool, error) {
	v, err := k.value(o)
	if err != nil {
		return Object{}, false, err
	}
	e, err := k.collection(c).Put(ctx, o.ID, v, "")
	return k.object(e.Object), e.Created, err
}

func (k *kind[T]) Replace(ctx context.Context, c *client.Client, o Object, etag string) error {
	v, err := k.value(o)
	if err != nil {
		return err
	}
	if etag == "" {
		_, err = k.collection(c).PutNew(ctx, o.ID, v)
	} else {
		_, err = k.collection(c).Put(ctx, o.ID, v, etag)
	}
	return err
}

func (k *kind[T]) Delete(ctx context.Context, c *client.Client, id string) error {
	return k.collection(c).Delete(ctx, id, "")
}

// value returns the object's value without what only the server sets.
func (k *kind[T]) value(o Object) (T, error) {
	v, ok := o.Value.(T)
	if !ok {
		return v, fmt.Errorf("a %T is not a %s", o.Value, k.name)
	}
	m := k.meta(&v)
	m.AddedTime, m.UpdatedTime = time.Time{}, time.Time{}
	return v, nil
}

// Same reports whether storing an object would leave the one that is stored as it is. What the server fills in does not count.
func Same(want, stored Object) bool {
	a, errA := plainForm(want.Value)
	b, errB := plainForm(stored.Value)
	if errA != nil || errB != nil {
		return false
	}
	for _, field := range []string{"addedTime", "updatedTime", "insightIds"} {
		delete(a, field)
		delete(b, field)
	}
	return reflect.DeepEqual(a, b)
}

// plainForm returns a value in a form in which the spelling of its JSON does not count.
func plainForm(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&fields)
	return fields, err
}
