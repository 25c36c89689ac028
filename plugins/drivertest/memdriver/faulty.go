package memdriver

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
)

// FaultyStore is a [driver.Store] whose calls are counted and fail as a test wants.
type FaultyStore struct {
	faults
	store driver.Store
}

// NewFaultyStore wraps a store. The hook is asked about every call but Capabilities and Close, from many goroutines; nil
// only counts.
func NewFaultyStore(store driver.Store, hook func(Call) Fault) *FaultyStore {
	return &FaultyStore{faults: faults{hook: hook, counts: Counts{}}, store: store}
}

// Capabilities implements [driver.Store].
func (s *FaultyStore) Capabilities(ctx context.Context) (driver.StoreCapabilities, error) {
	return s.store.Capabilities(ctx)
}

// Migrate implements [driver.Store].
func (s *FaultyStore) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	return do(ctx, &s.faults, Migrate, req,
		func(Fault) (driver.MigrateResponse, int, error) {
			resp, err := s.store.Migrate(ctx, req)
			return resp, len(resp.Steps), err
		})
}

// Get implements [driver.Store].
func (s *FaultyStore) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	return do(ctx, &s.faults, Get, req,
		func(Fault) (driver.GetResponse, int, error) {
			resp, err := s.store.Get(ctx, req)
			return resp, len(req.Keys), err
		})
}

// Scan implements [driver.Store].
func (s *FaultyStore) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	return do(ctx, &s.faults, Scan, req,
		func(Fault) (driver.ScanResponse, int, error) {
			resp, err := s.store.Scan(ctx, req)
			return resp, len(resp.Records), err
		})
}

// Write implements [driver.Store].
func (s *FaultyStore) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	return do(ctx, &s.faults, Write, req,
		func(fault Fault) (driver.WriteResponse, int, error) { return s.write(ctx, req, fault) })
}

func (s *FaultyStore) write(ctx context.Context, req driver.WriteRequest, fault Fault) (driver.WriteResponse, int, error) {
	results := make([]driver.WriteResult, len(req.Groups))
	var made []driver.Group
	var places []int // of the groups made, in results
	ops := 0
	for i, g := range req.Groups {
		if f := fault.each(i); f.Err != nil {
			results[i].Err = f.Err
			if !f.Lost {
				continue
			}
		}
		made, places = append(made, g), append(places, i)
		ops += len(g)
	}
	resp, err := s.store.Write(ctx, driver.WriteRequest{Groups: made})
	if err != nil {
		return driver.WriteResponse{}, ops, err
	}
	for i, place := range places {
		if results[place].Err == nil {
			results[place] = resp.Results[i]
		}
	}
	return driver.WriteResponse{Results: results}, ops, nil
}

// Close implements [driver.Store].
func (s *FaultyStore) Close(ctx context.Context) error { return s.store.Close(ctx) }

// FaultyQueue is a [driver.Queue] whose calls are counted and fail as a test wants.
type FaultyQueue struct {
	faults
	queue driver.Queue
}

// NewFaultyQueue wraps a queue. The hook is asked about every call but Capabilities and Close, from many goroutines; nil
// only counts.
func NewFaultyQueue(queue driver.Queue, hook func(Call) Fault) *FaultyQueue {
	return &FaultyQueue{faults: faults{hook: hook, counts: Counts{}}, queue: queue}
}

// Capabilities implements [driver.Queue].
func (q *FaultyQueue) Capabilities(ctx context.Context) (driver.QueueCapabilities, error) {
	return q.queue.Capabilities(ctx)
}

// Ensure implements [driver.Queue].
func (q *FaultyQueue) Ensure(ctx context.Context, req driver.EnsureRequest) error {
	_, err := do(ctx, &q.faults, Ensure, req,
		func(Fault) (struct{}, int, error) { return struct{}{}, 1, q.queue.Ensure(ctx, req) })
	return err
}

// Send implements [driver.Queue].
func (q *FaultyQueue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	return do(ctx, &q.faults, Send, req,
		func(fault Fault) (driver.SendResponse, int, error) { return q.send(ctx, req, fault) })
}

func (q *FaultyQueue) send(ctx context.Context, req driver.SendRequest, fault Fault) (driver.SendResponse, int, error) {
	errs := make([]error, len(req.Messages))
	var made, again driver.SendRequest
	made.Queue, again.Queue = req.Queue, req.Queue
	var places []int // of the messages made, in errs
	for i, m := range req.Messages {
		f := fault.each(i)
		if errs[i] = f.Err; f.Drop || (f.Err != nil && !f.Lost) {
			continue
		}
		made.Messages, places = append(made.Messages, m), append(places, i)
		if f.Duplicate {
			again.Messages = append(again.Messages, m)
		}
	}
	resp, err := q.queue.Send(ctx, made)
	if err != nil {
		return driver.SendResponse{}, len(req.Messages), err
	}
	for i, place := range places {
		if errs[place] == nil {
			errs[place] = resp.Errs[i]
		}
	}
	if len(again.Messages) > 0 {
		if _, err := q.queue.Send(ctx, again); err != nil {
			return driver.SendResponse{}, len(req.Messages), err
		}
	}
	return driver.SendResponse{Errs: errs}, len(req.Messages), nil
}

// Receive implements [driver.Queue].
func (q *FaultyQueue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	return do(ctx, &q.faults, Receive, req,
		func(Fault) (driver.ReceiveResponse, int, error) {
			resp, err := q.queue.Receive(ctx, req)
			return resp, len(resp.Deliveries), err
		})
}

// Ack implements [driver.Queue].
func (q *FaultyQueue) Ack(ctx context.Context, req driver.AckRequest) error {
	_, err := do(ctx, &q.faults, Ack, req,
		func(Fault) (struct{}, int, error) { return struct{}{}, len(req.Receipts), q.queue.Ack(ctx, req) })
	return err
}

// Depth implements [driver.Queue].
func (q *FaultyQueue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	return do(ctx, &q.faults, Depth, req,
		func(Fault) (driver.DepthResponse, int, error) {
			resp, err := q.queue.Depth(ctx, req)
			return resp, 1, err
		})
}

// Purge implements [driver.Queue].
func (q *FaultyQueue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	_, err := do(ctx, &q.faults, Purge, req,
		func(Fault) (struct{}, int, error) { return struct{}{}, 1, q.queue.Purge(ctx, req) })
	return err
}

// Close implements [driver.Queue].
func (q *FaultyQueue) Close(ctx context.Context) error { return q.queue.Close(ctx) }

// FaultyAuthorizer is a [driver.Authorizer] whose calls are counted and fail as a test wants.
type FaultyAuthorizer struct {
	faults
	authorizer driver.Authorizer
}

// NewFaultyAuthorizer wraps an authorizer. The hook is asked about every call of Authenticate, from many goroutines; nil only
// counts.
func NewFaultyAuthorizer(authorizer driver.Authorizer, hook func(Call) Fault) *FaultyAuthorizer {
	return &FaultyAuthorizer{faults: faults{hook: hook, counts: Counts{}}, authorizer: authorizer}
}

// Capabilities implements [driver.Authorizer].
func (a *FaultyAuthorizer) Capabilities(ctx context.Context) (driver.AuthorizerCapabilities, error) {
	return a.authorizer.Capabilities(ctx)
}

// Authenticate implements [driver.Authorizer].
func (a *FaultyAuthorizer) Authenticate(ctx context.Context, req driver.AuthenticateRequest) (driver.Principal, error) {
	return do(ctx, &a.faults, Authenticate, req,
		func(Fault) (driver.Principal, int, error) {
			p, err := a.authorizer.Authenticate(ctx, req)
			return p, 1, err
		})
}

// Close implements [driver.Authorizer].
func (a *FaultyAuthorizer) Close(ctx context.Context) error { return a.authorizer.Close(ctx) }
