package server

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// withStore calls f with the store.
func withStore[T any](s *Server, op string, f func(driver.Store) (T, error)) (none T, err error) {
	session, err := s.enter(op)
	if err != nil {
		return none, err
	}
	defer session.calls.Leave()
	if session.drivers.Store == nil {
		return none, notOpen(op, driver.StoreService)
	}
	return f(session.drivers.Store)
}

// GetStoreCapabilities implements the protocol.
func (s *Server) GetStoreCapabilities(ctx context.Context, _ *pluginv1.GetStoreCapabilitiesRequest) (*pluginv1.GetStoreCapabilitiesResponse, error) {
	return withStore(s, "capabilities", func(d driver.Store) (*pluginv1.GetStoreCapabilitiesResponse, error) {
		caps, err := d.Capabilities(ctx)
		return wire.StoreCapabilitiesToProto(caps), err
	})
}

// Migrate implements the protocol.
func (s *Server) Migrate(ctx context.Context, req *pluginv1.MigrateRequest) (*pluginv1.MigrateResponse, error) {
	return withStore(s, "migrate", func(d driver.Store) (*pluginv1.MigrateResponse, error) {
		resp, err := d.Migrate(ctx, wire.MigrateFromProto(req))
		return wire.StepsToProto(resp.Steps), err
	})
}

// Get implements the protocol.
func (s *Server) Get(ctx context.Context, req *pluginv1.GetRequest) (*pluginv1.GetResponse, error) {
	return withStore(s, "get", func(d driver.Store) (*pluginv1.GetResponse, error) {
		resp, err := d.Get(ctx, wire.GetFromProto(req))
		if err != nil {
			return nil, err
		}
		return wire.FoundToProto(resp.Records), nil
	})
}

// Scan implements the protocol.
func (s *Server) Scan(ctx context.Context, req *pluginv1.ScanRequest) (*pluginv1.ScanResponse, error) {
	return withStore(s, "scan", func(d driver.Store) (*pluginv1.ScanResponse, error) {
		r := wire.ScanFromProto(req)
		for {
			page, err := d.Scan(ctx, r)
			if err != nil {
				return nil, err
			}
			n := wire.FitRecords(page.Records)
			if n == len(page.Records) {
				return wire.PageToProto(page), nil
			}
			r.Limit = n // only the driver can make the cursor of a shorter page
		}
	})
}

// Write implements the protocol.
func (s *Server) Write(ctx context.Context, req *pluginv1.WriteRequest) (*pluginv1.WriteResponse, error) {
	return withStore(s, "write", func(d driver.Store) (*pluginv1.WriteResponse, error) {
		resp, err := d.Write(ctx, wire.WriteFromProto(req))
		if err != nil {
			return nil, err
		}
		return wire.ResultsToProto(resp.Results), nil
	})
}
