package awstest

import (
	"crypto/md5" //nolint:gosec // the protocol of SQS asks for it
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// queue is a standard queue of SQS.
type queue struct {
	name       string
	attributes map[string]string
	messages   []*message
}

type message struct {
	body     string
	visible  time.Time
	receipt  string
	received int
}

var (
	queueName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,80}$`)
	groupID   = regexp.MustCompile(`^[[:graph:]]{1,128}$`)
	// textOfSQS are the characters that a message may have.
	textOfSQS = regexp.MustCompile(`^[\x09\x0A\x0D\x{20}-\x{D7FF}\x{E000}-\x{FFFD}\x{10000}-\x{10FFFF}]*$`)
)

const (
	maxSQSBytes = 1 << 20
	maxSQSBatch = 10
	maxInFlight = 120_000
)

func noQueue() error {
	return &fault{Type: "com.amazonaws.sqs#QueueDoesNotExist", Message: "The specified queue does not exist."}
}

func badParameter(message string) error {
	return &fault{Type: "com.amazonaws.sqs#InvalidParameterValue", Message: message}
}

func (s *Server) createQueue(r *http.Request, in *struct {
	QueueName  string
	Attributes map[string]string
},
) (any, error) {
	if !queueName.MatchString(in.QueueName) {
		return nil, badParameter("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	url := "http://" + r.Host + "/" + Account + "/" + in.QueueName
	if q := s.queues[url]; q != nil {
		for name, value := range in.Attributes {
			if q.attributes[name] != value {
				return nil, &fault{Type: "com.amazonaws.sqs#QueueNameExists", Message: "A queue already exists with the same name and a different value for attribute " + name}
			}
		}
		return map[string]string{"QueueUrl": url}, nil
	}
	if redrive, ok := in.Attributes["RedrivePolicy"]; ok {
		var policy struct {
			DeadLetterTargetArn string `json:"deadLetterTargetArn"`
			MaxReceiveCount     int    `json:"maxReceiveCount"`
		}
		if err := json.Unmarshal([]byte(redrive), &policy); err != nil || s.byARN(policy.DeadLetterTargetArn) == nil || policy.MaxReceiveCount < 1 {
			return nil, badParameter("Value " + redrive + " for parameter RedrivePolicy is invalid")
		}
	}
	s.queues[url] = &queue{name: in.QueueName, attributes: in.Attributes}
	return map[string]string{"QueueUrl": url}, nil
}

func queueARN(region, name string) string {
	return "arn:aws:sqs:" + region + ":" + Account + ":" + name
}

func (s *Server) arn(name string) string { return queueARN(s.region, name) }

// byARN returns a queue; s.mu is held.
func (s *Server) byARN(wanted string) *queue {
	for _, q := range s.queues {
		if s.arn(q.name) == wanted {
			return q
		}
	}
	return nil
}

func (s *Server) getQueueURL(r *http.Request, in *struct{ QueueName string }) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	url := "http://" + r.Host + "/" + Account + "/" + in.QueueName
	if s.queues[url] == nil {
		return nil, noQueue()
	}
	return map[string]string{"QueueUrl": url}, nil
}

func (s *Server) getQueueAttributes(_ *http.Request, in *struct {
	QueueUrl       string
	AttributeNames []string
},
) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[in.QueueUrl]
	if q == nil {
		return nil, noQueue()
	}
	ready := 0
	for _, m := range q.messages {
		if !m.visible.After(time.Now()) {
			ready++
		}
	}
	known := map[string]string{
		"QueueArn": s.arn(q.name), "ApproximateNumberOfMessages": strconv.Itoa(ready),
		"ApproximateNumberOfMessagesNotVisible": strconv.Itoa(len(q.messages) - ready),
	}
	answer := map[string]string{}
	for _, name := range in.AttributeNames {
		answer[name] = known[name]
	}
	return map[string]any{"Attributes": answer}, nil
}

type batchFailure struct {
	Id, Code, Message string
	SenderFault       bool
}

func (s *Server) sendMessageBatch(_ *http.Request, in *struct {
	QueueUrl string
	Entries  []struct{ Id, MessageBody, MessageGroupId string }
},
) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[in.QueueUrl]
	if q == nil {
		return nil, noQueue()
	}
	if n := len(in.Entries); n < 1 || n > maxSQSBatch {
		return nil, &fault{Type: "com.amazonaws.sqs#TooManyEntriesInBatchRequest", Message: "Maximum number of entries per request are 10"}
	}
	bytes := 0
	for _, e := range in.Entries {
		bytes += len(e.MessageBody)
	}
	if bytes > maxSQSBytes {
		return nil, &fault{Type: "com.amazonaws.sqs#BatchRequestTooLong", Message: "Batch requests cannot be longer than 1048576 bytes"}
	}
	var sent []map[string]string
	var failed []batchFailure
	for _, e := range in.Entries {
		if !textOfSQS.MatchString(e.MessageBody) || e.MessageGroupId != "" && !groupID.MatchString(e.MessageGroupId) || e.MessageBody == "" {
			failed = append(failed, batchFailure{e.Id, "InvalidMessageContents", "The message contains characters outside the allowed set.", true})
			continue
		}
		q.messages = append(q.messages, &message{body: e.MessageBody})
		sent = append(sent, map[string]string{"Id": e.Id, "MessageId": rand.Text(), "MD5OfMessageBody": md5Of(e.MessageBody)})
	}
	s.tell()
	return map[string]any{"Successful": sent, "Failed": failed}, nil
}

func md5Of(text string) string {
	sum := md5.Sum([]byte(text)) //nolint:gosec // the protocol of SQS asks for it
	return hex.EncodeToString(sum[:])
}

// tell wakes those that wait for messages. The mutex is held.
func (s *Server) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

type receive struct {
	QueueUrl                    string
	MaxNumberOfMessages         int
	WaitTimeSeconds             int
	VisibilityTimeout           int
	MessageSystemAttributeNames []string
}

func (s *Server) receiveMessage(r *http.Request, in *receive) (any, error) {
	if in.MaxNumberOfMessages < 1 || in.MaxNumberOfMessages > maxSQSBatch || in.WaitTimeSeconds > 20 || in.VisibilityTimeout > 43200 {
		return nil, badParameter("a number is out of range")
	}
	deadline := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second)
	for {
		found, look, news, err := s.receiveNow(in, deadline)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 || !time.Now().Before(deadline) {
			return map[string]any{"Messages": found}, nil
		}
		timer := time.NewTimer(time.Until(look))
		select {
		case <-news:
		case <-timer.C:
		case <-r.Context().Done():
		}
		timer.Stop()
		if err := r.Context().Err(); err != nil {
			return nil, err
		}
	}
}

// receiveNow leases what is there. A message that was received too often goes to the dead-letter queue instead. If there is nothing, it is
// worth another look when the channel is closed, and at a time that is the deadline at the latest.
func (s *Server) receiveNow(in *receive, deadline time.Time) (found []any, look time.Time, news <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[in.QueueUrl]
	if q == nil {
		return nil, look, nil, noQueue()
	}
	var redrive struct {
		DeadLetterTargetArn string `json:"deadLetterTargetArn"`
		MaxReceiveCount     int    `json:"maxReceiveCount"`
	}
	_ = json.Unmarshal([]byte(q.attributes["RedrivePolicy"]), &redrive) // it was checked; absent is zero
	now := time.Now()
	look = deadline
	kept := q.messages[:0]
	inFlight := 0
	for _, m := range q.messages {
		if m.visible.After(now) {
			inFlight++
			if m.visible.Before(look) {
				look = m.visible
			}
		}
	}
	for _, m := range q.messages {
		if m.visible.After(now) || len(found) == in.MaxNumberOfMessages || inFlight+len(found) >= maxInFlight {
			kept = append(kept, m)
			continue
		}
		if redrive.MaxReceiveCount > 0 && m.received >= redrive.MaxReceiveCount {
			dead := s.byARN(redrive.DeadLetterTargetArn)
			dead.messages = append(dead.messages, &message{body: m.body})
			s.tell()
			continue
		}
		m.received++
		m.receipt = rand.Text()
		m.visible = now.Add(time.Duration(in.VisibilityTimeout) * time.Second)
		kept = append(kept, m)
		found = append(found, map[string]any{
			"MessageId": rand.Text(), "ReceiptHandle": m.receipt, "Body": m.body, "MD5OfBody": md5Of(m.body),
			"Attributes": map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.received)},
		})
	}
	q.messages = kept
	return found, look, s.news, nil
}

func (s *Server) deleteMessageBatch(_ *http.Request, in *struct {
	QueueUrl string
	Entries  []struct{ Id, ReceiptHandle string }
},
) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[in.QueueUrl]
	if q == nil {
		return nil, noQueue()
	}
	if n := len(in.Entries); n < 1 || n > maxSQSBatch {
		return nil, &fault{Type: "com.amazonaws.sqs#TooManyEntriesInBatchRequest", Message: "Maximum number of entries per request are 10"}
	}
	var done []map[string]string
	var failed []batchFailure
	for _, e := range in.Entries {
		if len(e.ReceiptHandle) < 10 {
			failed = append(failed, batchFailure{e.Id, "ReceiptHandleIsInvalid", "The input receipt handle is invalid.", true})
			continue
		}
		kept := q.messages[:0]
		for _, m := range q.messages {
			if m.receipt != e.ReceiptHandle { // a stale one succeeds and does nothing
				kept = append(kept, m)
			}
		}
		q.messages = kept
		done = append(done, map[string]string{"Id": e.Id})
	}
	s.tell() // fewer are in flight
	return map[string]any{"Successful": done, "Failed": failed}, nil
}

func (s *Server) purgeQueue(_ *http.Request, in *struct{ QueueUrl string }) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[in.QueueUrl]
	if q == nil {
		return nil, noQueue()
	}
	q.messages = nil
	return map[string]any{}, nil
}

// DeadLetters returns the bodies in the queue whose name ends so.
func (s *Server) DeadLetters(suffix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var bodies []string
	for _, q := range s.queues {
		if strings.HasSuffix(q.name, suffix) {
			for _, m := range q.messages {
				bodies = append(bodies, m.body)
			}
		}
	}
	return bodies
}
