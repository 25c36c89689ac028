package aws

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/pop-platform/pop/plugins/driver"
)

const (
	// maxMessageBytes leaves room for ten messages in the 1 MiB that a batch may have, in base 64 and with their envelopes.
	maxMessageBytes = 64 << 10
	maxGroupBytes   = 2 << 10

	maxReceiveWait = 20 * time.Second
	queueTimeout   = maxReceiveWait + 10*time.Second // of one request

	retention  = 24 * time.Hour      // of hints: those that are that old have been sent again
	deadLetter = 14 * 24 * time.Hour // of hints in the dead-letter queue
)

var queueCapabilities = driver.QueueCapabilities{
	MaxBatch: 10,
	MaxBytes: maxMessageBytes,
	MaxWait:  maxReceiveWait,
	MinLease: time.Second,
	MaxLease: 12 * time.Hour,
	Depth:    driver.Eventual,
	Purge:    driver.Eventual,
	Durable:  true,
}

// Queue is a [driver.Queue] on standard queues of SQS.
type Queue struct {
	config QueueConfig
	sqs    *sqs.Client
	conn   *connection
	life   life
	closed context.Context // done once Close begins, to wake receivers
	close  context.CancelFunc

	mu   sync.Mutex
	urls map[string]string // by the queue's name
}

// OpenQueue opens the queues. It makes no request.
func OpenQueue(ctx context.Context, c Config, o Options) (*Queue, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, driver.Errorf(driver.Invalid, "sqs: open", "%w", err)
	}
	conn, err := connect(ctx, c, o, queueTimeout)
	if err != nil {
		return nil, err
	}
	q := &Queue{config: c.Queue, conn: conn, urls: map[string]string{}}
	q.closed, q.close = context.WithCancel(context.Background())
	q.sqs = sqs.NewFromConfig(conn.sdk, func(o *sqs.Options) { o.Retryer = awssdk.NopRetryer{} })
	return q, nil
}

// Capabilities implements [driver.Queue].
func (q *Queue) Capabilities(context.Context) (driver.QueueCapabilities, error) {
	return queueCapabilities, nil
}

// Close implements [driver.Queue].
func (q *Queue) Close(context.Context) error {
	q.close()
	q.life.close()
	q.conn.close()
	return nil
}

func (q *Queue) begin(ctx context.Context, op string) (func(), error) {
	return q.life.begin(ctx, "sqs: "+op)
}

func (q *Queue) sqsName(name string) string { return q.config.Prefix + sqsName(name) }

// fault classifies an error. A queue that has gone is forgotten.
func (q *Queue) fault(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	err = call{op: "sqs: " + op, about: "queue " + q.sqsName(name), where: q.conn.where, write: op == "send"}.fault(ctx, err)
	if driver.CodeOf(err) == driver.Invalid {
		q.mu.Lock()
		delete(q.urls, name)
		q.mu.Unlock()
	}
	return err
}

// url returns the URL of a queue; the error is Invalid if there is none.
func (q *Queue) url(ctx context.Context, op, name string) (string, error) {
	q.mu.Lock()
	url, ok := q.urls[name]
	q.mu.Unlock()
	if ok {
		return url, nil
	}
	if err := (driver.EnsureRequest{Queue: name}).Validate(); err != nil {
		return "", err
	}
	resp, err := q.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: awssdk.String(q.sqsName(name))})
	if err != nil {
		return "", q.fault(ctx, op, name, err)
	}
	return q.remember(name, resp.QueueUrl), nil
}

func (q *Queue) remember(name string, url *string) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.urls[name] = awssdk.ToString(url)
	return q.urls[name]
}

// Ensure implements [driver.Queue]. It asks SQS each time. A queue that is there is taken as it is.
func (q *Queue) Ensure(ctx context.Context, req driver.EnsureRequest) error {
	done, err := q.begin(ctx, "ensure")
	if err != nil {
		return err
	}
	defer done()
	if err := req.Validate(); err != nil {
		return err
	}
	q.mu.Lock()
	delete(q.urls, req.Queue)
	q.mu.Unlock()
	_, err = q.url(ctx, "ensure", req.Queue)
	if driver.CodeOf(err) != driver.Invalid || err == nil {
		return err
	}
	if q.config.CheckOnly {
		return driver.Errorf(driver.Unavailable, "sqs: ensure",
			"there is no queue %s in %s, and queue.checkOnly forbids to create it; create it where the others are made", q.sqsName(req.Queue), q.conn.where)
	}
	attributes, err := q.newAttributes(ctx)
	if err != nil {
		return err
	}
	resp, err := q.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: awssdk.String(q.sqsName(req.Queue)), Attributes: attributes})
	if recently, ok := errors.AsType[*types.QueueDeletedRecently](err); ok {
		return &driver.Error{Code: driver.Unavailable, Op: "sqs: ensure", Message: recently.ErrorMessage(), RetryAfter: time.Minute, Err: err}
	}
	if err != nil {
		return q.fault(ctx, "ensure", req.Queue, err)
	}
	q.remember(req.Queue, resp.QueueUrl)
	return nil
}

// newAttributes are those of a queue that is created. It makes the dead-letter queue if it is missing.
func (q *Queue) newAttributes(ctx context.Context) (map[string]string, error) {
	name := awssdk.String(q.config.Prefix + deadLetterName)
	resp, err := q.sqs.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: name, Attributes: map[string]string{
		string(types.QueueAttributeNameMessageRetentionPeriod): seconds(deadLetter),
	}})
	var url *string
	if _, other := errors.AsType[*types.QueueNameExists](err); other { // with attributes of somebody's choice
		found, err := q.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: name})
		if err != nil {
			return nil, q.fault(ctx, "ensure", deadLetterName, err)
		}
		url = found.QueueUrl
	} else if err != nil {
		return nil, q.fault(ctx, "ensure", deadLetterName, err)
	} else {
		url = resp.QueueUrl
	}
	const arn = types.QueueAttributeNameQueueArn
	got, err := q.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []types.QueueAttributeName{arn}})
	if err != nil {
		return nil, q.fault(ctx, "ensure", deadLetterName, err)
	}
	redrive, err := json.Marshal(map[string]any{"deadLetterTargetArn": got.Attributes[string(arn)], "maxReceiveCount": q.config.DeadLetterAfter})
	if err != nil {
		return nil, driver.Errorf(driver.Internal, "sqs: ensure", "%w", err)
	}
	return map[string]string{
		string(types.QueueAttributeNameMessageRetentionPeriod): seconds(retention),
		string(types.QueueAttributeNameRedrivePolicy):          string(redrive),
	}, nil
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// envelope is a message as SQS carries it: its body has to be text, and its group id has a small alphabet.
type envelope struct {
	Group string `json:"group,omitempty"`
	Text  string `json:"text,omitempty"`
	Bytes []byte `json:"bytes,omitempty"` // for a body that is no text, in base 64
}

// The two characters of JSON that SQS does not take.
var noncharacters = strings.NewReplacer("\ufffe", `\ufffe`, "\uffff", `\uffff`)

func seal(m driver.Message) (string, error) {
	e := envelope{Group: m.Group}
	if utf8.Valid(m.Body) {
		e.Text = string(m.Body)
	} else {
		e.Bytes = m.Body
	}
	text, err := json.Marshal(e)
	if err == nil && len(text) > base64.StdEncoding.EncodedLen(len(m.Body))+maxGroupBytes { // text that is mostly escapes
		text, err = json.Marshal(envelope{Group: m.Group, Bytes: m.Body})
	}
	return noncharacters.Replace(string(text)), err
}

func unseal(text string) (driver.Message, error) {
	var e envelope
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return driver.Message{}, err
	}
	if e.Bytes == nil {
		e.Bytes = []byte(e.Text)
	}
	return driver.Message{Group: e.Group, Body: e.Bytes}, nil
}

// Send implements [driver.Queue].
func (q *Queue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	done, err := q.begin(ctx, "send")
	if err != nil {
		return driver.SendResponse{}, err
	}
	defer done()
	if err := req.Validate(queueCapabilities); err != nil {
		return driver.SendResponse{}, err
	}
	url, err := q.url(ctx, "send", req.Queue)
	if err != nil {
		return driver.SendResponse{}, err
	}
	errs := make([]error, len(req.Messages))
	var entries []types.SendMessageBatchRequestEntry
	for i, m := range req.Messages {
		if errs[i] = m.Validate(queueCapabilities); errs[i] != nil {
			continue
		}
		if len(m.Group) > maxGroupBytes {
			errs[i] = driver.Errorf(driver.TooLarge, "sqs: send", "group has %d bytes, the limit is %d", len(m.Group), maxGroupBytes)
			continue
		}
		body, err := seal(m)
		if err != nil {
			errs[i] = driver.Errorf(driver.Internal, "sqs: send", "encode: %w", err)
			continue
		}
		entry := types.SendMessageBatchRequestEntry{Id: awssdk.String(strconv.Itoa(i)), MessageBody: &body}
		if m.Group != "" {
			entry.MessageGroupId = awssdk.String(sqsGroup(m.Group))
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		return driver.SendResponse{Errs: errs}, nil
	}
	resp, err := q.sqs.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
	if err != nil {
		return driver.SendResponse{}, q.fault(ctx, "send", req.Queue, err)
	}
	for _, f := range resp.Failed {
		i, err := strconv.Atoi(awssdk.ToString(f.Id))
		if err != nil || i < 0 || i >= len(errs) {
			return driver.SendResponse{}, driver.Errorf(driver.Internal, "sqs: send", "%s: SQS answers for message %q", q.sqsName(req.Queue), awssdk.ToString(f.Id))
		}
		code := driver.Unavailable
		if f.SenderFault {
			code = driver.Invalid
		}
		errs[i] = driver.Errorf(code, "sqs: send", "%s: %s: %s", q.sqsName(req.Queue), awssdk.ToString(f.Code), awssdk.ToString(f.Message))
	}
	return driver.SendResponse{Errs: errs}, nil
}

// Receive implements [driver.Queue]. SQS counts in seconds, so that waits and leases are rounded up.
func (q *Queue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	done, err := q.begin(ctx, "receive")
	if err != nil {
		return driver.ReceiveResponse{}, err
	}
	defer done()
	if err := req.Validate(); err != nil {
		return driver.ReceiveResponse{}, err
	}
	url, err := q.url(ctx, "receive", req.Queue)
	if err != nil {
		return driver.ReceiveResponse{}, err
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(q.closed, cancel)()
	resp, err := q.sqs.ReceiveMessage(waiting, &sqs.ReceiveMessageInput{
		QueueUrl:                    &url,
		MaxNumberOfMessages:         int32(min(req.Max, queueCapabilities.MaxBatch)),
		WaitTimeSeconds:             wholeSeconds(req.Wait, 0, maxReceiveWait),
		VisibilityTimeout:           wholeSeconds(req.Lease, queueCapabilities.MinLease, queueCapabilities.MaxLease),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	})
	if err != nil {
		if q.closed.Err() != nil && ctx.Err() == nil {
			return driver.ReceiveResponse{}, nil
		}
		return driver.ReceiveResponse{}, q.fault(ctx, "receive", req.Queue, err)
	}
	var out driver.ReceiveResponse
	for _, m := range resp.Messages {
		message, err := unseal(awssdk.ToString(m.Body))
		if err != nil { // not of POP; what has no meaning is dropped by whoever receives it
			message = driver.Message{Body: []byte(awssdk.ToString(m.Body))}
		}
		attempt, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
		out.Deliveries = append(out.Deliveries, driver.Delivery{Message: message, Receipt: awssdk.ToString(m.ReceiptHandle), Attempt: attempt})
	}
	return out, nil
}

func wholeSeconds(d, least, most time.Duration) int32 {
	d = min(max(d, least), most)
	return int32((d + time.Second - 1) / time.Second)
}

// Ack implements [driver.Queue].
func (q *Queue) Ack(ctx context.Context, req driver.AckRequest) error {
	done, err := q.begin(ctx, "ack")
	if err != nil {
		return err
	}
	defer done()
	if err := req.Validate(queueCapabilities); err != nil {
		return err
	}
	url, err := q.url(ctx, "ack", req.Queue)
	if err != nil || len(req.Receipts) == 0 {
		return err
	}
	entries := make([]types.DeleteMessageBatchRequestEntry, len(req.Receipts))
	for i := range req.Receipts {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: awssdk.String(strconv.Itoa(i)), ReceiptHandle: &req.Receipts[i]}
	}
	resp, err := q.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries})
	if err != nil {
		return q.fault(ctx, "ack", req.Queue, err)
	}
	for _, f := range resp.Failed {
		if !f.SenderFault { // otherwise the receipt is stale, or none
			return driver.Errorf(driver.Unavailable, "sqs: ack", "%s: %s: %s", q.sqsName(req.Queue), awssdk.ToString(f.Code), awssdk.ToString(f.Message))
		}
	}
	return nil
}

// Depth implements [driver.Queue]. The figures are those of SQS, which follow the truth within a minute or so.
func (q *Queue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	done, err := q.begin(ctx, "depth")
	if err != nil {
		return driver.DepthResponse{}, err
	}
	defer done()
	url, err := q.url(ctx, "depth", req.Queue)
	if err != nil {
		return driver.DepthResponse{}, err
	}
	const ready, leased = types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible
	resp, err := q.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{ready, leased}})
	if err != nil {
		return driver.DepthResponse{}, q.fault(ctx, "depth", req.Queue, err)
	}
	var out driver.DepthResponse
	for name, n := range map[types.QueueAttributeName]*int64{ready: &out.Ready, leased: &out.Leased} {
		if *n, err = strconv.ParseInt(resp.Attributes[string(name)], 10, 64); err != nil {
			return driver.DepthResponse{}, driver.Errorf(driver.Internal, "sqs: depth", "%s: %w", name, err)
		}
	}
	return out, nil
}

// Purge implements [driver.Queue]. It takes up to a minute, in which what is sent may be removed too.
func (q *Queue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	done, err := q.begin(ctx, "purge")
	if err != nil {
		return err
	}
	defer done()
	url, err := q.url(ctx, "purge", req.Queue)
	if err != nil {
		return err
	}
	_, err = q.sqs.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
	if _, busy := errors.AsType[*types.PurgeQueueInProgress](err); busy {
		return &driver.Error{
			Code: driver.Throttled, Op: "sqs: purge", RetryAfter: time.Minute, Err: err,
			Message: fmt.Sprintf("%s was purged less than a minute ago", q.sqsName(req.Queue)),
		}
	}
	return q.fault(ctx, "purge", req.Queue, err)
}
