package host

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/gate"
	"github.com/pop-platform/pop/plugins/internal/wire"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// migrateTimeout is how long a Migrate may take: a cloud makes tables at its leisure.
const migrateTimeout = 10 * time.Minute

// handle is what the drivers of a process have in common: they can be closed.
type handle struct {
	calls    gate.Gate
	released atomic.Bool
}

func (h *handle) enter(op string) error {
	if !h.calls.Enter() {
		return &driver.Error{Code: driver.Unavailable, Source: driver.Host, Op: op, Message: "it is closed"}
	}
	return nil
}

// close lets the calls end, and releases the plugin the first time.
func (h *handle) close(ctx context.Context, p *Plugin) error {
	if err := h.calls.Close(ctx); err != nil {
		return err
	}
	if h.released.CompareAndSwap(false, true) {
		return p.release(ctx)
	}
	return nil
}

// store is a [driver.Store] in a process.
type store struct {
	handle
	plugin *Plugin
	caps   driver.StoreCapabilities
	writes coalescer
}

func newStore(p *Plugin) *store {
	s := &store{plugin: p, caps: p.caps.store}
	s.writes.send = s.write
	return s
}

// Capabilities implements [driver.Store].
func (s *store) Capabilities(context.Context) (driver.StoreCapabilities, error) { return s.caps, nil }

// Migrate implements [driver.Store].
func (s *store) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	if err := s.enter("migrate"); err != nil {
		return driver.MigrateResponse{}, err
	}
	defer s.calls.Leave()
	return call(ctx, s.plugin, "migrate", writes, migrateTimeout, func(ctx context.Context, i *instance) (driver.MigrateResponse, error) {
		resp, err := i.store.Migrate(ctx, wire.MigrateToProto(req))
		return driver.MigrateResponse{Steps: resp.GetSteps()}, err
	})
}

// Get implements [driver.Store].
func (s *store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := s.enter("get"); err != nil {
		return driver.GetResponse{}, err
	}
	defer s.calls.Leave()
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	var all []*driver.Record
	for keys := req.Keys; ; {
		part, err := s.get(ctx, keys[:wire.FitKeys(keys)])
		if err != nil {
			return driver.GetResponse{}, err
		}
		if len(part) == len(req.Keys) {
			return driver.GetResponse{Records: part}, nil // all at once, as nearly always
		}
		all, keys = append(all, part...), keys[len(part):]
		if len(keys) == 0 {
			return driver.GetResponse{Records: all}, nil
		}
	}
}

func (s *store) get(ctx context.Context, keys []driver.Key) ([]*driver.Record, error) {
	return call(ctx, s.plugin, "get", reads, s.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) ([]*driver.Record, error) {
		resp, err := i.store.Get(ctx, wire.GetToProto(keys))
		if err != nil {
			return nil, err
		}
		if n := len(resp.GetRecords()); n > len(keys) || n == 0 && len(keys) > 0 {
			return nil, s.plugin.wrongReply("get", reads, "it returned %d records for %d keys", n, len(keys))
		}
		return wire.FoundFromProto(resp, keys), nil
	})
}

// Scan implements [driver.Store].
func (s *store) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	if err := s.enter("scan"); err != nil {
		return driver.ScanResponse{}, err
	}
	defer s.calls.Leave()
	if err := req.Validate(); err != nil {
		return driver.ScanResponse{}, err
	}
	return call(ctx, s.plugin, "scan", reads, s.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) (driver.ScanResponse, error) {
		resp, err := i.store.Scan(ctx, wire.ScanToProto(req))
		return wire.PageFromProto(resp), err
	})
}

// Write implements [driver.Store].
func (s *store) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	if err := s.enter("write"); err != nil {
		return driver.WriteResponse{}, err
	}
	defer s.calls.Leave()
	if err := req.Validate(s.caps); err != nil {
		return driver.WriteResponse{}, err
	}
	n := wire.FitGroups(req.Groups)
	if n == len(req.Groups) {
		results, err := s.writes.write(ctx, req.Groups)
		return driver.WriteResponse{Results: results}, err
	}
	// A part that fails says nothing about the others: its groups fail one by one.
	var all []driver.WriteResult
	for groups := req.Groups; len(groups) > 0; groups = groups[n:] {
		n = wire.FitGroups(groups)
		results, err := s.write(ctx, groups[:n])
		if err != nil {
			results = make([]driver.WriteResult, n)
			for i := range results {
				results[i].Err = err
			}
		}
		all = append(all, results...)
	}
	return driver.WriteResponse{Results: all}, nil
}

func (s *store) write(ctx context.Context, groups []driver.Group) ([]driver.WriteResult, error) {
	return call(ctx, s.plugin, "write", writes, s.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) ([]driver.WriteResult, error) {
		resp, err := i.store.Write(ctx, wire.WriteToProto(groups))
		if err != nil {
			return nil, err
		}
		if fault := resultsFault(resp.GetResults(), groups); fault != "" {
			return nil, s.plugin.wrongReply("write", writes, "%s", fault)
		}
		return wire.ResultsFromProto(resp), nil
	})
}

// resultsFault returns what the engine could stumble over in the results of a Write.
func resultsFault(results []*pluginv1.WriteResult, groups []driver.Group) string {
	if len(results) != len(groups) {
		return "it returned another number of results than there were groups"
	}
	for i, r := range results {
		switch {
		case r.GetError() == nil && len(r.GetVersions()) != len(groups[i]):
			return "it returned another number of versions than there were operations"
		case r.GetError() != nil && int(r.GetFailed()) >= max(len(groups[i]), 1):
			return "it names an operation that failed and does not exist"
		}
	}
	return ""
}

// Close implements [driver.Store].
func (s *store) Close(ctx context.Context) error { return s.close(ctx, s.plugin) }
