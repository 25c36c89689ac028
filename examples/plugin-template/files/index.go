package files

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/pop-platform/pop/plugins/driver"
)

// Entries are ordered by texts whose parts NUL ends. No part can hold one, so that no part can be taken for another, and what is
// ordered by a text is ordered by its parts.
const end = "\x00"

// rangeText begins all entries of a part of a kind, or of an index of one; the empty index is the primary key.
func rangeText(kind driver.Kind, index, part string) string {
	return string(kind) + end + index + end + part + end
}

func keyText(k driver.Key) string { return rangeText(k.Kind, "", k.Part) + k.Sort + end }

func entryText(k driver.Key, e driver.IndexEntry) string {
	return rangeText(k.Kind, e.Index, e.Part) + e.Sort + end + k.Part + end + k.Sort
}

// index puts a record in the place of the one before.
func (s *Store) index(r driver.Record) {
	s.unindex(r.Key)
	r.Body, r.Index = nil, slices.Clone(r.Index)
	s.entries.Set(keyText(r.Key), &r)
	for _, e := range r.Index {
		s.entries.Set(entryText(r.Key, e), &r)
	}
}

func (s *Store) unindex(k driver.Key) {
	old, ok := s.entries.Delete(keyText(k))
	if !ok {
		return
	}
	for _, e := range old.Index {
		s.entries.Delete(entryText(k, e))
	}
}

// live returns the record with the key if it has not expired.
func (s *Store) live(k driver.Key) *driver.Record {
	r, ok := s.entries.Get(keyText(k))
	if !ok || s.expired(r) {
		return nil
	}
	return r
}

func (s *Store) expired(r *driver.Record) bool {
	return !r.ExpireAt.IsZero() && !s.Now().Before(r.ExpireAt)
}

// Scan implements [driver.Store]. A cursor is the text of the next entry.
func (s *Store) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.ScanResponse{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.begin(ctx, "scan"); err != nil {
		return driver.ScanResponse{}, err
	}
	limit := capabilities.MaxScanLimit
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	all := rangeText(req.Kind, req.Index, req.Part)
	from, to := all+req.From, all+req.To
	if req.To == "" {
		to = strings.TrimSuffix(all, end) + "\x01" // is after all that begins with all
	}
	var page driver.ScanResponse
	var failed error
	visit := func(text string, r *driver.Record) bool {
		if text < from || text >= to {
			return false
		}
		if s.expired(r) {
			return true
		}
		if len(page.Records) == limit {
			page.Next = text
			return false
		}
		if req.Index != "" {
			i := slices.IndexFunc(r.Index, func(e driver.IndexEntry) bool { return e.Index == req.Index })
			page.Records = append(page.Records, driver.Record{Key: r.Key, Index: []driver.IndexEntry{r.Index[i]}})
			return true
		}
		whole, err := s.read(r)
		if err != nil {
			failed = err
			return false
		}
		page.Records = append(page.Records, *whole)
		return true
	}
	switch {
	case !req.Reverse:
		s.entries.Ascend(max(from, req.Cursor), visit)
	case req.Cursor != "":
		s.entries.Descend(min(to, req.Cursor), visit)
	default:
		s.entries.Descend(to, visit)
	}
	if failed != nil {
		return driver.ScanResponse{}, failed
	}
	return page, nil
}

// merge returns the kinds with those of a schema, and what that adds in words.
func merge(known map[driver.Kind][]string, schema driver.Schema) (kinds map[driver.Kind][]string, steps []string) {
	kinds = maps.Clone(known)
	for _, k := range schema.Kinds {
		indexes, ok := kinds[k.Kind]
		if !ok {
			steps = append(steps, "add kind "+string(k.Kind))
		}
		for _, index := range k.Indexes {
			if !slices.Contains(indexes, index) {
				steps = append(steps, "add index "+index+" of kind "+string(k.Kind))
				indexes = append(slices.Clone(indexes), index)
			}
		}
		kinds[k.Kind] = indexes
	}
	return kinds, steps
}
