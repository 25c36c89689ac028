package host

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
)

// measureStore returns a store whose calls are measured; s itself if there is nothing to measure with.
func measureStore(s driver.Store, m *Metrics, plugin string) driver.Store {
	if m == nil {
		return s
	}
	return &measuredStore{
		Store: s, migrate: m.meter(plugin, "store.migrate"), get: m.meter(plugin, "store.get"), scan: m.meter(plugin, "store.scan"),
		write: m.meter(plugin, "store.write"),
	}
}

type measuredStore struct {
	driver.Store
	migrate, get, scan, write meter
}

func (s *measuredStore) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	return measure(&s.migrate, func() (driver.MigrateResponse, error) { return s.Store.Migrate(ctx, req) })
}

func (s *measuredStore) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return measure(&s.get, func() (driver.GetResponse, error) { return s.Store.Get(ctx, req) })
}

func (s *measuredStore) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	return measure(&s.scan, func() (driver.ScanResponse, error) { return s.Store.Scan(ctx, req) })
}

func (s *measuredStore) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	return measure(&s.write, func() (driver.WriteResponse, error) { return s.Store.Write(ctx, req) })
}

// measureQueue returns a queue whose calls are measured; q itself if there is nothing to measure with.
func measureQueue(q driver.Queue, m *Metrics, plugin string) driver.Queue {
	if m == nil {
		return q
	}
	return &measuredQueue{
		Queue: q, ensure: m.meter(plugin, "queue.ensure"), send: m.meter(plugin, "queue.send"), receive: m.meter(plugin, "queue.receive"),
		ack: m.meter(plugin, "queue.ack"), depth: m.meter(plugin, "queue.depth"), purge: m.meter(plugin, "queue.purge"),
	}
}

type measuredQueue struct {
	driver.Queue
	ensure, send, receive, ack, depth, purge meter
}

func (q *measuredQueue) Ensure(ctx context.Context, req driver.EnsureRequest) error {
	return measureOnly(&q.ensure, func() error { return q.Queue.Ensure(ctx, req) })
}

func (q *measuredQueue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	return measure(&q.send, func() (driver.SendResponse, error) { return q.Queue.Send(ctx, req) })
}

func (q *measuredQueue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	return measure(&q.receive, func() (driver.ReceiveResponse, error) { return q.Queue.Receive(ctx, req) })
}

func (q *measuredQueue) Ack(ctx context.Context, req driver.AckRequest) error {
	return measureOnly(&q.ack, func() error { return q.Queue.Ack(ctx, req) })
}

func (q *measuredQueue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	return measure(&q.depth, func() (driver.DepthResponse, error) { return q.Queue.Depth(ctx, req) })
}

func (q *measuredQueue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	return measureOnly(&q.purge, func() error { return q.Queue.Purge(ctx, req) })
}

// measureAuthorizer returns an authorizer whose calls are measured; a itself if there is nothing to measure with.
func measureAuthorizer(a driver.Authorizer, m *Metrics, plugin string) driver.Authorizer {
	if m == nil {
		return a
	}
	return &measuredAuthorizer{Authorizer: a, authenticate: m.meter(plugin, "authorizer.authenticate")}
}

type measuredAuthorizer struct {
	driver.Authorizer
	authenticate meter
}

func (a *measuredAuthorizer) Authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	return measure(&a.authenticate, func() (driver.Principal, error) { return a.Authorizer.Authenticate(ctx, req) })
}

func measureOnly(m *meter, call func() error) error {
	_, err := measure(m, func() (struct{}, error) { return struct{}{}, call() })
	return err
}
