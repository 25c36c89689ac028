package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/gate"
	"github.com/pop-platform/pop/plugins/internal/wire"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// Server answers the plugin protocol.
type Server struct {
	pluginv1.UnimplementedPluginServiceServer
	pluginv1.UnimplementedStoreServiceServer
	pluginv1.UnimplementedQueueServiceServer
	pluginv1.UnimplementedAuthorizerServiceServer

	provider driver.Provider
	log      *slog.Logger
	level    *slog.LevelVar // of log

	configuring sync.Mutex // held by Configure and Shutdown

	mu      sync.RWMutex
	current *session // nil before Configure and after Shutdown
}

// session is what one Configure has opened.
type session struct {
	drivers driver.Drivers
	calls   gate.Gate

	ending context.Context // done when Receive has to return
	end    context.CancelFunc
}

// New returns a server of a provider. Configure sets the level of its log.
func New(p driver.Provider, log *slog.Logger, level *slog.LevelVar) *Server {
	return &Server{provider: p, log: log, level: level}
}

// Register adds the services to a gRPC server, which must have been made with Options.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	pluginv1.RegisterPluginServiceServer(r, s)
	pluginv1.RegisterStoreServiceServer(r, s)
	pluginv1.RegisterQueueServiceServer(r, s)
	pluginv1.RegisterAuthorizerServiceServer(r, s)
}

// Options returns the options that a gRPC server needs.
func (s *Server) Options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(wire.MaxMessage + wire.Headroom),
		grpc.MaxSendMsgSize(wire.MaxMessage + wire.Headroom),
		grpc.InitialWindowSize(wire.PartBytes),
		grpc.InitialConnWindowSize(wire.PartBytes),
		grpc.ReadBufferSize(wire.SocketBuffer),
		grpc.WriteBufferSize(wire.SocketBuffer),
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.UnaryInterceptor(s.survive),
	}
}

// survive turns a panic of a driver into an error of the call, and any error into one that the host can read.
func (s *Server) survive(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			s.log.Error("a call panicked", "method", info.FullMethod, "reason", fmt.Sprint(reason), "stack", string(debug.Stack()))
			resp, err = nil, wire.ToStatus(wire.Panicked(info.FullMethod, reason))
		}
	}()
	resp, err = handler(ctx, req)
	if err != nil {
		return nil, wire.ToStatus(err)
	}
	return resp, nil
}

// Describe implements the protocol.
func (s *Server) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return wire.DescriptionToProto(s.provider.Describe()), nil
}

// Configure implements the protocol.
func (s *Server) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	if n := len(req.GetConfig()); n > wire.MaxConfig {
		return nil, driver.Errorf(driver.TooLarge, "configure", "the configuration has %d bytes, the limit is %d", n, wire.MaxConfig)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(req.GetLogLevel(), "INFO"))); err != nil {
		return nil, driver.Errorf(driver.Invalid, "configure", "log level: %v", err)
	}
	s.level.Set(level)
	if err := s.close(ctx); err != nil {
		return nil, err
	}
	drivers, err := s.provider.Open(ctx, driver.OpenRequest{
		Services: wire.ServicesFromProto(req.GetServices()), Config: req.GetConfig(), Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	next := &session{drivers: drivers}
	next.ending, next.end = context.WithCancel(context.Background())
	s.mu.Lock()
	s.current = next
	s.mu.Unlock()
	return &pluginv1.ConfigureResponse{}, nil
}

// CheckHealth implements the protocol.
func (s *Server) CheckHealth(ctx context.Context, _ *pluginv1.CheckHealthRequest) (*pluginv1.CheckHealthResponse, error) {
	session, err := s.enter("check health")
	if err != nil {
		return nil, err
	}
	defer session.calls.Leave()
	resp := &pluginv1.CheckHealthResponse{}
	check := func(service driver.Service, d any) {
		health := &pluginv1.ServiceHealth{Service: wire.ServiceToProto(service)}
		if checker, ok := d.(driver.HealthChecker); ok {
			health.Error = wire.ErrorToProto(checker.CheckHealth(ctx))
		}
		resp.Services = append(resp.Services, health)
	}
	if d := session.drivers.Store; d != nil {
		check(driver.StoreService, d)
	}
	if d := session.drivers.Queue; d != nil {
		check(driver.QueueService, d)
	}
	if d := session.drivers.Authorizer; d != nil {
		check(driver.AuthorizerService, d)
	}
	return resp, nil
}

// Shutdown implements the protocol.
func (s *Server) Shutdown(ctx context.Context, req *pluginv1.ShutdownRequest) (*pluginv1.ShutdownResponse, error) {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	if d := req.GetDrain(); d != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.AsDuration())
		defer cancel()
	}
	return &pluginv1.ShutdownResponse{}, s.close(ctx)
}

// Close does what Shutdown does.
func (s *Server) Close(ctx context.Context) error {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	return s.close(ctx)
}

// close lets the calls of the session end and closes its drivers.
func (s *Server) close(ctx context.Context) error {
	s.mu.Lock()
	last := s.current
	s.current = nil
	s.mu.Unlock()
	if last == nil {
		return nil
	}
	last.end()
	if err := last.calls.Close(ctx); err != nil {
		s.log.Warn("the drivers are closed while calls are going on", "error", err)
	}
	var errs []error
	if d := last.drivers.Store; d != nil {
		errs = append(errs, d.Close(ctx))
	}
	if d := last.drivers.Queue; d != nil {
		errs = append(errs, d.Close(ctx))
	}
	if d := last.drivers.Authorizer; d != nil {
		errs = append(errs, d.Close(ctx))
	}
	return errors.Join(errs...)
}

// enter returns the session for a call, which must leave it.
func (s *Server) enter(op string) (*session, error) {
	s.mu.RLock()
	session := s.current
	s.mu.RUnlock()
	if session == nil || !session.calls.Enter() {
		return nil, &driver.Error{
			Code: driver.Unavailable, Source: driver.Plugin, Op: op, Message: "the plugin is not configured, or shutting down",
		}
	}
	return session, nil
}

func notOpen(op string, service driver.Service) error {
	return &driver.Error{Code: driver.Unsupported, Source: driver.Plugin, Op: op, Message: fmt.Sprintf("the plugin was not configured to open a %s", service)}
}
