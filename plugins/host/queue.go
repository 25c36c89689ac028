package host

import (
	"context"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/internal/wire"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// queue is a [driver.Queue] in a process.
type queue struct {
	handle
	plugin *Plugin
	caps   driver.QueueCapabilities

	ending context.Context // done when Receive has to return
	wake   context.CancelFunc
}

func newQueue(p *Plugin) *queue {
	q := &queue{plugin: p, caps: p.caps.queue}
	q.ending, q.wake = context.WithCancel(context.Background())
	return q
}

// enter lets a call of a named queue in. What is no name, the protocol could not carry.
func (q *queue) enterNamed(op, name string) error {
	if err := q.enter(op); err != nil {
		return err
	}
	if !utf8.ValidString(name) {
		q.calls.Leave()
		return driver.Errorf(driver.Invalid, op, "queue %q: the name must be UTF-8", name)
	}
	return nil
}

// Capabilities implements [driver.Queue].
func (q *queue) Capabilities(context.Context) (driver.QueueCapabilities, error) { return q.caps, nil }

// Ensure implements [driver.Queue].
func (q *queue) Ensure(ctx context.Context, req driver.EnsureRequest) error {
	if err := q.enterNamed("ensure", req.Queue); err != nil {
		return err
	}
	defer q.calls.Leave()
	_, err := call(ctx, q.plugin, "ensure", writes, q.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) (*pluginv1.EnsureResponse, error) {
		return i.queue.Ensure(ctx, &pluginv1.EnsureRequest{Queue: req.Queue})
	})
	if err == nil {
		q.plugin.remember(req.Queue)
	}
	return err
}

// remember has the queue made again in every process that follows: one that is kept in memory is gone with its process, and
// whoever ensured it does not know of processes.
func (p *Plugin) remember(queue string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ensured[queue] = struct{}{}
}

// ensureAgain makes the queues that there were before.
func (p *Plugin) ensureAgain(ctx context.Context, inst *instance) error {
	p.mu.Lock()
	names := slices.Sorted(maps.Keys(p.ensured))
	p.mu.Unlock()
	for _, name := range names {
		if _, err := inst.queue.Ensure(ctx, &pluginv1.EnsureRequest{Queue: name}); err != nil {
			return err
		}
	}
	return nil
}

// Send implements [driver.Queue]. Messages that no queue takes are refused here: the protocol could not carry some of them.
func (q *queue) Send(ctx context.Context, req driver.SendRequest) (driver.SendResponse, error) {
	if err := q.enterNamed("send", req.Queue); err != nil {
		return driver.SendResponse{}, err
	}
	defer q.calls.Leave()
	if err := req.Validate(q.caps); err != nil {
		return driver.SendResponse{}, err
	}
	errs := make([]error, len(req.Messages))
	good, places := make([]driver.Message, 0, len(req.Messages)), make([]int, 0, len(req.Messages))
	for i, m := range req.Messages {
		if errs[i] = m.Validate(q.caps); errs[i] == nil {
			good, places = append(good, m), append(places, i)
		}
	}
	parted := false
	for first := true; first || len(good) > 0; first = false {
		n := wire.FitMessages(good)
		parted = parted || n < len(good)
		refused, err := q.send(ctx, req.Queue, good[:n])
		if err != nil && !parted {
			return driver.SendResponse{}, err
		}
		for i, place := range places[:n] {
			if errs[place] = err; err == nil {
				errs[place] = refused[i]
			}
		}
		good, places = good[n:], places[n:]
	}
	return driver.SendResponse{Errs: errs}, nil
}

func (q *queue) send(ctx context.Context, name string, messages []driver.Message) ([]error, error) {
	return call(ctx, q.plugin, "send", writes, q.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) ([]error, error) {
		resp, err := i.queue.Send(ctx, wire.SendToProto(name, messages))
		if err != nil {
			return nil, err
		}
		errs, ok := wire.RefusalsFromProto(resp, len(messages))
		if !ok {
			return nil, q.plugin.wrongReply("send", writes, "it refused a message that was not sent")
		}
		return errs, nil
	})
}

// Receive implements [driver.Queue]. When the process is replaced, or the queue closed, it answers nothing: what was on its
// way is delivered again once its lease is over.
func (q *queue) Receive(ctx context.Context, req driver.ReceiveRequest) (driver.ReceiveResponse, error) {
	if err := q.enterNamed("receive", req.Queue); err != nil {
		return driver.ReceiveResponse{}, err
	}
	defer q.calls.Leave()
	if err := req.Validate(); err != nil {
		return driver.ReceiveResponse{}, err
	}
	req.Max = min(req.Max, max(q.caps.MaxBatch, 1))
	if q.caps.MaxBytes > 0 { // as many as one message of the protocol can hold
		req.Max = min(req.Max, max(wire.MaxMessage/q.caps.MaxBytes, 1))
	}
	req.Wait = min(max(req.Wait, 0), q.caps.MaxWait)
	return call(ctx, q.plugin, "receive", writes, q.plugin.opts.CallTimeout+req.Wait, func(ctx context.Context, i *instance) (driver.ReceiveResponse, error) {
		waiting, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(i.ending, cancel)()
		defer context.AfterFunc(q.ending, cancel)()
		resp, err := i.queue.Receive(waiting, wire.ReceiveToProto(req))
		if err != nil && waiting.Err() != nil && ctx.Err() == nil {
			return driver.ReceiveResponse{}, nil
		}
		if n := len(resp.GetDeliveries()); n > req.Max {
			return driver.ReceiveResponse{}, q.plugin.wrongReply("receive", writes, "it returned %d messages, at most %d were asked for", n, req.Max)
		}
		return driver.ReceiveResponse{Deliveries: wire.DeliveriesFromProto(resp)}, err
	})
}

// Ack implements [driver.Queue].
func (q *queue) Ack(ctx context.Context, req driver.AckRequest) error {
	if err := q.enterNamed("ack", req.Queue); err != nil {
		return err
	}
	defer q.calls.Leave()
	if err := req.Validate(q.caps); err != nil {
		return err
	}
	_, err := call(ctx, q.plugin, "ack", writes, q.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) (*pluginv1.AckResponse, error) {
		return i.queue.Ack(ctx, wire.AckToProto(req))
	})
	return err
}

// Depth implements [driver.Queue].
func (q *queue) Depth(ctx context.Context, req driver.DepthRequest) (driver.DepthResponse, error) {
	if err := q.enterNamed("depth", req.Queue); err != nil {
		return driver.DepthResponse{}, err
	}
	defer q.calls.Leave()
	return call(ctx, q.plugin, "depth", reads, q.plugin.opts.CallTimeout, func(ctx context.Context, i *instance) (driver.DepthResponse, error) {
		resp, err := i.queue.Depth(ctx, &pluginv1.DepthRequest{Queue: req.Queue})
		return driver.DepthResponse{Ready: resp.GetReady(), Leased: resp.GetLeased()}, err
	})
}

// Purge implements [driver.Queue].
func (q *queue) Purge(ctx context.Context, req driver.PurgeRequest) error {
	if err := q.enterNamed("purge", req.Queue); err != nil {
		return err
	}
	defer q.calls.Leave()
	_, err := call(ctx, q.plugin, "purge", writes, purgeTimeout, func(ctx context.Context, i *instance) (*pluginv1.PurgeResponse, error) {
		return i.queue.Purge(ctx, &pluginv1.PurgeRequest{Queue: req.Queue})
	})
	return err
}

// purgeTimeout is how long a Purge may take: some backends can only receive and acknowledge.
const purgeTimeout = 5 * time.Minute

// Close implements [driver.Queue].
func (q *queue) Close(ctx context.Context) error {
	q.wake()
	return q.close(ctx, q.plugin)
}
