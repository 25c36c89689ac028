package aws

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/klauspost/compress/zstd"

	"github.com/pop-platform/pop/plugins/driver"
)

type item = map[string]types.AttributeValue

// The first byte of a stored body says how the rest is to be read.
const (
	formatPlain = 0
	formatZstd  = 1
)

// codec packs and unpacks bodies.
type codec struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newCodec() codec {
	var c codec
	// Options that are constant cannot be refused.
	c.encoder, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	c.decoder, _ = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*maxRecordBytes), zstd.WithDecoderLowmem(true))
	return c
}

// pack returns a body as it is stored.
func (c codec) pack(body []byte) []byte {
	packed := c.encoder.EncodeAll(body, append(make([]byte, 0, len(body)/2+64), formatZstd))
	if len(packed) <= len(body) {
		return packed
	}
	return append([]byte{formatPlain}, body...)
}

// unpack undoes pack.
func (c codec) unpack(packed []byte) ([]byte, error) {
	if len(packed) == 0 {
		return nil, nil
	}
	switch packed[0] {
	case formatPlain:
		return packed[1:], nil
	case formatZstd:
		return c.decoder.DecodeAll(packed[1:], nil)
	}
	return nil, fmt.Errorf("unknown format %d; it was written by a newer version", packed[0])
}

// blobMark stands in a version before the place of a body that is not in the item. So whoever replaces the record by its version knows
// what else to remove.
const blobMark = "~"

// newVersion returns one that was never issued before.
func newVersion(blob string) driver.Version {
	var b [9]byte
	_, _ = rand.Read(b[:]) // never fails
	v := base64.RawURLEncoding.EncodeToString(b[:])
	if blob != "" {
		v += blobMark + blob
	}
	return driver.Version(v)
}

// blobOf returns where the body of a version is; empty if it is in the item.
func blobOf(v driver.Version) string {
	_, blob, _ := strings.Cut(string(v), blobMark)
	return blob
}

// encode makes an item of a record with its packed body, which is elsewhere if blob is not empty.
func (s *Store) encode(r *driver.Record, packed []byte, blob string) (item, driver.Version) {
	version := newVersion(blob)
	it := itemKey(r.Key)
	it[attrVersion] = text(string(version))
	if blob == "" && len(r.Body) > 0 {
		it[attrBody] = &types.AttributeValueMemberB{Value: packed}
	}
	if !r.ExpireAt.IsZero() {
		it[attrExpiry] = &types.AttributeValueMemberN{Value: strconv.FormatInt(r.ExpireAt.Unix(), 10)}
	}
	for _, e := range r.Index {
		part, sort := indexAttributes(e.Index)
		it[part] = text(lanePart(r.Key.Kind, e.Part, laneOf(r.Key, s.lanes(e.Index))))
		it[sort] = text(e.Sort)
	}
	return it, version
}

// decode undoes [Store.encode]. It is the caller's to fetch a body that is elsewhere.
func (s *Store) decode(it item) (*driver.Record, error) {
	kind, part, err := splitPartKey(textOf(it[attrPart]))
	if err != nil {
		return nil, err
	}
	r := &driver.Record{Key: driver.Key{Kind: kind, Part: part, Sort: textOf(it[attrSort])}, Version: driver.Version(textOf(it[attrVersion]))}
	if b, ok := it[attrBody].(*types.AttributeValueMemberB); ok {
		if r.Body, err = s.codec.unpack(b.Value); err != nil {
			return nil, fmt.Errorf("body of %q: %w", r.Key, err)
		}
	}
	if n, ok := it[attrExpiry].(*types.AttributeValueMemberN); ok {
		seconds, err := strconv.ParseInt(n.Value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("expiry of %q: %w", r.Key, err)
		}
		r.ExpireAt = time.Unix(seconds, 0).UTC()
	}
	for name, value := range it {
		escaped, ok := strings.CutSuffix(name, partSuffix)
		if !ok {
			continue
		}
		index, err := url.QueryUnescape(escaped)
		if err != nil {
			return nil, fmt.Errorf("attribute %q of %q: %w", name, r.Key, err)
		}
		r.Index = append(r.Index, driver.IndexEntry{Index: index, Part: unlane(textOf(value)), Sort: textOf(it[escaped+sortSuffix])})
	}
	return r, nil
}

// expired reports whether readers see a record no more.
func (s *Store) expired(r *driver.Record) bool {
	return !r.ExpireAt.IsZero() && !s.now().Before(r.ExpireAt)
}
