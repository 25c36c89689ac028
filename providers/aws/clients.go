package aws

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"

	"github.com/pop-platform/pop/plugins/driver"
)

// Options are the parts of a driver that are not configuration.
type Options struct {
	// Transport carries the requests. The default keeps connections of its own, which Close closes.
	Transport http.RoundTripper
	// Credentials go before the default chain.
	Credentials awssdk.CredentialsProvider
	// Now is the clock that decides what has expired. The default is [time.Now].
	Now func() time.Time
	// Observe, if not nil, is told of every call of AWS once it has ended.
	Observe func(Call)
	// Logger takes what an operator should know. The default drops it.
	Logger *slog.Logger
}

const idleTimeout = 15 * time.Second

// connection is what a driver shares with the SDK.
type connection struct {
	sdk    awssdk.Config
	client *http.Client
	where  string // the region, and the endpoint if it is not AWS's, for messages
}

// connect loads the SDK's configuration. It makes no request to a service of POP's.
func connect(ctx context.Context, c Config, o Options, timeout time.Duration) (*connection, error) {
	transport := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = 5 * time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = maxConcurrent
			t.IdleConnTimeout = idleTimeout // sooner than AWS closes them
		})
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(transport), config.WithLogger(logging.Nop{}), config.WithAppID("pop")}
	if c.Region != "" {
		load = append(load, config.WithRegion(c.Region))
	}
	if c.Endpoint != "" {
		load = append(load, config.WithBaseEndpoint(c.Endpoint))
	}
	if o.Credentials != nil {
		load = append(load, config.WithCredentialsProvider(o.Credentials))
	}
	sdk, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, driver.Errorf(driver.Invalid, "aws: open", "the SDK's configuration cannot be read: %w", err)
	}
	if sdk.Region == "" {
		return nil, driver.Errorf(driver.Invalid, "aws: open", "region: must be given; set it here, in AWS_REGION or in the shared configuration file")
	}
	// Loading may have added certificates to the transport.
	client := &http.Client{Transport: transport.GetTransport(), Timeout: timeout}
	if loaded, ok := sdk.HTTPClient.(*awshttp.BuildableClient); ok {
		client.Transport = loaded.GetTransport()
	}
	if o.Transport != nil {
		client.Transport = o.Transport
	}
	client.Transport = replayable{client.Transport}
	sdk.HTTPClient = client
	if o.Observe != nil {
		sdk.APIOptions = append(sdk.APIOptions, observer(o.Observe))
	}
	conn := &connection{sdk: sdk, client: client, where: "region " + sdk.Region}
	if c.Endpoint != "" {
		conn.where += " at " + c.Endpoint
	}
	return conn, nil
}

// replayable lets a transport send a request again of which it has written nothing, as the connection that it took had been closed. It
// can do so if it can have the body anew.
type replayable struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t replayable) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.GetBody != nil {
		return t.next.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	again := r.Clone(r.Context())
	again.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	again.Body, _ = again.GetBody()
	return t.next.RoundTrip(again)
}

// CloseIdleConnections is called by that of [http.Client].
func (t replayable) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

func (c *connection) close() { c.client.CloseIdleConnections() }

// Call is a call of AWS: the SDK's service id and name of the operation, its input, and its output unless it failed.
type Call struct {
	Service, Operation string
	Input, Output      any
}

// observer hands calls to a function.
func observer(observe func(Call)) func(*middleware.Stack) error {
	return func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("pop.observe",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				out, metadata, err := next.HandleInitialize(ctx, in)
				call := Call{middleware.GetServiceID(ctx), middleware.GetOperationName(ctx), in.Parameters, out.Result}
				if err != nil {
					call.Output = nil // the SDK's is one without fields
				}
				observe(call)
				return out, metadata, err
			}), middleware.After)
	}
}
