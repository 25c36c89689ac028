package local

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/pop-platform/pop/plugins/driver"
)

// Write implements [driver.Store]. Its context is honoured while it waits for the disk; what it wrote by then is
// unknown to the caller.
func (s *Store) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	const op = "local: write"
	if err := req.Validate(capabilities); err != nil {
		return driver.WriteResponse{}, err
	}
	cat := s.catalog.Load()
	size, err := cat.checkDeclared(op, req.Groups)
	if err != nil {
		return driver.WriteResponse{}, err
	}
	if err := s.begin(ctx, op); err != nil {
		return driver.WriteResponse{}, err
	}
	defer s.calls.Done()
	if err := s.disk.check(op, size); err != nil {
		return driver.WriteResponse{}, err
	}
	results := make([]driver.WriteResult, len(req.Groups))
	r, err := s.apply(cat, req.Groups, results)
	if err != nil {
		return driver.WriteResponse{}, err
	}
	if err := r.wait(ctx); err != nil {
		return driver.WriteResponse{}, err
	}
	return driver.WriteResponse{Results: results}, nil
}

// checkDeclared refuses what the schema doesn't know, and returns how many bytes the groups will take, roughly.
func (c *catalog) checkDeclared(op string, groups []driver.Group) (size int, err error) {
	for _, g := range groups {
		for i := range g {
			rec := &g[i].Record
			kind, err := c.kind(op, rec.Key.Kind)
			if err != nil {
				return 0, err
			}
			if g[i].Type != driver.Put {
				continue
			}
			for _, e := range rec.Index {
				if _, err := kind.index(op, rec.Key.Kind, e.Index); err != nil {
					return 0, err
				}
			}
			size += len(rec.Body)
		}
	}
	return size, nil
}

// apply evaluates the groups, applies those whose conditions hold, and returns the round after which the results are true
// for good: that of the call's own changes or, since a conflict may be with a record that is not yet on disk, the newest.
func (s *Store) apply(cat *catalog, groups []driver.Group, results []driver.WriteResult) (*round, error) {
	return s.commit("local: write", cat, func(e *evaluator) {
		for i, g := range groups {
			if results[i] = e.group(g); results[i].Err == nil {
				s.stats.groups.Add(1)
				s.stats.ops.Add(uint64(len(g)))
			}
		}
	})
}

// commit applies what f adds to the evaluator's batch, as one step, and returns the round that makes it durable.
func (s *Store) commit(op string, cat *catalog, f func(*evaluator)) (*round, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return nil, logError(op, driver.NotApplied, s.failed)
	}
	e := &s.eval
	e.cat, e.now, e.deletes, e.err = cat, s.now().Unix(), false, nil
	e.batch = s.db.NewBatch()
	f(e)
	ceiling := s.ceiling
	if e.version > ceiling {
		ceiling = e.version + ceilingStep
		e.set(metaCeiling, binary.BigEndian.AppendUint64(nil, ceiling))
	}
	switch {
	case e.err != nil:
		return nil, fault(op, errors.Join(e.err, e.batch.Close()))
	case e.batch.Empty():
		return s.flusher.last, e.batch.Close()
	case e.deletes:
		s.deleted.Store(e.version)
	}
	s.stats.calls.Add(1)
	s.stats.bytes.Add(uint64(e.batch.Len()))
	defer s.log.crashOnPanic()
	err := s.db.Apply(e.batch, pebble.NoSync)
	if err == nil {
		err = e.batch.Close()
	}
	if err != nil {
		return nil, &driver.Error{Code: driver.Internal, Outcome: driver.Unknown, Op: op, Err: err}
	}
	s.ceiling = ceiling
	return s.flusher.join(e.version), nil
}

// evaluator turns groups into a batch of the engine. Its slices are kept from call to call.
type evaluator struct {
	db      *pebble.DB
	version uint64 // last given out

	cat     *catalog
	now     int64
	batch   *pebble.Batch
	deletes bool  // the batch removes what readers could see
	err     error // of the batch, which is not applied then

	key    []byte
	arena  []byte // index entries of the group's records as they are stored
	index  []byte // index entries of the record that is being written
	stored []stored
	was    []indexEntry
	is     []indexEntry
}

// stored is a record as it is before the group.
type stored struct {
	there  bool
	header header
}

// group adds a group to the batch if its conditions hold.
func (e *evaluator) group(g driver.Group) driver.WriteResult {
	e.stored, e.arena = e.stored[:0], e.arena[:0]
	for i := range g {
		current, err := e.check(&g[i])
		if err != nil {
			return driver.WriteResult{Err: err, Failed: i, Current: current}
		}
	}
	versions := make([]driver.Version, len(g))
	for i := range g {
		op, was := &g[i], e.stored[i]
		switch op.Type {
		case driver.Put:
			e.version++
			versions[i] = formatVersion(e.version)
			e.put(&op.Record, was.header)
		case driver.Delete:
			if was.there {
				e.version++
				e.deletes = true
				e.delete(op.Record.Key, was.header)
			}
		case driver.Check:
		}
	}
	return driver.WriteResult{Versions: versions}
}

// check reads the record of an operation and evaluates its condition. With a conflict it returns the record.
func (e *evaluator) check(op *driver.Op) (*driver.Record, error) {
	const opName = "local: write"
	kind := e.cat.Kinds[op.Record.Key.Kind]
	e.key = appendRecordKey(e.key[:0], kind.ID, op.Record.Key)
	value, closer, err := e.db.Get(e.key)
	if errors.Is(err, pebble.ErrNotFound) {
		e.stored = append(e.stored, stored{})
		if op.Cond == driver.IfVersion {
			return nil, conflict(op)
		}
		return nil, nil
	}
	if err != nil {
		return nil, fault(opName, err)
	}
	defer closer.Close()
	h, body, err := parseValue(value)
	if err != nil {
		return nil, fault(opName, err)
	}
	live := h.live(e.now)
	holds := true
	switch op.Cond {
	case driver.IfAbsent:
		holds = !live
	case driver.IfVersion:
		holds = live && versionIs(h.version, op.Version)
	case driver.Always:
	}
	if !holds {
		if !live {
			return nil, conflict(op)
		}
		rec, err := decodeRecord(kind, op.Record.Key, h, body)
		if err != nil {
			return nil, fault(opName, err)
		}
		return rec, conflict(op)
	}
	start := len(e.arena)
	e.arena = append(e.arena, h.index...)
	h.index = e.arena[start:]
	e.stored = append(e.stored, stored{there: true, header: h})
	return nil, nil
}

func conflict(op *driver.Op) error {
	return driver.Errorf(driver.Conflict, "local: write", "the condition on %q does not hold", op.Record.Key)
}

func (e *evaluator) put(rec *driver.Record, was header) {
	kind := e.cat.Kinds[rec.Key.Kind]
	e.index = e.index[:0]
	for _, x := range rec.Index {
		e.index = appendIndexEntry(e.index, kind.Indexes[x.Index], x.Part, x.Sort)
	}
	is := header{version: e.version, expire: expirySeconds(rec.ExpireAt), index: e.index}

	e.key = appendRecordKey(e.key[:0], kind.ID, rec.Key)
	op := e.batch.SetDeferred(len(e.key), is.size()+len(rec.Body))
	copy(op.Key, e.key)
	copy(op.Value[len(is.append(op.Value[:0])):], rec.Body)
	e.done(op.Finish())
	e.reindex(kind.ID, rec.Key, was, is)
}

func (e *evaluator) delete(key driver.Key, was header) {
	kind := e.cat.Kinds[key.Kind]
	e.key = appendRecordKey(e.key[:0], kind.ID, key)
	e.done(e.batch.Delete(e.key, nil))
	e.reindex(kind.ID, key, was, header{})
}

// reindex changes the index entries of a record, and its entry among those that expire, from those of one header to
// those of another. An entry that is there is never set again, which is what SingleDelete asks for: an entry that comes
// and goes while it is still in memory costs the disk nothing.
func (e *evaluator) reindex(kind byte, key driver.Key, was, is header) {
	if was.expire == is.expire && string(was.index) == string(is.index) {
		return
	}
	e.was, e.is = e.entries(e.was, was), e.entries(e.is, is)
	moved := was.expire != is.expire // the value of an entry is the expiry
	for _, x := range e.was {
		if moved || !hasEntry(e.is, x) {
			e.key = appendIndexKey(e.key[:0], kind, x, key)
			e.unset(e.key)
		}
	}
	var value []byte
	if is.expire != 0 {
		value = binary.AppendUvarint(nil, is.expire)
	}
	for _, x := range e.is {
		if moved || !hasEntry(e.was, x) {
			e.key = appendIndexKey(e.key[:0], kind, x, key)
			e.set(e.key, value)
		}
	}
	if moved && was.expire != 0 {
		e.key = appendExpiryKey(e.key[:0], was.expire, kind, key)
		e.unset(e.key)
	}
	if moved && is.expire != 0 {
		e.key = appendExpiryKey(e.key[:0], is.expire, kind, key)
		e.set(e.key, nil)
	}
}

func (e *evaluator) entries(into []indexEntry, h header) []indexEntry {
	list, err := parseIndex(into[:0], h.index)
	e.done(err)
	return list
}

func (e *evaluator) set(key, value []byte) { e.done(e.batch.Set(key, value, nil)) }

func (e *evaluator) unset(key []byte) { e.done(e.batch.SingleDelete(key, nil)) }

func (e *evaluator) done(err error) { e.err = errors.Join(e.err, err) }
