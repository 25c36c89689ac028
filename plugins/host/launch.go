package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
)

// endTimeout is how long go-plugin may take to clear up after a process that was killed.
const endTimeout = 5 * time.Second

// launcher returns what starts processes of an entry, or finds the one that is to be used in its stead.
func (p *Plugin) launcher(e Entry) launcher {
	if r, ok := p.opts.Reattach[e.Name]; ok {
		return func(ctx context.Context) (*connection, error) { return p.reattach(ctx, r) }
	}
	return func(ctx context.Context) (*connection, error) { return p.launch(ctx, e) }
}

// launch starts a process. Everything about it is made anew each time: go-plugin's client can be started once, and so can its
// check of the program, whose hash is never reset.
func (p *Plugin) launch(ctx context.Context, e Entry) (_ *connection, err error) {
	if err := checkProgram(e.Path); err != nil {
		return nil, err
	}
	secure, err := secureConfig(e.SHA256)
	if err != nil {
		return nil, err
	}
	sockets, err := socketDir(p.opts.RunDir)
	if err != nil {
		return nil, err
	}
	life, kill := context.WithCancel(context.Background())
	cmd := exec.CommandContext(life, e.Path)
	isolate(cmd)
	cmd.Env = []string{"PLUGIN_UNIX_SOCKET_DIR=" + sockets}
	for _, name := range e.Env {
		if value, ok := p.opts.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	output := newOutput(p.log)
	cfg := p.clientConfig(output)
	cfg.Cmd, cfg.SkipHostEnv, cfg.AutoMTLS, cfg.SecureConfig = cmd, true, true, secure
	if at, ok := ctx.Deadline(); ok {
		cfg.StartTimeout = max(time.Until(at), time.Millisecond)
	}
	client := plugin.NewClient(cfg)
	end := sync.OnceFunc(func() {
		kill()
		clearUp(client)
		_ = os.RemoveAll(sockets) // the socket of a process that was killed stays
	})
	// A context that ends early ends the launch; go-plugin knows only the timeout.
	stop := context.AfterFunc(ctx, kill)
	defer stop()
	conn, err := connect(client)
	if err != nil {
		end()
		return nil, launchError(ctx, e, output, err)
	}
	conn.end, conn.pid = end, cmd.Process.Pid
	conn.exit = func() string { return cmd.ProcessState.String() }
	return conn, nil
}

// reattach uses a plugin that was started by hand.
func (p *Plugin) reattach(_ context.Context, r Reattach) (*connection, error) {
	cfg := p.clientConfig(newOutput(p.log))
	cfg.Reattach = reattachConfig(r)
	client := plugin.NewClient(cfg)
	conn, err := connect(client)
	if err != nil {
		return nil, fmt.Errorf("reattach to %s: %w", r.Address, err)
	}
	conn.pid, conn.exit = r.PID, func() string { return "it was started by hand" }
	conn.end = sync.OnceFunc(func() { clearUp(client) }) // the process belongs to whoever started it
	return conn, nil
}

func (p *Plugin) clientConfig(output *output) *plugin.ClientConfig {
	set := plugin.PluginSet{wire.PluginName: dispenser{}}
	return &plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue},
		VersionedPlugins: map[int]plugin.PluginSet{wire.Protocol: set},
		Plugins:          set,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           newHCLog(p.log),
		Stderr:           output.stderr(),
		SyncStdout:       output.stdout(),
		SyncStderr:       output.stderr(),
		GRPCDialOptions:  append(dialOptions(), p.patientDial()),
	}
}

// patientDial lets the time to start alone bound how long a process may take to answer: gRPC's own bound is shorter, and looks as
// if the process had ended.
func (p *Plugin) patientDial() grpc.DialOption {
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: p.opts.StartTimeout})
}

func dialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(wire.MaxMessage+wire.Headroom), grpc.MaxCallSendMsgSize(wire.MaxMessage+wire.Headroom), grpc.ForceCodecV2(wire.Codec{})),
		grpc.WithInitialWindowSize(wire.PartBytes),
		grpc.WithInitialConnWindowSize(wire.PartBytes),
		grpc.WithReadBufferSize(wire.SocketBuffer),
		grpc.WithWriteBufferSize(wire.SocketBuffer),
	}
}

// connect starts the client and returns its connection.
func connect(client *plugin.Client) (*connection, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(wire.PluginName)
	if err != nil {
		return nil, err
	}
	conn, ok := raw.(*connection)
	if !ok {
		return nil, fmt.Errorf("go-plugin returned a %T", raw)
	}
	return conn, nil
}

// clearUp lets go-plugin end what belongs to a client. It would wait without end for a process that neither ends nor answers.
func clearUp(client *plugin.Client) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		client.Kill()
	}()
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// dispenser is the host's half of what go-plugin serves.
type dispenser struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer implements [plugin.GRPCPlugin]; it is the plugin's half.
func (dispenser) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host is no plugin")
}

// GRPCClient implements [plugin.GRPCPlugin]. The context ends with the process.
func (dispenser) GRPCClient(ctx context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return &connection{ClientConnInterface: conn, gone: ctx.Done()}, nil
}

// checkProgram returns why a path cannot be that of a plugin.
func checkProgram(path string) error {
	if !filepath.IsAbs(path) {
		return driver.Errorf(driver.Invalid, "launch", "path %q must be absolute", path)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return driver.Errorf(driver.Invalid, "launch", "its program cannot be used: %w", err)
	case !info.Mode().IsRegular():
		return driver.Errorf(driver.Invalid, "launch", "%s is no file", path)
	case info.Mode().Perm()&0o111 == 0:
		return driver.Errorf(driver.Invalid, "launch", "%s must be executable: chmod +x it", path)
	}
	return nil
}

func secureConfig(sum string) (*plugin.SecureConfig, error) {
	if sum == "" {
		return nil, nil
	}
	want, err := hex.DecodeString(strings.TrimPrefix(strings.ToLower(sum), "sha256:"))
	if err != nil || len(want) != sha256.Size {
		return nil, driver.Errorf(driver.Invalid, "launch", "sha256 %q must be 64 hexadecimal digits", sum)
	}
	return &plugin.SecureConfig{Checksum: want, Hash: sha256.New()}, nil
}

// Sum returns the sha256 of a program as an [Entry] takes it.
func Sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// launchError says why a process could not be started, with what it wrote itself.
func launchError(ctx context.Context, e Entry, output *output, err error) error {
	d := &driver.Error{Code: driver.Unavailable, Source: driver.Plugin, Op: "launch", Err: err}
	text := err.Error()
	switch {
	case errors.Is(err, plugin.ErrChecksumsDoNotMatch):
		d.Code, d.Source = driver.Denied, driver.Host
		got, _ := Sum(e.Path) // "" is as good as an error here
		d.Message = fmt.Sprintf("%s is not the program that was named: its sha256 is %s, and should be %s; if it was updated, change the configuration", e.Path, got, e.SHA256)
		return d
	case strings.Contains(text, "ncompatible API version"), strings.Contains(text, "ncompatible core API version"):
		d.Code = driver.Unsupported
		d.Message = fmt.Sprintf("%s speaks another version of the protocol than this server, which speaks %d: use a version of it that was made for this server (%s)",
			e.Path, wire.Protocol, firstLine(text))
	case ctx.Err() != nil, strings.Contains(text, "timeout while waiting for plugin to start"):
		d.Message = fmt.Sprintf("%s did not say within the time it has to start where it listens: is it a plugin?", e.Path)
	case strings.Contains(text, "Failed to read any lines from plugin's stdout"):
		d.Message = fmt.Sprintf("%s ended, or closed its standard output, before it said where it listens", e.Path)
	case strings.Contains(text, "Unrecognized remote plugin message"):
		d.Message = fmt.Sprintf("%s wrote something else to its standard output than where it listens: is it a plugin, and does it write there before it serves? (%s)",
			e.Path, firstLine(text))
	default:
		d.Message = fmt.Sprintf("%s could not be started: %s", e.Path, firstLine(text))
	}
	if said := output.last(); said != "" {
		d.Message += "; it said: " + said
	}
	return d
}

func firstLine(s string) string {
	const limit = 300
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
