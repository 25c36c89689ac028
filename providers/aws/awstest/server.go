package awstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options configure a [Server].
type Options struct {
	// IndexLag is how long a write takes to show in an index.
	IndexLag time.Duration
	// Allow is asked what the policy of the caller allows, for each request, from any goroutine. Without it everything is.
	Allow func(Access) bool
	// Ahead is by how much the clock of AWS is ahead of this machine's. Requests whose time differs by more than five minutes are refused.
	Ahead time.Duration
	// Expired is an access key whose credentials have expired.
	Expired string
}

// Server is DynamoDB and SQS, and as much of S3 as large bodies need.
type Server struct {
	opts   Options
	region string

	mu      sync.Mutex
	others  map[string]*Server // by region, for all but the first
	tables  map[string]*table
	queues  map[string]*queue // by URL
	objects map[string][]byte // by path
	calls   Calls
	news    chan struct{} // closed, and made anew, when there may be more to receive
}

// Calls counts requests by operation, such as "PutItem".
type Calls map[string]int

// New returns a server without tables and queues. Its own region is us-east-1: what is made there is in no other.
func New(o Options) *Server { return newServer(o, homeRegion) }

func newServer(o Options, region string) *Server {
	return &Server{
		opts: o, region: region, others: map[string]*Server{},
		tables: map[string]*table{}, queues: map[string]*queue{}, objects: map[string][]byte{}, calls: Calls{}, news: make(chan struct{}),
	}
}

// in returns the server of a region.
func (s *Server) in(region string) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if region == s.region {
		return s
	}
	if s.others[region] == nil {
		s.others[region] = newServer(s.opts, region)
	}
	return s.others[region]
}

// Start serves until the test ends and returns the URL.
func (s *Server) Start(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL
}

// RoundTrip implements [http.RoundTripper]: it answers without a network.
func (s *Server) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	s.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// Calls returns how often each operation was asked for.
func (s *Server) Calls() Calls {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// fault is an error of AWS.
type fault struct {
	Type    string
	Message string
	more    map[string]any // further fields of the answer
}

func (f *fault) Error() string { return f.Type + ": " + f.Message }

func invalid(format string, args ...any) error {
	return &fault{Type: "ValidationException", Message: fmt.Sprintf(format, args...)}
}

// operation answers one request.
type operation func(s *Server, r *http.Request, body []byte) (any, error)

// handle makes an operation of a function with a typed request. A field that the type does not have is an error: what is not understood must
// not be ignored.
func handle[In any](f func(s *Server, r *http.Request, in *In) (any, error)) operation {
	return func(s *Server, r *http.Request, body []byte) (any, error) {
		var in In
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return nil, &fault{Type: "SerializationException", Message: err.Error()}
		}
		return f(s, r, &in)
	}
}

var operations = map[string]operation{
	"DynamoDB_20120810.CreateTable":        handle((*Server).createTable),
	"DynamoDB_20120810.DescribeTable":      handle((*Server).describeTable),
	"DynamoDB_20120810.UpdateTable":        handle((*Server).updateTable),
	"DynamoDB_20120810.UpdateTimeToLive":   handle((*Server).updateTimeToLive),
	"DynamoDB_20120810.DescribeTimeToLive": handle((*Server).describeTimeToLive),
	"DynamoDB_20120810.PutItem":            handle((*Server).putItem),
	"DynamoDB_20120810.DeleteItem":         handle((*Server).deleteItem),
	"DynamoDB_20120810.BatchGetItem":       handle((*Server).batchGetItem),
	"DynamoDB_20120810.BatchWriteItem":     handle((*Server).batchWriteItem),
	"DynamoDB_20120810.TransactWriteItems": handle((*Server).transactWriteItems),
	"DynamoDB_20120810.Query":              handle((*Server).query),
	"AmazonSQS.CreateQueue":                handle((*Server).createQueue),
	"AmazonSQS.GetQueueUrl":                handle((*Server).getQueueURL),
	"AmazonSQS.GetQueueAttributes":         handle((*Server).getQueueAttributes),
	"AmazonSQS.SendMessageBatch":           handle((*Server).sendMessageBatch),
	"AmazonSQS.ReceiveMessage":             handle((*Server).receiveMessage),
	"AmazonSQS.DeleteMessageBatch":         handle((*Server).deleteMessageBatch),
	"AmazonSQS.PurgeQueue":                 handle((*Server).purgeQueue),
}

// maxRequest bounds a request, as AWS does.
const maxRequest = 17 << 20

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.Header.Get("X-Amz-Target")
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if target == "" && err == nil {
		s.object(w, r, body)
		return
	}
	var answer any
	w.Header().Set("Date", time.Now().Add(s.opts.Ahead).UTC().Format(http.TimeFormat))
	if err == nil {
		err = s.authenticate(r)
	}
	if err == nil {
		answer, err = s.answer(r, target, body)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if f := (*fault)(nil); errors.As(err, &f) {
		w.WriteHeader(http.StatusBadRequest)
		fields := map[string]any{"__type": f.Type, "message": f.Message}
		maps.Copy(fields, f.more)
		answer = fields
	} else if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		answer = map[string]any{"__type": "InternalServerError", "message": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(answer) // the client may have gone
}

// authenticate refuses requests that are signed too long ago or with credentials that have expired. Signatures are not checked.
func (s *Server) authenticate(r *http.Request) error {
	if key, _ := signer(r); key != "" && key == s.opts.Expired {
		return &fault{Type: "com.amazon.coral.service#ExpiredTokenException", Message: "The security token included in the request is expired"}
	}
	const format, most = "20060102T150405Z", 5 * time.Minute
	now := time.Now().Add(s.opts.Ahead)
	if at, err := time.Parse(format, r.Header.Get("X-Amz-Date")); err == nil && now.Sub(at).Abs() > most {
		return &fault{
			Type:    "com.amazon.coral.service#InvalidSignatureException",
			Message: "Signature expired: " + at.Format(format) + " is now earlier than " + now.Add(-most).UTC().Format(format),
		}
	}
	return nil
}

// answer makes an operation if it is allowed.
func (s *Server) answer(r *http.Request, target string, body []byte) (any, error) {
	op, known := operations[target]
	if !known {
		return nil, &fault{Type: "UnknownOperationException", Message: target}
	}
	_, name, _ := strings.Cut(target, ".")
	s.mu.Lock()
	s.calls[name]++
	s.mu.Unlock()
	_, region := signer(r)
	if f := s.refused(accesses(region, target, body)...); f != nil {
		return nil, f
	}
	return op(s.in(region), r, body)
}
