package driver

import (
	"context"
	"time"
)

// Queue carries hints. A message may be lost, delayed, reordered or delivered more than once: the store holds the truth, and
// the core re-sends what it misses. Methods other than Ensure answer Invalid for a queue that Ensure never made; after
// Close all but Close and Capabilities answer Unavailable.
type Queue interface {
	// Capabilities reports the queue's limits and qualities. It does no I/O and always answers the same.
	Capabilities(ctx context.Context) (QueueCapabilities, error)

	// Ensure creates the named queue or checks that it is there. It is idempotent.
	Ensure(ctx context.Context, req EnsureRequest) error

	// Send adds messages. The response has one error per message, in order, nil for those that were accepted; a message
	// that is Invalid or TooLarge is refused alone, and more than MaxBatch messages as a whole.
	Send(ctx context.Context, req SendRequest) (SendResponse, error)

	// Receive waits up to Wait for messages and returns as soon as there are any, at most Max. Nothing to receive is an
	// empty response, not an error. A message not acknowledged within Lease is delivered again, with a new receipt. More
	// than MaxBatch is cut to it, less than one is Invalid; a Wait of zero or less looks once.
	Receive(ctx context.Context, req ReceiveRequest) (ReceiveResponse, error)

	// Ack removes messages. It is idempotent, and a stale receipt is ignored.
	Ack(ctx context.Context, req AckRequest) error

	// Depth reports how many messages there are, in the declared quality.
	Depth(ctx context.Context, req DepthRequest) (DepthResponse, error)

	// Purge removes all messages, in the declared quality.
	Purge(ctx context.Context, req PurgeRequest) error

	// Close releases the queue and wakes every Receive, which answers nothing or Unavailable. It is idempotent.
	Close(ctx context.Context) error
}

// Quality says how far a figure or an effect can be trusted.
type Quality uint8

const (
	// None means that the method answers Unsupported.
	None Quality = iota
	// Eventual means approximate, or true after a while.
	Eventual
	// Exact means true at the time of the reply.
	Exact
)

// QueueCapabilities are the declared limits and qualities of a [Queue]. The zero value is the least capable queue.
type QueueCapabilities struct {
	MaxBatch int           // most messages in a Send, Receive or Ack; at least 1
	MaxBytes int           // largest Body
	MaxWait  time.Duration // longest Wait; longer ones are cut to it
	MinLease time.Duration // shortest Lease; shorter ones are raised to it
	MaxLease time.Duration // longest Lease; longer ones are cut to it
	Depth    Quality
	Purge    Quality
	// Durable says that accepted messages survive a restart of the backend.
	Durable bool
}

// Message is a hint. Group names whom it is for, so that a backend with fair queues can tell customers apart: any UTF-8
// without NUL, or empty. Body has at least one byte.
type Message struct {
	Group string
	Body  []byte
}

// Delivery is a message on its way to one receiver.
type Delivery struct {
	Message Message
	Receipt string
	Attempt int // 1 for the first delivery; 0 if the backend does not say
}

// EnsureRequest are the arguments of [Queue.Ensure]. The name is any UTF-8 without NUL of 1 to [MaxQueueName] bytes;
// drivers turn it into one that their backend takes.
type EnsureRequest struct{ Queue string }

// SendRequest are the arguments of [Queue.Send].
type SendRequest struct {
	Queue    string
	Messages []Message
}

// SendResponse is the result of [Queue.Send].
type SendResponse struct{ Errs []error }

// ReceiveRequest are the arguments of [Queue.Receive].
type ReceiveRequest struct {
	Queue string
	Max   int
	Wait  time.Duration
	Lease time.Duration
}

// ReceiveResponse is the result of [Queue.Receive].
type ReceiveResponse struct{ Deliveries []Delivery }

// AckRequest are the arguments of [Queue.Ack].
type AckRequest struct {
	Queue    string
	Receipts []string
}

// DepthRequest are the arguments of [Queue.Depth].
type DepthRequest struct{ Queue string }

// DepthResponse is the result of [Queue.Depth]: messages ready to be received, and those delivered but not acknowledged.
type DepthResponse struct{ Ready, Leased int64 }

// PurgeRequest are the arguments of [Queue.Purge].
type PurgeRequest struct{ Queue string }
