package wire

import (
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// QueueCapabilitiesToProto returns the message of capabilities.
func QueueCapabilitiesToProto(c driver.QueueCapabilities) *pluginv1.GetQueueCapabilitiesResponse {
	return &pluginv1.GetQueueCapabilitiesResponse{
		MaxBatch: int64(c.MaxBatch), MaxBytes: int64(c.MaxBytes),
		MaxWait: durationToProto(c.MaxWait), MinLease: durationToProto(c.MinLease), MaxLease: durationToProto(c.MaxLease),
		Depth: pluginv1.Quality(c.Depth), Purge: pluginv1.Quality(c.Purge), Durable: c.Durable,
	}
}

// QueueCapabilitiesFromProto returns the capabilities of a message.
func QueueCapabilitiesFromProto(m *pluginv1.GetQueueCapabilitiesResponse) driver.QueueCapabilities {
	return driver.QueueCapabilities{
		MaxBatch: int(m.GetMaxBatch()), MaxBytes: int(m.GetMaxBytes()),
		MaxWait: m.GetMaxWait().AsDuration(), MinLease: m.GetMinLease().AsDuration(), MaxLease: m.GetMaxLease().AsDuration(),
		Depth: quality(m.GetDepth()), Purge: quality(m.GetPurge()), Durable: m.GetDurable(),
	}
}

// quality returns None for a quality that this program does not know.
func quality(q pluginv1.Quality) driver.Quality {
	if q < 0 || q > pluginv1.Quality(driver.Exact) {
		return driver.None
	}
	return driver.Quality(q)
}

// SendToProto returns the message of messages that are valid.
func SendToProto(queue string, messages []driver.Message) *pluginv1.SendRequest {
	return &pluginv1.SendRequest{Queue: queue, Messages: each(messages, messageToProto)}
}

// SendFromProto returns the request of a message.
func SendFromProto(m *pluginv1.SendRequest) driver.SendRequest {
	return driver.SendRequest{Queue: m.GetQueue(), Messages: each(m.GetMessages(), messageFromProto)}
}

func messageToProto(m driver.Message) *pluginv1.Message {
	return &pluginv1.Message{Group: text(m.Group), Body: m.Body}
}

func messageFromProto(m *pluginv1.Message) driver.Message {
	return driver.Message{Group: m.GetGroup(), Body: m.GetBody()}
}

// FitMessages returns how many of the messages go into one message of the protocol.
func FitMessages(messages []driver.Message) int {
	return fit(messages, func(m *driver.Message) int { return 16 + len(m.Group) + len(m.Body) })
}

// RefusalsToProto returns the message of the errors of a Send.
func RefusalsToProto(errs []error) *pluginv1.SendResponse {
	m := &pluginv1.SendResponse{}
	for i, err := range errs {
		if err != nil {
			m.Refusals = append(m.Refusals, &pluginv1.Refusal{Message: uint32(i), Error: ErrorToProto(err)})
		}
	}
	return m
}

// RefusalsFromProto returns the errors of a message, one for each of n messages; false if it is about others.
func RefusalsFromProto(m *pluginv1.SendResponse, n int) ([]error, bool) {
	errs := make([]error, n)
	for _, r := range m.GetRefusals() {
		if int(r.GetMessage()) >= n {
			return nil, false
		}
		errs[r.GetMessage()] = errorFromProto(r.GetError())
	}
	return errs, true
}

// ReceiveToProto returns the message of a request.
func ReceiveToProto(r driver.ReceiveRequest) *pluginv1.ReceiveRequest {
	return &pluginv1.ReceiveRequest{Queue: r.Queue, Max: int64(r.Max), Wait: durationToProto(r.Wait), Lease: durationpb.New(r.Lease)}
}

// ReceiveFromProto returns the request of a message.
func ReceiveFromProto(m *pluginv1.ReceiveRequest) driver.ReceiveRequest {
	return driver.ReceiveRequest{Queue: m.GetQueue(), Max: int(m.GetMax()), Wait: m.GetWait().AsDuration(), Lease: m.GetLease().AsDuration()}
}

// DeliveriesToProto returns the message of deliveries.
func DeliveriesToProto(deliveries []driver.Delivery) *pluginv1.ReceiveResponse {
	return &pluginv1.ReceiveResponse{Deliveries: each(deliveries, func(d driver.Delivery) *pluginv1.Delivery {
		return &pluginv1.Delivery{Message: messageToProto(d.Message), Receipt: []byte(d.Receipt), Attempt: int64(d.Attempt)}
	})}
}

// DeliveriesFromProto returns the deliveries of a message.
func DeliveriesFromProto(m *pluginv1.ReceiveResponse) []driver.Delivery {
	return each(m.GetDeliveries(), func(d *pluginv1.Delivery) driver.Delivery {
		return driver.Delivery{Message: messageFromProto(d.GetMessage()), Receipt: string(d.GetReceipt()), Attempt: int(d.GetAttempt())}
	})
}

// AckToProto returns the message of a request.
func AckToProto(r driver.AckRequest) *pluginv1.AckRequest {
	return &pluginv1.AckRequest{Queue: r.Queue, Receipts: each(r.Receipts, func(s string) []byte { return []byte(s) })}
}

// AckFromProto returns the request of a message.
func AckFromProto(m *pluginv1.AckRequest) driver.AckRequest {
	return driver.AckRequest{Queue: m.GetQueue(), Receipts: each(m.GetReceipts(), func(b []byte) string { return string(b) })}
}
