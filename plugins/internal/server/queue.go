package server

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// withQueue calls f with the queue.
func withQueue[T any](s *Server, op string, f func(*session, driver.Queue) (T, error)) (none T, err error) {
	session, err := s.enter(op)
	if err != nil {
		return none, err
	}
	defer session.calls.Leave()
	if session.drivers.Queue == nil {
		return none, notOpen(op, driver.QueueService)
	}
	return f(session, session.drivers.Queue)
}

// GetQueueCapabilities implements the protocol.
func (s *Server) GetQueueCapabilities(ctx context.Context, _ *pluginv1.GetQueueCapabilitiesRequest) (*pluginv1.GetQueueCapabilitiesResponse, error) {
	return withQueue(s, "capabilities", func(_ *session, d driver.Queue) (*pluginv1.GetQueueCapabilitiesResponse, error) {
		caps, err := d.Capabilities(ctx)
		return wire.QueueCapabilitiesToProto(caps), err
	})
}

// Ensure implements the protocol.
func (s *Server) Ensure(ctx context.Context, req *pluginv1.EnsureRequest) (*pluginv1.EnsureResponse, error) {
	return withQueue(s, "ensure", func(_ *session, d driver.Queue) (*pluginv1.EnsureResponse, error) {
		return &pluginv1.EnsureResponse{}, d.Ensure(ctx, driver.EnsureRequest{Queue: req.GetQueue()})
	})
}

// Send implements the protocol.
func (s *Server) Send(ctx context.Context, req *pluginv1.SendRequest) (*pluginv1.SendResponse, error) {
	return withQueue(s, "send", func(_ *session, d driver.Queue) (*pluginv1.SendResponse, error) {
		resp, err := d.Send(ctx, wire.SendFromProto(req))
		if err != nil {
			return nil, err
		}
		return wire.RefusalsToProto(resp.Errs), nil
	})
}

// Receive implements the protocol. When the plugin shuts down it answers nothing, which is no error: the caller asks again
// and meets the next process.
func (s *Server) Receive(ctx context.Context, req *pluginv1.ReceiveRequest) (*pluginv1.ReceiveResponse, error) {
	return withQueue(s, "receive", func(session *session, d driver.Queue) (*pluginv1.ReceiveResponse, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(session.ending, cancel)()
		resp, err := d.Receive(ctx, wire.ReceiveFromProto(req))
		if err != nil && session.ending.Err() == nil {
			return nil, err
		}
		return wire.DeliveriesToProto(resp.Deliveries), nil
	})
}

// Ack implements the protocol.
func (s *Server) Ack(ctx context.Context, req *pluginv1.AckRequest) (*pluginv1.AckResponse, error) {
	return withQueue(s, "ack", func(_ *session, d driver.Queue) (*pluginv1.AckResponse, error) {
		return &pluginv1.AckResponse{}, d.Ack(ctx, wire.AckFromProto(req))
	})
}

// Depth implements the protocol.
func (s *Server) Depth(ctx context.Context, req *pluginv1.DepthRequest) (*pluginv1.DepthResponse, error) {
	return withQueue(s, "depth", func(_ *session, d driver.Queue) (*pluginv1.DepthResponse, error) {
		resp, err := d.Depth(ctx, driver.DepthRequest{Queue: req.GetQueue()})
		return &pluginv1.DepthResponse{Ready: resp.Ready, Leased: resp.Leased}, err
	})
}

// Purge implements the protocol.
func (s *Server) Purge(ctx context.Context, req *pluginv1.PurgeRequest) (*pluginv1.PurgeResponse, error) {
	return withQueue(s, "purge", func(_ *session, d driver.Queue) (*pluginv1.PurgeResponse, error) {
		return &pluginv1.PurgeResponse{}, d.Purge(ctx, driver.PurgeRequest{Queue: req.GetQueue()})
	})
}
