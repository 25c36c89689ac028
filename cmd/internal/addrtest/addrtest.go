// Package addrtest finds addresses for the servers that tests start, kill and start again.
package addrtest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// The ports lie below those that systems give to outgoing connections. A port from among those can be taken while its server is
// down, by a connection to it of all things: a client that asks in vain for long enough is connected to itself.
const (
	firstPort = 20_000
	ports     = 12_000
)

// Free returns an address of this machine that nothing listens on.
func Free(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(ports)))
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
		if err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("of a hundred ports none is free")
	return ""
}
