package aws

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/pop-platform/pop/plugins/driver"
)

// blobs keep the bodies that are not in the item of their record. A blob is written before the record that names it and removed after
// the record that named it: a crash in between leaves a blob that nobody reads, and never a record without its body.
type blobs interface {
	// above is the size from which a packed body is a blob.
	above() int
	// put keeps a body, beside the table of its record, and returns its place. It takes the body as it is.
	put(ctx context.Context, table string, packed []byte) (place string, err error)
	// get returns a body, or nil if it has been removed.
	get(ctx context.Context, table, place string) ([]byte, error)
	remove(ctx context.Context, table, place string) error
}

// errPlace is of a body that is where this configuration does not look.
func errPlace(place string) error {
	return driver.Errorf(driver.Unavailable, "dynamodb: get",
		"a body is at %q, which is not where the configuration says; set store.bodies.bucket as it was when the body was written", place)
}

// chunks keeps bodies in further items of the table.
type chunks struct{ store *Store }

const (
	chunkBytes  = maxInline
	chunkPlace  = "items/" // then the id and the number of chunks
	chunkMark   = "#"      // begins the partition key of a chunk, as no kind does
	maxBatchPut = 25
)

func (c *chunks) above() int { return maxInline }

func chunkKey(id string, n int) item {
	return item{attrPart: text(chunkMark + id), attrSort: text(fmt.Sprintf("%04d", n))}
}

func (c *chunks) put(ctx context.Context, table string, packed []byte) (string, error) {
	id := rand.Text()
	var puts []types.WriteRequest
	for len(packed) > 0 {
		n := min(len(packed), chunkBytes)
		it := chunkKey(id, len(puts))
		it[attrBody] = &types.AttributeValueMemberB{Value: packed[:n]}
		puts = append(puts, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}})
		packed = packed[n:]
	}
	place := chunkPlace + id + "/" + strconv.Itoa(len(puts))
	return place, c.write(ctx, table, puts)
}

// write makes all of some requests for chunks.
func (c *chunks) write(ctx context.Context, table string, requests []types.WriteRequest) error {
	for len(requests) > 0 {
		batch := requests[:min(len(requests), maxBatchPut)]
		left, err := c.store.batchWrite(ctx, map[string][]types.WriteRequest{table: batch})
		if err != nil {
			return err
		}
		if len(left[table]) == len(batch) {
			return c.store.putOff("write", table)
		}
		requests = append(left[table], requests[len(batch):]...)
	}
	return nil
}

func (c *chunks) parse(place string) (id string, n int, err error) {
	id, count, ok := strings.Cut(strings.TrimPrefix(place, chunkPlace), "/")
	n, err = strconv.Atoi(count)
	if !ok || err != nil || !strings.HasPrefix(place, chunkPlace) {
		return "", 0, errPlace(place)
	}
	return id, n, nil
}

func (c *chunks) get(ctx context.Context, table, place string) ([]byte, error) {
	id, n, err := c.parse(place)
	if err != nil {
		return nil, err
	}
	keys := make([]item, n)
	for i := range keys {
		keys[i] = chunkKey(id, i)
	}
	items, err := c.store.batchGet(ctx, map[string]types.KeysAndAttributes{table: {Keys: keys, ConsistentRead: awssdk.Bool(true)}})
	if err != nil || len(items) < n {
		return nil, err
	}
	parts := make([][]byte, n)
	for _, it := range items {
		i, err := strconv.Atoi(textOf(it[attrSort]))
		body, ok := it[attrBody].(*types.AttributeValueMemberB)
		if err != nil || !ok || i >= n {
			return nil, driver.Errorf(driver.Corrupt, "dynamodb: get", "chunk %q of %q cannot be read", textOf(it[attrSort]), place)
		}
		parts[i] = body.Value
	}
	return bytes.Join(parts, nil), nil
}

func (c *chunks) remove(ctx context.Context, table, place string) error {
	id, n, err := c.parse(place)
	if err != nil {
		return err
	}
	requests := make([]types.WriteRequest, n)
	for i := range requests {
		requests[i].DeleteRequest = &types.DeleteRequest{Key: chunkKey(id, i)}
	}
	return c.write(ctx, table, requests)
}

// objects keeps bodies in a bucket of S3.
type objects struct {
	s3     *s3.Client
	config BodiesConfig
	where  string
}

const objectPlace = "s3/" // then the key of the object

func newObjects(conn *connection, c BodiesConfig) *objects {
	client := s3.NewFromConfig(conn.sdk, func(o *s3.Options) {
		o.Retryer = awssdk.NopRetryer{}
		o.UsePathStyle = conn.sdk.BaseEndpoint != nil // an emulator has one name for all buckets
	})
	return &objects{client, c, conn.where}
}

func (o *objects) above() int { return o.config.Above }

func (o *objects) call(op string) call {
	return call{op: "s3: " + op, about: "bucket " + o.config.Bucket, where: o.where}
}

func (o *objects) put(ctx context.Context, _ string, packed []byte) (string, error) {
	key := o.config.Prefix + rand.Text()
	_, err := o.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &o.config.Bucket, Key: &key, Body: bytes.NewReader(packed)})
	// Whether the object is there does not matter yet: nothing names it.
	return objectPlace + key, o.call("put").fault(ctx, err)
}

func (o *objects) get(ctx context.Context, _, place string) ([]byte, error) {
	key, ok := strings.CutPrefix(place, objectPlace)
	if !ok {
		return nil, errPlace(place)
	}
	resp, err := o.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.config.Bucket, Key: &key})
	if _, gone := errors.AsType[*s3types.NoSuchKey](err); gone {
		return nil, nil
	}
	if err != nil {
		return nil, o.call("get").fault(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRecordBytes+1))
	return body, o.call("get").fault(ctx, err)
}

func (o *objects) remove(ctx context.Context, _, place string) error {
	key, ok := strings.CutPrefix(place, objectPlace)
	if !ok {
		return errPlace(place)
	}
	_, err := o.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &o.config.Bucket, Key: &key})
	return o.call("delete").fault(ctx, err)
}

// fill fetches the bodies that are not in the items of their records. It returns the keys of those whose body is gone, as the record
// was replaced meanwhile.
func (s *Store) fill(ctx context.Context, records []*driver.Record) (gone []driver.Key, err error) {
	var elsewhere []*driver.Record
	for _, r := range records {
		if blobOf(r.Version) != "" && !s.expired(r) {
			elsewhere = append(elsewhere, r)
		}
	}
	if len(elsewhere) == 0 {
		return nil, nil
	}
	var mu sync.Mutex
	err = parallel(len(elsewhere), func(i int) error {
		r := elsewhere[i]
		packed, err := s.blobs.get(ctx, s.table(r.Key.Kind), blobOf(r.Version))
		if err != nil {
			return err
		}
		if packed == nil {
			mu.Lock()
			defer mu.Unlock()
			gone = append(gone, r.Key)
			return nil
		}
		if r.Body, err = s.codec.unpack(packed); err != nil {
			return driver.Errorf(driver.Corrupt, "dynamodb: get", "body of %q: %w", r.Key, err)
		}
		return nil
	})
	return gone, err
}
