package host

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/server"
)

// InMemory is Start without a process: the provider is served in this one, and every call goes through the protocol over a
// connection in memory. It is for tests of drivers, in which a difference to the linked-in driver is a fault of the protocol.
func InMemory(ctx context.Context, provider driver.Provider, e Entry, o Options) (*Plugin, error) {
	p := newPlugin(e, o.withDefaults())
	return p.start(ctx, func(context.Context) (*connection, error) { return serveInMemory(provider, p.log) })
}

func serveInMemory(provider driver.Provider, log *slog.Logger) (*connection, error) {
	const buffer = 1 << 20
	srv := server.New(provider, log, &slog.LevelVar{})
	listener := bufconn.Listen(buffer)
	g := grpc.NewServer(srv.Options()...)
	srv.Register(g)
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(listener) }) // until it is stopped
	conn, err := grpc.NewClient("passthrough:memory", append(dialOptions(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))...)
	if err != nil {
		g.Stop()
		return nil, fmt.Errorf("connect in memory: %w", err)
	}
	gone := make(chan struct{})
	return &connection{ClientConnInterface: conn, gone: gone, exit: func() string { return "in memory" }, end: sync.OnceFunc(func() {
		_ = conn.Close() // it has nothing to lose
		g.Stop()
		serving.Wait()
		if err := srv.Close(context.Background()); err != nil {
			log.Error("the drivers were not closed well", "error", err)
		}
		close(gone)
	})}, nil
}
