package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/pop-platform/pop/core/api/wire"
)

// Collection reads and writes the objects of one type.
type Collection[T any] struct {
	client *Client
	path   string
}

// Entry is an object with the entity tag it had when it was read or written.
type Entry[T any] struct {
	Object  T
	ETag    string
	Created bool // by the Put that returned it
}

// Filter restricts a list of objects; empty fields do not.
type Filter struct {
	CustomerID     string
	Title          string
	LinkID         string
	ResourcePoolID string // of customers and insights
}

func (f Filter) query() url.Values {
	return values("customerId", f.CustomerID, "title", f.Title, "linkId", f.LinkID, "resourcePoolId", f.ResourcePoolID)
}

// Page says which page of a list to read. The zero value is the first page of the server's default size.
type Page struct {
	Cursor string // Next of the page before
	Limit  int
}

func (p Page) addTo(q url.Values) url.Values {
	if p.Cursor != "" {
		q.Set("cursor", p.Cursor)
	}
	if p.Limit > 0 {
		q.Set("limit", strconv.Itoa(p.Limit))
	}
	return q
}

// Create stores a new object. The server makes an id if the object has none.
func (c *Collection[T]) Create(ctx context.Context, object T) (Entry[T], error) {
	var e Entry[T]
	_, h, err := c.client.do(ctx, call{method: http.MethodPost, path: c.path, body: object}, &e.Object)
	e.ETag, e.Created = h.Get("ETag"), err == nil
	return e, err
}

// Get reads an object.
func (c *Collection[T]) Get(ctx context.Context, id string) (Entry[T], error) {
	var e Entry[T]
	_, h, err := c.client.do(ctx, call{method: http.MethodGet, path: c.of(id), safe: true}, &e.Object)
	e.ETag = h.Get("ETag")
	return e, err
}

// List reads one page of the objects that the caller can see, in order of their ids.
func (c *Collection[T]) List(ctx context.Context, f Filter, p Page) (wire.List[T], error) {
	var page wire.List[T]
	_, _, err := c.client.do(ctx, call{method: http.MethodGet, path: c.path, query: p.addTo(f.query()), safe: true}, &page)
	return page, err
}

// All iterates over all objects that the caller can see, in order of their ids. It ends at the first error.
func (c *Collection[T]) All(ctx context.Context, f Filter) iter.Seq2[T, error] {
	return all(func(p Page) (wire.List[T], error) { return c.List(ctx, f, p) })
}

// Put stores an object under an id, over the one that may be there. With an entity tag in ifMatch it replaces only that state
// of the object, and fails with [model.Stale] if it has changed since.
func (c *Collection[T]) Put(ctx context.Context, id string, object T, ifMatch string) (Entry[T], error) {
	return c.put(ctx, id, object, ifMatching(ifMatch), ifMatch == "")
}

// PutNew stores an object under an id that must not be taken, and fails with [model.Stale] if it is.
func (c *Collection[T]) PutNew(ctx context.Context, id string, object T) (Entry[T], error) {
	return c.put(ctx, id, object, http.Header{"If-None-Match": {"*"}}, false)
}

func (c *Collection[T]) put(ctx context.Context, id string, object T, h http.Header, safe bool) (Entry[T], error) {
	var e Entry[T]
	status, answer, err := c.client.do(ctx, call{method: http.MethodPut, path: c.of(id), header: h, body: object, safe: safe}, &e.Object)
	e.ETag, e.Created = answer.Get("ETag"), status == http.StatusCreated
	return e, err
}

// Delete removes an object. With an entity tag in ifMatch it removes only that state of the object.
func (c *Collection[T]) Delete(ctx context.Context, id, ifMatch string) error {
	_, _, err := c.client.do(ctx, call{method: http.MethodDelete, path: c.of(id), header: ifMatching(ifMatch)}, nil)
	return err
}

func (c *Collection[T]) of(id string) string { return c.path + "/" + url.PathEscape(id) }

func ifMatching(etag string) http.Header {
	if etag == "" {
		return nil
	}
	return http.Header{"If-Match": {etag}}
}

// values returns a query of the pairs whose value is not empty.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// all iterates over the items of all pages.
func all[T any](list func(Page) (wire.List[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		p := Page{Limit: wire.MaxPage}
		for {
			page, err := list(p)
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.Cursor = page.Next; p.Cursor == "" {
				return
			}
		}
	}
}
