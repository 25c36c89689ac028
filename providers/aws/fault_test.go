package aws_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

func incompressible(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// faults is a network on which things go wrong: instead says what becomes of a request, and answers nil for what goes well.
type faults struct {
	next    http.RoundTripper
	instead func(operation string, r *http.Request) (*http.Response, error)
}

func (f *faults) RoundTrip(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if f.instead != nil {
		if resp, err := f.instead(operation, r); resp != nil || err != nil {
			return resp, err
		}
	}
	return f.next.RoundTrip(r)
}

// answer is one of AWS.
func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}},
		Body: io.NopCloser(strings.NewReader(body)),
	}
}

// refusal is an answer of AWS with an error.
func refusal(code, message string) func(string, *http.Request) (*http.Response, error) {
	return func(string, *http.Request) (*http.Response, error) {
		return answer(http.StatusBadRequest, fmt.Sprintf(`{"__type": %q, "message": %q}`, code, message)), nil
	}
}

// faulty returns a migrated store on a network without faults yet.
func faulty(t *testing.T) (*aws.Store, *faults) {
	t.Helper()
	f := &faults{next: awstest.New(awstest.Options{})}
	o := options()
	o.Transport = f
	s := openStore(t, at("http://aws.test"), o)
	if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: driver.Schema{Kinds: []driver.KindSchema{{Kind: "k", Indexes: []string{"one"}}}}}); err != nil {
		t.Fatal(err)
	}
	return s, f
}

var recordKey = driver.Key{Kind: "k", Part: "p", Sort: "s"}

func get(ctx context.Context, s *aws.Store) error {
	_, err := s.Get(ctx, driver.GetRequest{Keys: []driver.Key{recordKey}})
	return err
}

func put(ctx context.Context, s *aws.Store, cond driver.Cond) driver.WriteResult {
	resp, err := s.Write(ctx, driver.WriteRequest{Groups: []driver.Group{{{Record: driver.Record{Key: recordKey, Body: []byte("x")}, Cond: cond}}}})
	if err != nil {
		return driver.WriteResult{Err: err}
	}
	return resp.Results[0]
}

// TestWhatIsWrongWithAWSIsSaidWithItsRemedy makes AWS answer what it answers to the usual mistakes.
func TestWhatIsWrongWithAWSIsSaidWithItsRemedy(t *testing.T) {
	late := func(string, *http.Request) (*http.Response, error) {
		resp := answer(http.StatusBadRequest, `{"__type": "InvalidSignatureException", "message": "Signature expired: 20261126T120000Z is now earlier than 20261126T124500Z"}`)
		resp.Header.Set("Date", time.Now().Add(45*time.Minute).UTC().Format(http.TimeFormat))
		return resp, nil
	}
	cases := map[string]struct {
		instead func(string, *http.Request) (*http.Response, error)
		code    driver.Code
		says    []string
	}{
		"wrong region or missing table": {
			refusal("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "Requested resource not found"), driver.Unavailable,
			[]string{"no table pop", "check region and table"},
		},
		"missing index": {
			refusal("com.amazon.coral.validate#ValidationException", "The table does not have the specified index: by-one"), driver.Unavailable,
			[]string{"lacks an index", "by-one", "restart POP"},
		},
		"denied permission": {
			refusal("com.amazon.coral.service#AccessDeniedException", "User: arn:aws:iam::1:role/pop is not authorized to perform: dynamodb:BatchGetItem on resource: arn:aws:dynamodb:us-east-1:1:table/pop"),
			driver.Denied,
			[]string{"dynamodb:BatchGetItem", "add the action to the policy"},
		},
		"expired credentials": {
			refusal("com.amazon.coral.service#ExpiredTokenException", "The security token included in the request is expired"), driver.Denied,
			[]string{"have expired", "renew them"},
		},
		"unknown credentials": {
			refusal("com.amazon.coral.service#UnrecognizedClientException", "The security token included in the request is invalid."), driver.Denied,
			[]string{"does not know the credentials", "check the access key"},
		},
		"wrong secret": {
			refusal("com.amazon.coral.service#InvalidSignatureException", "The request signature we calculated does not match"), driver.Denied,
			[]string{"check the secret access key"},
		},
		"clock skew": {late, driver.Denied, []string{"the clock of this machine differs", "AWS by 4", "chrony"}},
		"name of a region that is not one": {
			func(string, *http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "dynamodb.eu-centrl-1.amazonaws.com", IsNotFound: true}}
			}, driver.Unavailable, []string{"dynamodb.eu-centrl-1.amazonaws.com", "check region"},
		},
		"nobody listens": {
			func(string, *http.Request) (*http.Response, error) {
				return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
			}, driver.Unavailable, []string{"http://aws.test", "cannot be reached"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, f := faulty(t)
			f.instead = c.instead
			for what, err := range map[string]error{"Get": get(t.Context(), s), "Write": put(t.Context(), s, driver.IfAbsent).Err} {
				if driver.CodeOf(err) != c.code || driver.OutcomeOf(err) != driver.NotApplied {
					t.Errorf("%s: %v: code %s and outcome %s, want %s and not applied", what, err, driver.CodeOf(err), driver.OutcomeOf(err), c.code)
				}
				for _, text := range c.says {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("%s: %v: does not say %q", what, err, text)
					}
				}
			}
		})
	}
}

func TestMissingCredentialsAreSaidWithTheirRemedy(t *testing.T) {
	o := options()
	o.Transport = awstest.New(awstest.Options{})
	o.Credentials = awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
		return awssdk.Credentials{}, errors.New("no EC2 IMDS role found")
	})
	err := get(t.Context(), openStore(t, at("http://aws.test"), o))
	if driver.CodeOf(err) != driver.Denied || !strings.Contains(err.Error(), "give POP a role") {
		t.Errorf("%v", err)
	}
}

func TestAMissingQueueIsToldByTypeWhateverItsCode(t *testing.T) {
	for _, code := range []string{"", "AWS.SimpleQueueService.NonExistentQueue;Sender", "com.amazonaws.sqs#QueueDoesNotExist"} {
		o := options()
		o.Transport = &faults{instead: func(string, *http.Request) (*http.Response, error) {
			resp := answer(http.StatusBadRequest, `{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified queue does not exist."}`)
			resp.Header.Set("X-Amzn-Query-Error", code)
			return resp, nil
		}}
		_, err := openQueue(t, at("http://aws.test"), o).Depth(t.Context(), driver.DepthRequest{Queue: "gone"})
		if driver.CodeOf(err) != driver.Invalid || !strings.Contains(err.Error(), "there is no queue pop-gone") {
			t.Errorf("with the code %q: %v, want invalid, as there is no queue", code, err)
		}
	}
}

func TestAWriteWhoseReplyIsLostIsUnknownAndIsMadeOnce(t *testing.T) {
	s, f := faulty(t)
	lost := map[string]func(*http.Response) (*http.Response, error){
		"connection": func(*http.Response) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"server": func(*http.Response) (*http.Response, error) {
			return answer(http.StatusInternalServerError, `{"__type": "InternalServerError", "message": "try again"}`), nil
		},
	}
	for name, lose := range lost {
		var puts atomic.Int64
		f.instead = func(operation string, r *http.Request) (*http.Response, error) {
			if operation != "PutItem" {
				return nil, nil
			}
			puts.Add(1)
			resp, err := f.next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			return lose(resp)
		}
		err := put(t.Context(), s, driver.Always).Err
		if driver.CodeOf(err) != driver.Unavailable || driver.OutcomeOf(err) != driver.Unknown {
			t.Errorf("%s: %v, want unavailable with an unknown outcome", name, err)
		}
		if n := puts.Load(); n != 1 {
			t.Errorf("%s: the write was sent %d times", name, n)
		}
		f.instead = nil
	}
	resp, err := s.Get(t.Context(), driver.GetRequest{Keys: []driver.Key{recordKey}})
	if err != nil || resp.Records[0] == nil {
		t.Errorf("%v, %v: the write was applied", resp, err)
	}
}

func TestThrottlingSaysWhyAndWaitsLongerWhileItLasts(t *testing.T) {
	s, f := faulty(t)
	f.instead = func(string, *http.Request) (*http.Response, error) {
		return answer(http.StatusBadRequest, `{"__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException", "message": "slow down",
			"throttlingReasons": [{"reason": "IndexWriteKeyRangeThroughputExceeded", "resource": "arn:aws:dynamodb:us-east-1:1:table/pop/index/by-customer"}]}`), nil
	}
	first := put(t.Context(), s, driver.IfAbsent).Err
	var e *driver.Error
	if !errors.As(first, &e) || e.Code != driver.Throttled || e.Outcome != driver.NotApplied || e.RetryAfter <= 0 {
		t.Fatalf("%v, want throttled, not applied, with a time to wait", first)
	}
	for _, text := range []string{"by-customer", "too busy"} {
		if !strings.Contains(e.Message, text) {
			t.Errorf("%q does not say %q", e.Message, text)
		}
	}
	wait := e.RetryAfter
	<-time.After(wait / 2) // as long as makes it another refusal
	second := put(t.Context(), s, driver.IfAbsent).Err
	if !errors.As(second, &e) || e.RetryAfter <= wait || e.RetryAfter > 5*time.Second {
		t.Errorf("%v: the second wait is %s, want more than %s", second, e.RetryAfter, wait)
	}
	f.instead = nil
	if err := put(t.Context(), s, driver.IfAbsent).Err; err != nil {
		t.Error(err)
	}
}

// TestWhatABatchPutsOffIsAskedForAgain lets DynamoDB answer a part of each batch only.
func TestWhatABatchPutsOffIsAskedForAgain(t *testing.T) {
	s, f := faulty(t)
	var shortened atomic.Int64
	f.instead = func(operation string, r *http.Request) (*http.Response, error) {
		if operation != "BatchWriteItem" && operation != "BatchGetItem" || shortened.Add(1)%2 == 0 {
			return nil, nil
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return putOffHalf(operation, body, f.next, r)
	}
	var groups []driver.Group
	var keys []driver.Key
	for i := range 60 {
		k := driver.Key{Kind: "k", Part: "p", Sort: fmt.Sprint(i)}
		keys = append(keys, k)
		groups = append(groups, driver.Group{{Record: driver.Record{Key: k, Body: []byte(k.Sort)}}})
	}
	resp, err := s.Write(t.Context(), driver.WriteRequest{Groups: groups})
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range resp.Results {
		if result.Err != nil {
			t.Errorf("group %d: %v", i, result.Err)
		}
	}
	got, err := s.Get(t.Context(), driver.GetRequest{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got.Records {
		if r == nil || string(r.Body) != keys[i].Sort {
			t.Errorf("record %d is %v", i, r)
		}
	}
	if shortened.Load() < 4 {
		t.Errorf("only %d batches were made", shortened.Load())
	}
}
