package local

import (
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
)

// The key space. Every key starts with the byte of its table; kinds and indexes are written as the numbers that the catalog
// gave them. Part and Sort hold no NUL, so a NUL after each keeps their bytewise order.
//
//	meta     name
//	record   kind part NUL sort
//	index    kind index part NUL sort NUL record-part NUL record-sort      value: expiry if any
//	expiry   seconds(8, big endian) kind part NUL sort
const (
	tableMeta   = 0x00
	tableRecord = 0x01
	tableIndex  = 0x02
	tableExpiry = 0x03
)

func appendRecordKey(b []byte, kind byte, key driver.Key) []byte {
	b = append(b, tableRecord, kind)
	b = append(b, key.Part...)
	b = append(b, 0)
	return append(b, key.Sort...)
}

func appendIndexPrefix(b []byte, kind, index byte, part string) []byte {
	b = append(b, tableIndex, kind, index)
	b = append(b, part...)
	return append(b, 0)
}

func appendIndexKey(b []byte, kind byte, e indexEntry, key driver.Key) []byte {
	b = append(b, tableIndex, kind, e.index)
	b = append(b, e.part...)
	b = append(b, 0)
	b = append(b, e.sort...)
	b = append(b, 0)
	b = append(b, key.Part...)
	b = append(b, 0)
	return append(b, key.Sort...)
}

func appendExpiryKey(b []byte, expire uint64, kind byte, key driver.Key) []byte {
	b = append(b, tableExpiry)
	b = binary.BigEndian.AppendUint64(b, expire)
	b = append(b, kind)
	b = append(b, key.Part...)
	b = append(b, 0)
	return append(b, key.Sort...)
}

// header is what precedes the body in a stored value: version, expiry and index entries.
type header struct {
	version uint64
	expire  uint64 // seconds since 1970; 0 for never
	index   []byte // encoded entries
}

// live reports whether readers see the record.
func (h *header) live(now int64) bool { return h.expire == 0 || now < int64(h.expire) }

func (h *header) size() int {
	return uvarintLen(h.version) + uvarintLen(h.expire) + uvarintLen(uint64(len(h.index))) + len(h.index)
}

func (h *header) append(b []byte) []byte {
	b = binary.AppendUvarint(b, h.version)
	b = binary.AppendUvarint(b, h.expire)
	b = binary.AppendUvarint(b, uint64(len(h.index)))
	return append(b, h.index...)
}

var errShort = errors.New("the value is cut short")

// parseValue splits a stored value. The header and the body alias it.
func parseValue(v []byte) (h header, body []byte, err error) {
	var n uint64
	for _, field := range []*uint64{&h.version, &h.expire, &n} {
		var w int
		if *field, w = binary.Uvarint(v); w <= 0 {
			return header{}, nil, errShort
		}
		v = v[w:]
	}
	if n > uint64(len(v)) {
		return header{}, nil, errShort
	}
	h.index = v[:n]
	return h, v[n:], nil
}

// indexEntry is a decoded index entry; its fields alias what it was decoded from.
type indexEntry struct {
	index      byte
	part, sort []byte
}

func (e indexEntry) equal(o indexEntry) bool {
	return e.index == o.index && string(e.part) == string(o.part) && string(e.sort) == string(o.sort)
}

func appendIndexEntry(b []byte, index byte, part, sort string) []byte {
	b = append(b, index)
	b = binary.AppendUvarint(b, uint64(len(part)))
	b = append(b, part...)
	b = binary.AppendUvarint(b, uint64(len(sort)))
	return append(b, sort...)
}

// parseIndex appends the entries of a header to into.
func parseIndex(into []indexEntry, b []byte) ([]indexEntry, error) {
	for len(b) > 0 {
		e := indexEntry{index: b[0]}
		b = b[1:]
		for _, field := range []*[]byte{&e.part, &e.sort} {
			n, w := binary.Uvarint(b)
			if w <= 0 || n > uint64(len(b)-w) {
				return nil, errShort
			}
			*field = b[w : w+int(n)]
			b = b[w+int(n):]
		}
		into = append(into, e)
	}
	return into, nil
}

func hasEntry(list []indexEntry, e indexEntry) bool {
	return slices.ContainsFunc(list, e.equal)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// Versions are printable, so that they pass through any encoding.
const versionBase = 36

func formatVersion(v uint64) driver.Version {
	var b [13]byte
	return driver.Version(strconv.AppendUint(b[:0], v, versionBase))
}

func versionIs(v uint64, want driver.Version) bool {
	var b [13]byte
	return string(strconv.AppendUint(b[:0], v, versionBase)) == string(want)
}

// expirySeconds returns t in the form of a header. A record that expired before 1970 has expired just as well in 1970.
func expirySeconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(1, t.Unix()))
}

func expiryTime(s uint64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(int64(s), 0).UTC()
}
