package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Times that a client may take, so that slow ones cannot hold connections for ever.
const (
	headerTimeout = 10 * time.Second
	writeTimeout  = 90 * time.Second // longer than any long poll; streams extend theirs
	idleTimeout   = 120 * time.Second
	drainTimeout  = 20 * time.Second
)

// maxHeaderBytes bounds what is read of a request before it is known who sends it. Tokens have some kilobytes at most.
const maxHeaderBytes = 64 << 10

// Serve serves a handler on a listener until the context ends: the API itself, or a handler that holds it. Then it ends long polls
// and streams, gives other requests in flight some seconds, and closes the listener. It returns nil after such an orderly end.
func (a *API) Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.Logger.Handler(), slog.LevelDebug), // what clients do wrong on a connection
	}
	server.RegisterOnShutdown(a.Drain)

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	// The context has ended, and what is in flight gets its own time.
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		a.Logger.Warn("requests in flight were cut off", "after", drainTimeout)
		err = server.Close()
	}
	if err != nil {
		return fmt.Errorf("shut down %s: %w", l.Addr(), err)
	}
	return nil
}
