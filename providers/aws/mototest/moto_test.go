package mototest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/providers/aws"
)

// server is where make moto installs it.
const server = "../../../bin/moto/bin/moto_server"

// start starts moto and returns its URL.
func start(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(server)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("moto is missing, run make moto: %v", err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, path, "-H", "127.0.0.1", "-p", fmt.Sprint(addr.Port))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	url := "http://" + addr.String()
	for deadline := time.Now().Add(time.Minute); ; {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req); err == nil {
			_ = resp.Body.Close()
			return url
		}
		if time.Now().After(deadline) {
			t.Fatal("moto does not answer within a minute")
		}
		<-time.After(50 * time.Millisecond)
	}
}

var options = aws.Options{Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}

// number tells the tables and queues of the tests apart.
var number atomic.Int64

func TestStoreOnMotoKeepsTheContract(t *testing.T) {
	config := aws.Config{Region: "us-east-1", Endpoint: start(t)}
	open := func(t *testing.T, c aws.Config) driver.Store {
		t.Helper()
		s, err := aws.OpenStore(t.Context(), c, options)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := open(t, config)
	caps, err := one.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	drivertest.RunStore(t, drivertest.StoreHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.StoreFixture {
			c := config
			c.Store.Table = fmt.Sprintf("pop-%d", number.Add(1))
			reopen := func(t *testing.T) driver.Store { return open(t, c) }
			return drivertest.StoreFixture{Store: reopen(t), Reopen: reopen}
		},
	})
}
