package driver

import (
	"strings"
	"unicode/utf8"
)

// Limits of keys, the same for every store.
const (
	MaxPartBytes = 1024
	MaxSortBytes = 512
)

// MaxQueueName is the longest name of a queue in bytes.
const MaxQueueName = 256

// Validate returns an Invalid error if no store could serve the request. Drivers call it first.
func (r GetRequest) Validate() error {
	for _, k := range r.Keys {
		if fault := k.fault(); fault != "" {
			return Errorf(Invalid, "get", "key %q: %s", k, fault)
		}
	}
	return nil
}

// Validate returns an Invalid error if no store could serve the request. Drivers call it first.
func (r ScanRequest) Validate() error {
	fault := textFault("part", r.Part, MaxPartBytes)
	switch {
	case r.Kind == "":
		fault = "kind is empty"
	case r.Limit < 0:
		fault = "limit is negative"
	case fault != "":
	case !cleanText(r.From), !cleanText(r.To):
		fault = "from and to must be UTF-8 without NUL"
	}
	if fault != "" {
		return Errorf(Invalid, "scan", "%s %q: %s", r.Kind, r.Part, fault)
	}
	return nil
}

// Validate returns an Invalid error if no store could serve the request, and a TooLarge one if a store with the given
// capabilities can't. Drivers call it first: such a request changes nothing.
func (r WriteRequest) Validate(c StoreCapabilities) error {
	seen := make(map[Key]struct{}, len(r.Groups))
	for _, g := range r.Groups {
		if limit := max(c.MaxGroupOps, 1); len(g) > limit {
			return Errorf(TooLarge, "write", "a group has %d operations, the limit is %d", len(g), limit)
		}
		for i := range g {
			op := &g[i]
			k := op.Record.Key
			if fault := op.fault(); fault != "" {
				return Errorf(Invalid, "write", "key %q: %s", k, fault)
			}
			if _, twice := seen[k]; twice {
				return Errorf(Invalid, "write", "key %q: named by two operations of one call", k)
			}
			seen[k] = struct{}{}
			if op.Type == Put && len(op.Record.Body) > c.MaxRecordBytes {
				return Errorf(TooLarge, "write", "key %q: body has %d bytes, the limit is %d", k, len(op.Record.Body), c.MaxRecordBytes)
			}
		}
	}
	return nil
}

func (o *Op) fault() string {
	if fault := o.Record.Key.fault(); fault != "" {
		return fault
	}
	if o.Type > Check || o.Cond > IfVersion {
		return "no such operation or condition"
	}
	if o.Type != Put {
		return ""
	}
	for i, e := range o.Record.Index {
		if e.Index == "" {
			return "index without a name"
		}
		if fault := textFault("part", e.Part, MaxPartBytes); fault != "" {
			return "index " + e.Index + ": " + fault
		}
		if fault := textFault("sort", e.Sort, MaxSortBytes); fault != "" {
			return "index " + e.Index + ": " + fault
		}
		for _, other := range o.Record.Index[:i] {
			if other.Index == e.Index {
				return "index " + e.Index + ": more than one entry"
			}
		}
	}
	return ""
}

func (k Key) fault() string {
	if k.Kind == "" {
		return "kind is empty"
	}
	if fault := textFault("part", k.Part, MaxPartBytes); fault != "" {
		return fault
	}
	return textFault("sort", k.Sort, MaxSortBytes)
}

// Validate returns an Invalid error if the name can't be that of a queue.
func (r EnsureRequest) Validate() error {
	if fault := textFault("name", r.Queue, MaxQueueName); fault != "" {
		return Errorf(Invalid, "ensure", "queue %q: %s", r.Queue, fault)
	}
	return nil
}

// Validate returns a TooLarge error if a queue with the given capabilities can't take so many messages at once. Drivers
// call it first: such a request sends nothing.
func (r SendRequest) Validate(c QueueCapabilities) error {
	if len(r.Messages) > c.MaxBatch {
		return Errorf(TooLarge, "send", "%d messages, the limit is %d", len(r.Messages), c.MaxBatch)
	}
	return nil
}

// Validate returns the error of a message that no queue, or no queue with the given capabilities, could take: the
// result of that message alone.
func (m Message) Validate(c QueueCapabilities) error {
	switch {
	case len(m.Body) == 0:
		return Errorf(Invalid, "send", "the body is empty")
	case len(m.Body) > c.MaxBytes:
		return Errorf(TooLarge, "send", "body has %d bytes, the limit is %d", len(m.Body), c.MaxBytes)
	case !cleanText(m.Group):
		return Errorf(Invalid, "send", "group %q must be UTF-8 without NUL", m.Group)
	}
	return nil
}

// Validate returns an Invalid error if the request asks for less than one message. Drivers call it first.
func (r ReceiveRequest) Validate() error {
	if r.Max < 1 {
		return Errorf(Invalid, "receive", "at most %d messages were asked for", r.Max)
	}
	return nil
}

// Validate returns a TooLarge error if a queue with the given capabilities can't take so many receipts at once. Drivers
// call it first.
func (r AckRequest) Validate(c QueueCapabilities) error {
	if len(r.Receipts) > c.MaxBatch {
		return Errorf(TooLarge, "ack", "%d receipts, the limit is %d", len(r.Receipts), c.MaxBatch)
	}
	return nil
}

func textFault(what, s string, limit int) string {
	switch {
	case s == "":
		return what + " is empty"
	case len(s) > limit:
		return what + " is too long"
	case !cleanText(s):
		return what + " must be UTF-8 without NUL"
	}
	return ""
}

func cleanText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
