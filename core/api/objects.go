package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pop-platform/pop/core/api/wire"
	"github.com/pop-platform/pop/core/authz"
	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// objects serves the objects of one type of the catalog.
type objects[T any] struct {
	api        *API
	collection *catalog.Collection[T]
	path       string // such as /v1/customers
	noun       string // such as customer
	meta       func(*T) *model.Meta
	sharing    func(*T) model.Sharing                               // nil if objects of the type are not shared
	poolID     func(*T) string                                      // nil if objects of the type are in no resource pool
	own        func(*T)                                             // names the owner if it follows from the object; nil if it does not
	mayWrite   func(ctx context.Context, old, next *T) error        // what else a change needs; nil for nothing. Old is nil for a new object
	complete   func(ctx context.Context, v *T) error                // fills in what is not stored; nil for nothing
	users      func(ctx context.Context, id string) (string, error) // names what still needs the object; nil if nothing ever does
}

type idInput struct {
	ID string `path:"id" doc:"Any characters, percent-encoded."`
}

type getInput struct {
	ID          string `path:"id"`
	IfNoneMatch string `header:"If-None-Match" doc:"Entity tags that the caller has; if the object still has one of them the answer is 304."`
}

type deleteInput struct {
	ID      string `path:"id"`
	IfMatch string `header:"If-Match" doc:"Do it only if the object has one of these entity tags; * for any."`
}

type createInput[T any] struct {
	Body T
}

type putInput[T any] struct {
	ID string `path:"id"`
	Conditions
	Body T
}

// ListInput are the query parameters of a list of objects.
type ListInput struct {
	Paging
	CustomerID string `query:"customerId" doc:"Only those that this customer owns."`
	Title      string `query:"title" doc:"Only those with this title."`
	LinkID     string `query:"linkId" doc:"Only those with this linkId."`
}

type pooledListInput struct {
	ListInput
	ResourcePoolID string `query:"resourcePoolId" doc:"Only those of this resource pool."`
}

type objectOutput[T any] struct {
	Status   int
	ETag     string `header:"ETag" doc:"Changes with every change of the object."`
	Location string `header:"Location" doc:"Path of a new object."`
	Body     T
}

type listOutput[T any] struct {
	Body wire.List[T]
}

// add registers the operations.
func (o *objects[T]) add() {
	tag := strings.TrimPrefix(o.path, "/v1/")
	op := func(method, path, summary string, role driver.Role) huma.Operation {
		id := strings.ReplaceAll(summary, " ", "-")
		return operation(method, o.path+path, id, strings.ToUpper(summary[:1])+summary[1:], tag, access{role: role})
	}
	create := op(http.MethodPost, "", "create "+o.noun, driver.RoleOperate)
	create.DefaultStatus = http.StatusCreated
	register(o.api, create, o.create)

	list := op(http.MethodGet, "", "list "+o.noun+"s", driver.RoleRead)
	list.Description = "In order of their ids. A page is full as long as there are more that the caller can see."
	if o.poolID == nil {
		register(o.api, list, func(ctx context.Context, in *ListInput) (*listOutput[T], error) { return o.list(ctx, in, "") })
	} else {
		register(o.api, list, func(ctx context.Context, in *pooledListInput) (*listOutput[T], error) {
			return o.list(ctx, &in.ListInput, in.ResourcePoolID)
		})
	}

	get := op(http.MethodGet, "/{id}", "get "+o.noun, driver.RoleRead)
	answer[nothing](o.api, &get, http.StatusNotModified)
	register(o.api, get, o.get)

	put := op(http.MethodPut, "/{id}", "put "+o.noun, driver.RoleOperate)
	put.Description = "Replaces the whole object, or creates it with this id."
	answer[T](o.api, &put, http.StatusCreated)
	register(o.api, put, o.put)

	register(o.api, op(http.MethodDelete, "/{id}", "delete "+o.noun, driver.RoleOperate), o.delete)
}

func (o *objects[T]) create(ctx context.Context, in *createInput[T]) (*objectOutput[T], error) {
	if err := o.checkWrite(ctx, nil, &in.Body); err != nil {
		return nil, err
	}
	entry, err := o.collection.Create(ctx, in.Body)
	if err != nil {
		return nil, err
	}
	return o.output(ctx, entry, http.StatusCreated)
}

func (o *objects[T]) list(ctx context.Context, in *ListInput, poolID string) (*listOutput[T], error) {
	after, err := in.position()
	if err != nil {
		return nil, err
	}
	page := wire.List[T]{Items: []T{}}
	last := ""
	err = o.each(ctx, after, func(v *T) (bool, error) {
		m := o.meta(v)
		switch {
		case !o.mayRead(ctx, v),
			in.CustomerID != "" && !model.SameCustomer(in.CustomerID, m.CustomerID),
			in.Title != "" && in.Title != m.Title,
			in.LinkID != "" && in.LinkID != m.LinkID,
			poolID != "" && poolID != o.poolID(v):
			return true, nil
		case len(page.Items) == in.Limit:
			page.Next = cursorTo(last)
			return false, nil
		}
		last = m.ID
		if err := o.fill(ctx, v); err != nil {
			return false, err
		}
		page.Items = append(page.Items, *v)
		return true, nil
	})
	return &listOutput[T]{Body: page}, err
}

// each visits all objects after an id in order, until visit returns false.
func (o *objects[T]) each(ctx context.Context, after string, visit func(*T) (bool, error)) error {
	for {
		entries, next, err := o.collection.List(ctx, after, wire.MaxPage)
		if err != nil {
			return err
		}
		for i := range entries {
			if more, err := visit(&entries[i].Object); err != nil || !more {
				return err
			}
		}
		if after = next; after == "" {
			return nil
		}
	}
}

func (o *objects[T]) get(ctx context.Context, in *getInput) (*objectOutput[T], error) {
	entry, err := o.read(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if in.IfNoneMatch != "" && matches(in.IfNoneMatch, entry.Version) {
		return &objectOutput[T]{Status: http.StatusNotModified, ETag: etag(entry.Version)}, nil
	}
	return o.output(ctx, entry, http.StatusOK)
}

// put replaces the state of the object that it has checked the caller's rights on, and starts again if there is another by then.
func (o *objects[T]) put(ctx context.Context, in *putInput[T]) (*objectOutput[T], error) {
	m := o.meta(&in.Body)
	if m.ID != "" && m.ID != in.ID {
		return nil, invalid("id", fmt.Sprintf("is %q; it must be absent or the id in the path, %q", m.ID, in.ID))
	}
	m.ID = in.ID
	for {
		old, err := o.read(ctx, in.ID)
		isNew := model.KindOf(err) == model.NotFound
		if err != nil && !isNew {
			return nil, err
		}
		if err := in.check(old.Version); err != nil {
			return nil, err
		}
		if isNew {
			if err := o.checkWrite(ctx, nil, &in.Body); err != nil {
				return nil, err
			}
			entry, err := o.collection.Create(ctx, in.Body)
			if model.KindOf(err) == model.Conflict {
				if _, err := o.read(ctx, in.ID); err == nil {
					continue // created by another in between
				}
			}
			if err != nil {
				return nil, err // there is one that the caller can't see, or another failure
			}
			return o.output(ctx, entry, http.StatusCreated)
		}
		if err := o.checkWrite(ctx, &old.Object, &in.Body); err != nil {
			return nil, err
		}
		entry, err := o.collection.Replace(ctx, in.Body, old.Version)
		if changedInBetween(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return o.output(ctx, entry, http.StatusOK)
	}
}

func (o *objects[T]) delete(ctx context.Context, in *deleteInput) (*struct{}, error) {
	for {
		old, err := o.read(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		if err := (Conditions{IfMatch: in.IfMatch}).check(old.Version); err != nil {
			return nil, err
		}
		if err := o.checkOwner(ctx, &old.Object); err != nil {
			return nil, err
		}
		if err := o.checkUnused(ctx, in.ID); err != nil {
			return nil, err
		}
		if err := o.collection.Delete(ctx, in.ID, old.Version); !changedInBetween(err) {
			return nil, err
		}
	}
}

// changedInBetween reports whether an object is no longer in the state in which it was checked: it has changed, or has gone.
func changedInBetween(err error) bool {
	kind := model.KindOf(err)
	return err != nil && (kind == model.Stale || kind == model.NotFound)
}

// read returns an object if the caller can see it.
func (o *objects[T]) read(ctx context.Context, id string) (catalog.Entry[T], error) {
	entry, err := o.collection.Read(ctx, id)
	if err == nil && !o.mayRead(ctx, &entry.Object) {
		return catalog.Entry[T]{}, model.Errorf(model.NotFound, "there is no %s %q", o.noun, id)
	}
	return entry, err
}

func (o *objects[T]) mayRead(ctx context.Context, v *T) bool {
	var s model.Sharing
	if o.sharing != nil {
		s = o.sharing(v)
	}
	return authz.MayRead(caller(ctx), o.meta(v).CustomerID, s)
}

// checkWrite refuses a change that the caller has no right to. Old is nil for a new object.
func (o *objects[T]) checkWrite(ctx context.Context, old, next *T) error {
	if old != nil {
		if err := o.checkOwner(ctx, old); err != nil {
			return err
		}
	}
	if o.own != nil {
		o.own(next)
	}
	defaultOwner(ctx, o.meta(next))
	if err := checkCustomer(ctx, o.meta(next).CustomerID); err != nil {
		return err
	}
	if o.mayWrite == nil {
		return nil
	}
	return o.mayWrite(ctx, old, next)
}

// checkOwner refuses a change of an object that the caller can see but does not own.
func (o *objects[T]) checkOwner(ctx context.Context, v *T) error {
	m := o.meta(v)
	if authz.ActsFor(caller(ctx), m.CustomerID) {
		return nil
	}
	return model.Errorf(model.Forbidden, "%s %q is shared with you; only its owner may change it", o.noun, m.ID)
}

// checkUnused refuses to delete an object that others need.
func (o *objects[T]) checkUnused(ctx context.Context, id string) error {
	if o.users == nil {
		return nil
	}
	users, err := o.users(ctx, id)
	if err == nil && users != "" {
		err = model.Errorf(model.Conflict, "%s %q is in use by %s", o.noun, id, users)
	}
	return err
}

func (o *objects[T]) fill(ctx context.Context, v *T) error {
	if o.complete == nil {
		return nil
	}
	return o.complete(ctx, v)
}

func (o *objects[T]) output(ctx context.Context, entry catalog.Entry[T], status int) (*objectOutput[T], error) {
	out := &objectOutput[T]{Status: status, ETag: etag(entry.Version), Body: entry.Object}
	if status == http.StatusCreated {
		out.Location = o.path + "/" + url.PathEscape(o.meta(&out.Body).ID)
	}
	return out, o.fill(ctx, &out.Body)
}

// defaultOwner makes a caller that acts for just one customer the owner of what has none.
func defaultOwner(ctx context.Context, m *model.Meta) {
	if p := caller(ctx); m.CustomerID == "" && !p.Global && len(p.Customers) == 1 {
		m.CustomerID = p.Customers[0]
	}
}

// checkCustomer refuses what is to belong to a customer that the caller does not act for. That a global caller names none is for
// the object's validation to report.
func checkCustomer(ctx context.Context, customerID string) error {
	p := caller(ctx)
	switch {
	case authz.ActsFor(p, customerID):
		return nil
	case customerID == "":
		return invalid("customerId", "is missing; name the customer that owns it")
	}
	return model.Errorf(model.Forbidden, "%s does not act for customer %q", p.Subject, customerID)
}

func invalid(path, message string) error {
	return &model.Error{Kind: model.Invalid, Detail: "the request is not valid", Issues: []model.Issue{{Path: path, Message: message}}}
}
