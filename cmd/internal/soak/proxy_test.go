package soak

import (
	"context"
	"net"
	"sync"
	"testing"
)

// proxy stands between pullers and the server, and lets the network between them fail.
type proxy struct {
	addr, target string
	listener     net.Listener

	mu    sync.Mutex
	mode  mode
	conns map[net.Conn]bool
	flow  *sync.Cond // of mu: the mode has changed
}

type mode uint8

const (
	through mode = iota
	refusing
	hanging // what was sent arrives when it is over
)

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]bool{}}
	p.flow = sync.NewCond(&p.mu)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(t.Context(), conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.set(refusing)
		serving.Wait()
	})
	return p
}

// set changes how the network is. A refusing one cuts the connections that there are.
func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	p.flow.Broadcast()
	if m == refusing {
		for conn := range p.conns {
			_ = conn.Close()
		}
	}
}

func (p *proxy) serve(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	if !p.pass() {
		return
	}
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
		delete(p.conns, server)
	}()
	var both sync.WaitGroup
	both.Go(func() { p.copy(server, client) })
	both.Go(func() { p.copy(client, server) })
	both.Wait()
}

// pass waits while the network hangs, and reports whether it lets something through.
func (p *proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.mode == hanging {
		p.flow.Wait()
	}
	return p.mode == through
}

func (p *proxy) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if !p.pass() {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
