package wire

import (
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/pluginv1"
)

// StoreCapabilitiesToProto returns the message of capabilities.
func StoreCapabilitiesToProto(c driver.StoreCapabilities) *pluginv1.GetStoreCapabilitiesResponse {
	return &pluginv1.GetStoreCapabilitiesResponse{
		MaxRecordBytes: int64(c.MaxRecordBytes), MaxGroupOps: int64(c.MaxGroupOps), MaxScanLimit: int64(c.MaxScanLimit),
		CheapGroups: c.CheapGroups, FreshIndexes: c.FreshIndexes, ReturnsCurrent: c.ReturnsCurrent, Shared: c.Shared,
		ExpiryLag: durationToProto(c.ExpiryLag),
	}
}

// StoreCapabilitiesFromProto returns the capabilities of a message.
func StoreCapabilitiesFromProto(m *pluginv1.GetStoreCapabilitiesResponse) driver.StoreCapabilities {
	return driver.StoreCapabilities{
		MaxRecordBytes: int(m.GetMaxRecordBytes()), MaxGroupOps: int(m.GetMaxGroupOps()), MaxScanLimit: int(m.GetMaxScanLimit()),
		CheapGroups: m.GetCheapGroups(), FreshIndexes: m.GetFreshIndexes(), ReturnsCurrent: m.GetReturnsCurrent(), Shared: m.GetShared(),
		ExpiryLag: m.GetExpiryLag().AsDuration(),
	}
}

// MigrateToProto returns the message of a request.
func MigrateToProto(r driver.MigrateRequest) *pluginv1.MigrateRequest {
	return &pluginv1.MigrateRequest{DryRun: r.DryRun, Kinds: each(r.Schema.Kinds, func(k driver.KindSchema) *pluginv1.KindSchema {
		return &pluginv1.KindSchema{Kind: string(k.Kind), Indexes: k.Indexes}
	})}
}

// MigrateFromProto returns the request of a message.
func MigrateFromProto(m *pluginv1.MigrateRequest) driver.MigrateRequest {
	return driver.MigrateRequest{DryRun: m.GetDryRun(), Schema: driver.Schema{Kinds: each(m.GetKinds(), func(k *pluginv1.KindSchema) driver.KindSchema {
		return driver.KindSchema{Kind: driver.Kind(k.GetKind()), Indexes: k.GetIndexes()}
	})}}
}

func keyToProto(k driver.Key) *pluginv1.Key {
	return &pluginv1.Key{Kind: string(k.Kind), Part: k.Part, Sort: k.Sort}
}

func keyFromProto(m *pluginv1.Key) driver.Key {
	return driver.Key{Kind: driver.Kind(m.GetKind()), Part: m.GetPart(), Sort: m.GetSort()}
}

// GetToProto returns the message of a request for keys.
func GetToProto(keys []driver.Key) *pluginv1.GetRequest {
	return &pluginv1.GetRequest{Keys: each(keys, keyToProto)}
}

// GetFromProto returns the request of a message.
func GetFromProto(m *pluginv1.GetRequest) driver.GetRequest {
	return driver.GetRequest{Keys: each(m.GetKeys(), keyFromProto)}
}

func recordToProto(r *driver.Record) *pluginv1.Record {
	m := &pluginv1.Record{Key: keyToProto(r.Key), Version: []byte(r.Version)}
	fillRecord(m, r)
	return m
}

// fillRecord sets all but the key and the version.
func fillRecord(m *pluginv1.Record, r *driver.Record) {
	m.Body = r.Body
	m.Index = each(r.Index, func(e driver.IndexEntry) *pluginv1.IndexEntry {
		return &pluginv1.IndexEntry{Index: e.Index, Part: e.Part, Sort: e.Sort}
	})
	if !r.ExpireAt.IsZero() {
		seconds := r.ExpireAt.Unix()
		m.ExpireAt = &seconds
	}
}

func recordFromProto(m *pluginv1.Record) driver.Record {
	r := driver.Record{
		Key: keyFromProto(m.GetKey()), Version: driver.Version(m.GetVersion()), Body: m.GetBody(),
		Index: each(m.GetIndex(), func(e *pluginv1.IndexEntry) driver.IndexEntry {
			return driver.IndexEntry{Index: e.GetIndex(), Part: e.GetPart(), Sort: e.GetSort()}
		}),
	}
	if m.ExpireAt != nil {
		r.ExpireAt = time.Unix(m.GetExpireAt(), 0)
	}
	return r
}

// size is about how many bytes a record takes in a message.
func size(r *driver.Record) int {
	const frame = 32
	n := frame + len(r.Key.Kind) + len(r.Key.Part) + len(r.Key.Sort) + len(r.Version) + len(r.Body)
	for _, e := range r.Index {
		n += frame + len(e.Index) + len(e.Part) + len(e.Sort)
	}
	return n
}

// fit returns how many of the items at the beginning go into a message: at least one.
func fit[T any](items []T, size func(*T) int) int {
	for i, total := 0, 0; i < len(items); i++ {
		if total += size(&items[i]); total > PartBytes && i > 0 {
			return i
		}
	}
	return len(items)
}

// FitKeys returns how many of the keys go into one message.
func FitKeys(keys []driver.Key) int {
	return fit(keys, func(k *driver.Key) int { return size(&driver.Record{Key: *k}) })
}

// FitGroups returns how many of the groups go into one message.
func FitGroups(groups []driver.Group) int {
	return fit(groups, func(g *driver.Group) int { return GroupSize(*g) })
}

// GroupSize is about how many bytes a group takes in a message.
func GroupSize(g driver.Group) (n int) {
	for i := range g {
		n += size(&g[i].Record) + len(g[i].Version)
	}
	return n
}

// FitRecords returns how many of the records of a scan go into one message.
func FitRecords(records []driver.Record) int { return fit(records, size) }

// FoundToProto returns the message of the records that Get found, as many as it can hold, without their keys.
func FoundToProto(records []*driver.Record) *pluginv1.GetResponse {
	n := fit(records, func(r **driver.Record) int {
		if *r == nil {
			return 0
		}
		return size(*r)
	})
	return &pluginv1.GetResponse{Records: each(records[:n], func(r *driver.Record) *pluginv1.Record {
		if r == nil {
			return &pluginv1.Record{}
		}
		m := recordToProto(r)
		m.Key = nil
		return m
	})}
}

// FoundFromProto returns the records of a message, for the first of the keys that were asked for.
func FoundFromProto(m *pluginv1.GetResponse, keys []driver.Key) []*driver.Record {
	records := make([]*driver.Record, len(m.GetRecords()))
	for i, found := range m.GetRecords() {
		if len(found.GetVersion()) == 0 {
			continue
		}
		r := recordFromProto(found)
		r.Key = keys[i]
		records[i] = &r
	}
	return records
}

// ScanToProto returns the message of a request.
func ScanToProto(r driver.ScanRequest) *pluginv1.ScanRequest {
	return &pluginv1.ScanRequest{
		Kind: string(r.Kind), Index: r.Index, Part: r.Part, From: r.From, To: r.To, Reverse: r.Reverse, Limit: int64(r.Limit), Cursor: []byte(r.Cursor),
	}
}

// ScanFromProto returns the request of a message.
func ScanFromProto(m *pluginv1.ScanRequest) driver.ScanRequest {
	return driver.ScanRequest{
		Kind: driver.Kind(m.GetKind()), Index: m.GetIndex(), Part: m.GetPart(), From: m.GetFrom(), To: m.GetTo(),
		Reverse: m.GetReverse(), Limit: int(m.GetLimit()), Cursor: string(m.GetCursor()),
	}
}

// PageToProto returns the message of a page.
func PageToProto(p driver.ScanResponse) *pluginv1.ScanResponse {
	return &pluginv1.ScanResponse{Next: []byte(p.Next), Records: each(p.Records, func(r driver.Record) *pluginv1.Record { return recordToProto(&r) })}
}

// PageFromProto returns the page of a message.
func PageFromProto(m *pluginv1.ScanResponse) driver.ScanResponse {
	return driver.ScanResponse{Next: string(m.GetNext()), Records: each(m.GetRecords(), recordFromProto)}
}

// opBlock is the messages of an operation. A batch takes all of its from one allocation instead of four for each.
type opBlock struct {
	op     pluginv1.Op
	record pluginv1.Record
	key    pluginv1.Key
}

func (b *opBlock) fill(o *driver.Op) *pluginv1.Op {
	b.key.Kind, b.key.Part, b.key.Sort = string(o.Record.Key.Kind), o.Record.Key.Part, o.Record.Key.Sort
	b.record.Key = &b.key
	if o.Type == driver.Put {
		fillRecord(&b.record, &o.Record)
	}
	b.op.Type, b.op.Cond, b.op.Record = pluginv1.OpType(o.Type)+1, pluginv1.Cond(o.Cond)+1, &b.record
	if o.Cond == driver.IfVersion {
		b.op.Version = []byte(o.Version)
	}
	return &b.op
}

// WriteToProto returns the message of groups that are valid.
func WriteToProto(groups []driver.Group) *pluginv1.WriteRequest {
	total := 0
	for _, g := range groups {
		total += len(g)
	}
	blocks, ops, made := make([]opBlock, total), make([]*pluginv1.Op, total), make([]pluginv1.Group, len(groups))
	m := &pluginv1.WriteRequest{Groups: make([]*pluginv1.Group, len(groups))}
	for i, g := range groups {
		for j := range g {
			ops[j] = blocks[j].fill(&g[j])
		}
		made[i].Ops, m.Groups[i] = ops[:len(g):len(g)], &made[i]
		blocks, ops = blocks[len(g):], ops[len(g):]
	}
	return m
}

// WriteFromProto returns the request of a message. What is unspecified in it is what no driver takes.
func WriteFromProto(m *pluginv1.WriteRequest) driver.WriteRequest {
	total := 0
	for _, g := range m.GetGroups() {
		total += len(g.GetOps())
	}
	ops := make([]driver.Op, 0, total) // of all groups
	return driver.WriteRequest{Groups: each(m.GetGroups(), func(g *pluginv1.Group) driver.Group {
		start := len(ops)
		for _, o := range g.GetOps() {
			ops = append(ops, driver.Op{
				Type: driver.OpType(o.GetType() - 1), Cond: driver.Cond(o.GetCond() - 1), // unspecified is 255, which is invalid
				Record: recordFromProto(o.GetRecord()), Version: driver.Version(o.GetVersion()),
			})
		}
		return ops[start:len(ops):len(ops)]
	})}
}

// ResultsToProto returns the message of the results of a Write.
func ResultsToProto(results []driver.WriteResult) *pluginv1.WriteResponse {
	return &pluginv1.WriteResponse{Results: each(results, func(r driver.WriteResult) *pluginv1.WriteResult {
		m := &pluginv1.WriteResult{
			Error: ErrorToProto(r.Err), Failed: uint32(max(r.Failed, 0)),
			Versions: each(r.Versions, func(v driver.Version) []byte { return []byte(v) }),
		}
		if r.Current != nil {
			m.Current = recordToProto(r.Current)
		}
		return m
	})}
}

// ResultsFromProto returns the results of a message.
func ResultsFromProto(m *pluginv1.WriteResponse) []driver.WriteResult {
	return each(m.GetResults(), func(r *pluginv1.WriteResult) driver.WriteResult {
		result := driver.WriteResult{
			Err: ErrorFromProto(r.GetError()), Failed: int(r.GetFailed()),
			Versions: each(r.GetVersions(), func(v []byte) driver.Version { return driver.Version(v) }),
		}
		if r.GetCurrent() != nil {
			current := recordFromProto(r.GetCurrent())
			result.Current = &current
		}
		return result
	})
}

// StepsToProto returns the message of the steps of a Migrate.
func StepsToProto(steps []string) *pluginv1.MigrateResponse {
	return &pluginv1.MigrateResponse{Steps: each(steps, text)}
}
