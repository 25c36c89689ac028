package local

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pop-platform/pop/plugins/driver"
)

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	const op = "local: get"
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	if err := s.begin(ctx, op); err != nil {
		return driver.GetResponse{}, err
	}
	defer s.calls.Done()
	cat, now := s.catalog.Load(), s.now().Unix()
	records := make([]*driver.Record, len(req.Keys))
	var newest uint64
	absent := false
	var buf []byte
	for i, k := range req.Keys {
		kind, err := cat.kind(op, k.Kind)
		if err != nil {
			return driver.GetResponse{}, err
		}
		buf = appendRecordKey(buf[:0], kind.ID, k)
		var version uint64
		if records[i], version, err = s.get(kind, k, buf, now); err != nil {
			return driver.GetResponse{}, fault(op, fmt.Errorf("key %q: %w", k, err))
		}
		newest = max(newest, version)
		absent = absent || records[i] == nil
	}
	if err := s.settled(ctx, newest, absent); err != nil {
		return driver.GetResponse{}, err
	}
	return driver.GetResponse{Records: records}, nil
}

func (s *Store) get(kind kindInfo, k driver.Key, key []byte, now int64) (*driver.Record, uint64, error) {
	value, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	defer closer.Close()
	h, body, err := parseValue(value)
	if err != nil || !h.live(now) {
		return nil, h.version, err
	}
	rec, err := decodeRecord(kind, k, h, body)
	return rec, h.version, err
}

// decodeRecord copies a stored record.
func decodeRecord(kind kindInfo, k driver.Key, h header, body []byte) (*driver.Record, error) {
	rec := &driver.Record{
		Key:      k,
		Version:  formatVersion(h.version),
		Body:     bytes.Clone(body),
		ExpireAt: expiryTime(h.expire),
	}
	if len(h.index) == 0 {
		return rec, nil
	}
	var room [4]indexEntry
	entries, err := parseIndex(room[:0], h.index)
	if err != nil {
		return nil, err
	}
	rec.Index = make([]driver.IndexEntry, len(entries))
	for i, e := range entries {
		name, ok := kind.name(e.index)
		if !ok {
			return nil, fmt.Errorf("index %d is not in the catalog: %w", e.index, errShort)
		}
		rec.Index[i] = driver.IndexEntry{Index: name, Part: string(e.part), Sort: string(e.sort)}
	}
	return rec, nil
}

// Scan implements [driver.Store].
func (s *Store) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	const op = "local: scan"
	if err := req.Validate(); err != nil {
		return driver.ScanResponse{}, err
	}
	kind, err := s.catalog.Load().kind(op, req.Kind)
	if err != nil {
		return driver.ScanResponse{}, err
	}
	var prefix []byte
	var index byte
	if req.Index == "" {
		prefix = appendRecordKey(nil, kind.ID, driver.Key{Part: req.Part})
	} else {
		if index, err = kind.index(op, req.Kind, req.Index); err != nil {
			return driver.ScanResponse{}, err
		}
		prefix = appendIndexPrefix(nil, kind.ID, index, req.Part)
	}
	lower, upper, err := scanRange(req, prefix)
	if err != nil {
		return driver.ScanResponse{}, err
	}
	if err := s.begin(ctx, op); err != nil {
		return driver.ScanResponse{}, err
	}
	defer s.calls.Done()
	if bytes.Compare(lower, upper) >= 0 {
		return driver.ScanResponse{}, nil
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return driver.ScanResponse{}, fault(op, err)
	}
	page, newest, err := s.page(req, kind, it, len(prefix))
	if err = errors.Join(err, it.Close()); err != nil {
		return driver.ScanResponse{}, fault(op, err)
	}
	if req.Index == "" {
		if err := s.settled(ctx, newest, true); err != nil {
			return driver.ScanResponse{}, err
		}
	}
	return page, nil
}

// A cursor is the direction of the scan and the key after the prefix at which the next page begins or, in reverse,
// before which it begins.
const (
	forward = ">"
	reverse = "<"
)

// scanRange returns the keys that are left to scan: those in [lower, upper).
func scanRange(req driver.ScanRequest, prefix []byte) (lower, upper []byte, err error) {
	lower = append(bytes.Clone(prefix), req.From...)
	if req.To != "" {
		upper = append(bytes.Clone(prefix), req.To...)
	} else {
		upper = bytes.Clone(prefix)
		upper[len(upper)-1] = 1 // prefix ends in NUL
	}
	if req.Cursor == "" {
		return lower, upper, nil
	}
	direction, rest := req.Cursor[:1], req.Cursor[1:]
	switch {
	case direction == forward && !req.Reverse:
		lower = append(bytes.Clone(prefix), rest...)
	case direction == reverse && req.Reverse:
		upper = append(bytes.Clone(prefix), rest...)
	default:
		return nil, nil, driver.Errorf(driver.Invalid, "local: scan", "the cursor is not of this scan")
	}
	return lower, upper, nil
}

// page reads one page, and the newest version on it.
func (s *Store) page(req driver.ScanRequest, kind kindInfo, it *pebble.Iterator, prefix int) (page driver.ScanResponse, newest uint64, err error) {
	limit := maxScanLimit
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	first, next, direction := it.First, it.Next, forward
	if req.Reverse {
		first, next, direction = it.Last, it.Prev, reverse
	}
	now, size := s.now().Unix(), 0
	for ok := first(); ok; ok = next() {
		rest := it.Key()[prefix:]
		if len(page.Records) >= limit || size >= maxPageBytes {
			if req.Reverse {
				page.Next = direction + string(rest) + "\x00" // nothing lies between a key and itself with a NUL
			} else {
				page.Next = direction + string(rest)
			}
			return page, newest, nil
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return page, newest, err
		}
		if req.Index != "" {
			if e, live, err := indexItem(req, rest, value, now); err != nil {
				return page, newest, err
			} else if live {
				page.Records = append(page.Records, e)
			}
			continue
		}
		h, body, err := parseValue(value)
		if err != nil {
			return page, newest, fmt.Errorf("part %q, sort %q: %w", req.Part, rest, err)
		}
		newest = max(newest, h.version)
		if !h.live(now) {
			continue
		}
		rec, err := decodeRecord(kind, driver.Key{Kind: req.Kind, Part: req.Part, Sort: string(rest)}, h, body)
		if err != nil {
			return page, newest, err
		}
		size += len(body)
		page.Records = append(page.Records, *rec)
	}
	return page, newest, nil
}

// indexItem decodes an entry of an index from what its key holds after the prefix: sort NUL record-part NUL record-sort.
func indexItem(req driver.ScanRequest, rest, value []byte, now int64) (driver.Record, bool, error) {
	var h header
	if len(value) > 0 {
		var w int
		if h.expire, w = binary.Uvarint(value); w <= 0 {
			return driver.Record{}, false, errShort
		}
	}
	if !h.live(now) {
		return driver.Record{}, false, nil
	}
	text := string(rest) // the three strings share it
	n := bytes.IndexByte(rest, 0)
	m := bytes.IndexByte(rest[n+1:], 0)
	if n < 0 || m < 0 {
		return driver.Record{}, false, errShort
	}
	return driver.Record{
		Key:   driver.Key{Kind: req.Kind, Part: text[n+1 : n+1+m], Sort: text[n+m+2:]},
		Index: []driver.IndexEntry{{Index: req.Index, Part: req.Part, Sort: text[:n]}},
	}, true, nil
}
