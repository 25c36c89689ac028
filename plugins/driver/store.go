package driver

import (
	"context"
	"time"
)

// Store keeps versioned records. Reads of primary keys are linearizable; secondary indexes are hints that may be stale.
//
// Kinds and indexes must have been in a schema given to Migrate, by this or an earlier process; with others a store may
// work or answer Invalid. A request that breaks a rule (Invalid) or a limit (TooLarge) is refused as a whole before
// anything is done: the requests' Validate methods say which. After Close every method but Close and Capabilities answers
// Unavailable.
type Store interface {
	// Capabilities reports the store's limits and qualities. It does no I/O and always answers the same.
	Capabilities(ctx context.Context) (StoreCapabilities, error)

	// Migrate creates or checks what the schema needs. It is idempotent. With DryRun it changes nothing. The steps it
	// returns are what it did, or would do, in words.
	Migrate(ctx context.Context, req MigrateRequest) (MigrateResponse, error)

	// Get reads records by primary key, strongly consistent. The response has one entry per key, in order; an absent or
	// expired record is nil. A key may be named twice. There is no limit on the number of keys: the driver splits.
	Get(ctx context.Context, req GetRequest) (GetResponse, error)

	// Scan reads one page of a range, in bytewise order of Sort. A page may be shorter than Limit, or empty, and still have
	// a Next cursor. A scan of the primary key is strongly consistent and returns whole records; each page is as of its own
	// call, so that of the records written between two pages it may return some and not others, but none twice. A scan of
	// an index returns keys and may be stale: it may miss a record written a moment ago, or return one that has left the
	// index, expired or been deleted. Records of equal Sort in an index come in any order.
	Scan(ctx context.Context, req ScanRequest) (ScanResponse, error)

	// Write applies groups of operations. Each group is applied as a whole or not at all and is durable before Write
	// returns; groups are independent of each other and may be applied in any order, and there is no limit on their number:
	// the driver splits. The response has one result per group, in order. An error return means that no group has a known
	// result, unless its Outcome is NotApplied: then none was applied. No two operations of a call may name the same key.
	// An empty group succeeds.
	Write(ctx context.Context, req WriteRequest) (WriteResponse, error)

	// Close releases the store after the calls in flight have ended. It is idempotent.
	Close(ctx context.Context) error
}

// StoreCapabilities are the declared limits and qualities of a [Store]. The zero value is the least capable store.
type StoreCapabilities struct {
	MaxRecordBytes int // largest Body; at least 64 KiB
	MaxGroupOps    int // most operations in one group; 1 means no atomic groups
	MaxScanLimit   int // largest page; larger limits are cut to it

	// CheapGroups says that a group of several operations costs no more than its operations one by one.
	CheapGroups bool
	// FreshIndexes says that an index scan sees every acknowledged write.
	FreshIndexes bool
	// ReturnsCurrent says that a conflict carries the record that is there.
	ReturnsCurrent bool
	// Shared says that several processes may use the same data at once.
	Shared bool
	// ExpiryLag is how long an expired record may keep its space. Readers never see it.
	ExpiryLag time.Duration
}

// Kind is a type of record, such as "run". Kinds and their indexes are declared in a [Schema].
type Kind string

// Schema declares every kind of record that the core uses.
type Schema struct{ Kinds []KindSchema }

// KindSchema declares a kind and the names of its secondary indexes.
type KindSchema struct {
	Kind    Kind
	Indexes []string
}

// Key is a primary key. Records with the same Kind and Part are ordered by Sort, bytewise; backends may shard by Part.
// Part and Sort are any UTF-8 without NUL; Part is 1 to [MaxPartBytes] bytes and Sort 1 to [MaxSortBytes].
type Key struct {
	Kind Kind
	Part string
	Sort string
}

// Version is an opaque stamp that changes with every write of a record. The empty version is that of an absent record.
type Version string

// IndexEntry places a record in a secondary index, in which it has at most one entry. A record without an entry for an
// index is not in it. Part and Sort are as in a [Key], but records may share them.
type IndexEntry struct {
	Index string
	Part  string
	Sort  string
}

// Record is the unit of storage. Body is opaque to the driver, which need not tell a nil one from an empty one. The order
// of Index means nothing.
type Record struct {
	Key     Key
	Version Version // set by the store; ignored in a Put, which takes its condition from Op
	Index   []IndexEntry
	Body    []byte
	// ExpireAt, if not zero, is when readers stop seeing the record, cut to the second. For conditions too the record is
	// absent then. It is for garbage collection only.
	ExpireAt time.Time
}

// OpType is what an [Op] does.
type OpType uint8

const (
	// Put writes the whole record.
	Put OpType = iota
	// Delete removes the record. Deleting an absent record succeeds.
	Delete
	// Check changes nothing and only adds its condition to the group.
	Check
)

// Cond is the condition of an [Op].
type Cond uint8

const (
	// Always holds.
	Always Cond = iota
	// IfAbsent holds if there is no record with the key.
	IfAbsent
	// IfVersion holds if the record exists with the version given in the Op. A version that was never issued, such as the
	// empty one, never holds.
	IfVersion
)

// Op is one operation of a group.
type Op struct {
	Type    OpType
	Record  Record // Delete and Check use only its Key
	Cond    Cond
	Version Version // for IfVersion
}

// Group is a list of operations that are applied as a whole or not at all.
type Group []Op

// MigrateRequest are the arguments of [Store.Migrate].
type MigrateRequest struct {
	Schema Schema
	DryRun bool
}

// MigrateResponse is the result of [Store.Migrate].
type MigrateResponse struct{ Steps []string }

// GetRequest are the arguments of [Store.Get].
type GetRequest struct{ Keys []Key }

// GetResponse is the result of [Store.Get].
type GetResponse struct{ Records []*Record }

// ScanRequest are the arguments of [Store.Scan]: Sort in [From, To), where an empty To has no end. From
// and To are UTF-8 without NUL. A From that is not before To makes an empty range.
type ScanRequest struct {
	Kind    Kind
	Index   string // empty for the primary key
	Part    string
	From    string
	To      string
	Reverse bool
	Limit   int    // 0 means MaxScanLimit
	Cursor  string // Next of the page before; valid only with the same arguments. Any UTF-8, Limit may differ
}

// ScanResponse is the result of [Store.Scan]. Items of an index scan have no Body and no Version, and their Index holds
// just the entry that was found.
type ScanResponse struct {
	Records []Record
	Next    string // empty if there is no more
}

// WriteRequest are the arguments of [Store.Write].
type WriteRequest struct{ Groups []Group }

// WriteResponse is the result of [Store.Write].
type WriteResponse struct{ Results []WriteResult }

// WriteResult is the result of one group. Without Err, Versions has one entry per operation, empty for Delete and Check.
// If Err is a Conflict, Failed is the index of an operation whose condition did not hold, and Current is the record that
// is there if the store declares ReturnsCurrent; nil means absent.
type WriteResult struct {
	Err      error
	Versions []Version
	Failed   int
	Current  *Record
}
