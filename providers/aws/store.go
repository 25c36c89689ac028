package aws

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/pop-platform/pop/plugins/driver"
)

const (
	maxRecordBytes = 4 << 20
	maxScanLimit   = 1000
	maxGroupOps    = 100 // of TransactWriteItems

	// maxConcurrent bounds the requests that one call makes at the same time.
	maxConcurrent = 64

	storeTimeout = 15 * time.Second // of one request
)

var storeCapabilities = driver.StoreCapabilities{
	MaxRecordBytes: maxRecordBytes,
	MaxGroupOps:    maxGroupOps,
	MaxScanLimit:   maxScanLimit,
	ReturnsCurrent: true,
	Shared:         true,
	ExpiryLag:      48 * time.Hour, // DynamoDB deletes within days; readers filter
}

// Store is a [driver.Store] on DynamoDB.
type Store struct {
	config StoreConfig
	db     *dynamodb.Client
	codec  codec
	blobs  blobs
	conn   *connection
	now    func() time.Time
	calm   calm
	life   life

	migrated atomic.Bool // by this process
}

// OpenStore opens a store. It makes no request: the tables are looked at by Migrate.
func OpenStore(ctx context.Context, c Config, o Options) (*Store, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, driver.Errorf(driver.Invalid, "dynamodb: open", "%w", err)
	}
	conn, err := connect(ctx, c, o, storeTimeout)
	if err != nil {
		return nil, err
	}
	s := &Store{config: c.Store, codec: newCodec(), conn: conn, now: o.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.db = dynamodb.NewFromConfig(conn.sdk, func(o *dynamodb.Options) { o.Retryer = awssdk.NopRetryer{} })
	if c.Store.Bodies.Bucket != "" {
		s.blobs = newObjects(conn, c.Store.Bodies)
	} else {
		s.blobs = &chunks{s}
	}
	return s, nil
}

// Capabilities implements [driver.Store].
func (s *Store) Capabilities(context.Context) (driver.StoreCapabilities, error) {
	return storeCapabilities, nil
}

// Close implements [driver.Store].
func (s *Store) Close(context.Context) error {
	s.life.close()
	s.conn.close()
	return nil
}

// CheckHealth asks DynamoDB for the state of the table, which costs nothing. Before Migrate there need be no table.
func (s *Store) CheckHealth(ctx context.Context) error {
	done, err := s.begin(ctx, "health")
	if err != nil {
		return err
	}
	defer done()
	_, err = s.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &s.config.Table})
	if _, absent := errors.AsType[*types.ResourceNotFoundException](err); absent && !s.migrated.Load() {
		return nil
	}
	return s.fault(ctx, "health", s.config.Table, err)
}

// begin starts a call, which lasts until the function it returns is called.
func (s *Store) begin(ctx context.Context, op string) (func(), error) {
	return s.life.begin(ctx, "dynamodb: "+op)
}

func (s *Store) call(op, table string) call {
	return call{op: "dynamodb: " + op, about: "table " + table, where: s.conn.where}
}

// table returns where a kind of record is.
func (s *Store) table(kind driver.Kind) string {
	if t, ok := s.config.Tables[string(kind)]; ok {
		return t
	}
	return s.config.Table
}

// lanes returns over how many partitions an index is spread.
func (s *Store) lanes(index string) int { return max(1, s.config.Spread[index]) }

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	done, err := s.begin(ctx, "get")
	if err != nil {
		return driver.GetResponse{}, err
	}
	defer done()
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	records, err := s.read(ctx, req.Keys)
	return driver.GetResponse{Records: records}, err
}

// maxReads bounds how often a body that was replaced while it was read is looked for again.
const maxReads = 5

// read returns the records with the keys, in order.
func (s *Store) read(ctx context.Context, keys []driver.Key) ([]*driver.Record, error) {
	found := make(map[driver.Key]*driver.Record, len(keys))
	wanted := make([]driver.Key, 0, len(keys))
	for _, k := range keys {
		if _, twice := found[k]; !twice {
			found[k] = nil
			wanted = append(wanted, k)
		}
	}
	for attempt := 1; len(wanted) > 0; attempt++ {
		records, err := s.readItems(ctx, wanted)
		if err != nil {
			return nil, err
		}
		gone, err := s.fill(ctx, records)
		if err != nil {
			return nil, err
		}
		if len(gone) > 0 && attempt == maxReads {
			return nil, driver.Errorf(driver.Corrupt, "dynamodb: get", "the body of record %q is missing", gone[0])
		}
		for _, k := range wanted {
			found[k] = nil
		}
		for _, r := range records {
			if !s.expired(r) {
				found[r.Key] = r
			}
		}
		wanted = gone
	}
	out := make([]*driver.Record, len(keys))
	returned := make(map[driver.Key]bool, len(keys))
	for i, k := range keys {
		r := found[k]
		if r != nil && returned[k] { // a copy, as each belongs to the caller
			r = cloneRecord(r)
		}
		out[i], returned[k] = r, true
	}
	return out, nil
}

func cloneRecord(r *driver.Record) *driver.Record {
	c := *r
	c.Body = append([]byte(nil), r.Body...)
	c.Index = append([]driver.IndexEntry(nil), r.Index...)
	return &c
}

// maxBatchGet is the most keys of a BatchGetItem.
const maxBatchGet = 100

// readItems returns those of the records that are there, in any order, without bodies that are elsewhere.
func (s *Store) readItems(ctx context.Context, keys []driver.Key) ([]*driver.Record, error) {
	batches := (len(keys) + maxBatchGet - 1) / maxBatchGet
	parts := make([][]*driver.Record, batches)
	err := parallel(batches, func(i int) error {
		batch := keys[i*maxBatchGet : min((i+1)*maxBatchGet, len(keys))]
		request := map[string]types.KeysAndAttributes{}
		for _, k := range batch {
			table := s.table(k.Kind)
			r := request[table]
			r.ConsistentRead = awssdk.Bool(true)
			r.Keys = append(r.Keys, itemKey(k))
			request[table] = r
		}
		items, err := s.batchGet(ctx, request)
		if err != nil {
			return err
		}
		for _, it := range items {
			r, err := s.decode(it)
			if err != nil {
				return driver.Errorf(driver.Corrupt, "dynamodb: get", "%w", err)
			}
			parts[i] = append(parts[i], r)
		}
		return nil
	})
	var all []*driver.Record
	for _, part := range parts {
		all = append(all, part...)
	}
	return all, err
}

// batchGet reads items until none is left that DynamoDB has put off. It goes on for as long as some are answered.
func (s *Store) batchGet(ctx context.Context, request map[string]types.KeysAndAttributes) ([]item, error) {
	var items []item
	for len(request) > 0 {
		resp, err := s.db.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
			RequestItems: request, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes,
		})
		if err != nil {
			return nil, s.fault(ctx, "get", anyKey(request), err)
		}
		got := 0
		for _, found := range resp.Responses {
			items = append(items, found...)
			got += len(found)
		}
		if len(resp.UnprocessedKeys) > 0 && got == 0 && countKeys(resp.UnprocessedKeys) == countKeys(request) {
			return nil, s.putOff("get", anyKey(request))
		}
		request = resp.UnprocessedKeys
	}
	return items, nil
}

func countKeys(request map[string]types.KeysAndAttributes) (n int) {
	for _, r := range request {
		n += len(r.Keys)
	}
	return n
}

func anyKey[V any](m map[string]V) string {
	for k := range m {
		return k
	}
	return ""
}

// fault classifies the error of a call that changes nothing.
func (s *Store) fault(ctx context.Context, op, table string, err error) error {
	return s.calm.after(table, s.call(op, table).fault(ctx, err))
}

// putOff is the error of a batch of which DynamoDB did nothing.
func (s *Store) putOff(op, table string) error {
	return s.calm.after(table, &driver.Error{
		Code: driver.Throttled, Op: "dynamodb: " + op, Message: table + ": DynamoDB put off the whole batch", RetryAfter: 50 * time.Millisecond,
	})
}

// parallel calls f with each number below n, some at the same time, and returns the first error.
func parallel(n int, f func(i int) error) error {
	if n == 1 {
		return f(0)
	}
	var wg sync.WaitGroup
	errs := make([]error, n)
	free := make(chan struct{}, maxConcurrent)
	for i := range n {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			errs[i] = f(i)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
