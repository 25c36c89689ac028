package node

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAnAddressThatIsTakenForAMomentIsWaitedFor(t *testing.T) {
	t.Parallel()
	before, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := before.Addr().String()
	time.AfterFunc(100*time.Millisecond, func() { _ = before.Close() }) // as a process that is killed, and one that it was just starting
	l, err := Listen(t.Context(), addr, "--addr")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, err = Listen(t.Context(), addr, "--addr")
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "stop what uses it, or take another with --addr") {
		t.Errorf("an address that is in use: %v", err)
	}
}
