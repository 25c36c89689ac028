// Package sqlitestore is a driver.Store on SQLite, written to be measured against the one on Pebble. It imports
// plugins/driver and nothing else of this module.
package sqlitestore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the engine

	"github.com/pop-platform/pop/plugins/driver"
)

// Capabilities are those of every store.
var Capabilities = driver.StoreCapabilities{
	MaxRecordBytes: 4 << 20, MaxGroupOps: 1000, MaxScanLimit: 1000,
	CheapGroups: true, FreshIndexes: true, ReturnsCurrent: true, ExpiryLag: time.Minute,
}

const (
	maxGather    = 256 // calls in a transaction
	maxPageBytes = 4 << 20
	ceilingStep  = 1 << 20
	schemaSQL    = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record (
	id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, part TEXT NOT NULL, sort TEXT NOT NULL,
	version INTEGER NOT NULL, expire INTEGER NOT NULL, entries TEXT NOT NULL, body BLOB);
CREATE UNIQUE INDEX IF NOT EXISTS record_key ON record (kind, part, sort);
CREATE INDEX IF NOT EXISTS record_expire ON record (expire) WHERE expire > 0;
CREATE TABLE IF NOT EXISTS entry (
	kind INTEGER NOT NULL, name INTEGER NOT NULL, part TEXT NOT NULL, sort TEXT NOT NULL, rpart TEXT NOT NULL, rsort TEXT NOT NULL,
	expire INTEGER NOT NULL, PRIMARY KEY (kind, name, part, sort, rpart, rsort)) WITHOUT ROWID;`
)

// Store is a driver.Store on SQLite in WAL mode with synchronous=FULL. One goroutine writes: it puts the calls that wait
// into one transaction.
type Store struct {
	write, read *sql.DB
	conn        *sql.Conn
	now         func() time.Time
	stmt        struct{ get, put, del, addEntry, delEntry *sql.Stmt }
	readGet     *sql.Stmt
	catalog     atomic.Pointer[catalog]
	version     int64
	ceiling     int64

	queue   chan *call
	closing chan struct{}
	closed  chan struct{}
	closeMu sync.Mutex
	calls   sync.WaitGroup
	work    sync.WaitGroup
	shut    error

	flushes, groups, ops atomic.Uint64
}

type catalog struct {
	Kinds map[driver.Kind]kindInfo `json:"kinds"`
}

type kindInfo struct {
	ID      int            `json:"id"`
	Indexes map[string]int `json:"indexes"`
}

type call struct {
	f    func() error // within the transaction
	err  error
	done chan struct{}
}

// Open opens the store in a folder.
func Open(ctx context.Context, dir string, now func() time.Time) (*Store, error) {
	if now == nil {
		now = time.Now
	}
	dsn := func(extra string) string {
		return "file:" + (&url.URL{Path: filepath.Join(dir, "pop.db")}).EscapedPath() +
			"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_pragma=wal_autocheckpoint(2000)&_pragma=cache_size(-16000)" + extra
	}
	s := &Store{now: now, queue: make(chan *call, 4096), closing: make(chan struct{}), closed: make(chan struct{})}
	var err error
	if s.write, err = sql.Open("sqlite", dsn("&_txlock=immediate")); err != nil {
		return nil, err
	}
	if s.conn, err = s.write.Conn(ctx); err != nil {
		return nil, err
	}
	if _, err = s.conn.ExecContext(ctx, schemaSQL); err != nil {
		return nil, err
	}
	if s.read, err = sql.Open("sqlite", dsn("&mode=ro")); err != nil {
		return nil, err
	}
	s.read.SetMaxOpenConns(4)
	s.read.SetMaxIdleConns(4)
	for q, p := range map[string]**sql.Stmt{
		`SELECT id, version, expire, entries FROM record WHERE kind=? AND part=? AND sort=?`: &s.stmt.get,
		`INSERT INTO record (kind, part, sort, version, expire, entries, body) VALUES (?,?,?,?,?,?,?)
		 ON CONFLICT (kind, part, sort) DO UPDATE SET version=excluded.version, expire=excluded.expire, entries=excluded.entries, body=excluded.body`: &s.stmt.put,
		`DELETE FROM record WHERE kind=? AND part=? AND sort=?`:                                   &s.stmt.del,
		`INSERT INTO entry (kind, name, part, sort, rpart, rsort, expire) VALUES (?,?,?,?,?,?,?)`: &s.stmt.addEntry,
		`DELETE FROM entry WHERE kind=? AND name=? AND part=? AND sort=? AND rpart=? AND rsort=?`: &s.stmt.delEntry,
	} {
		if *p, err = s.conn.PrepareContext(ctx, q); err != nil {
			return nil, err
		}
	}
	if s.readGet, err = s.read.PrepareContext(ctx, `SELECT version, expire, entries, body FROM record WHERE kind=? AND part=? AND sort=?`); err != nil {
		return nil, err
	}
	c := &catalog{Kinds: map[driver.Kind]kindInfo{}}
	var text []byte
	if err = s.conn.QueryRowContext(ctx, `SELECT value FROM meta WHERE name='catalog'`).Scan(&text); err == nil {
		err = json.Unmarshal(text, c)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	s.catalog.Store(c)
	if err = s.conn.QueryRowContext(ctx, `SELECT value FROM meta WHERE name='ceiling'`).Scan(&s.ceiling); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	s.version = s.ceiling
	s.work.Add(1)
	go s.loop()
	return s, nil
}

// Flushes returns the number of transactions.
func (s *Store) Flushes() uint64 { return s.flushes.Load() }

func (s *Store) loop() {
	defer s.work.Done()
	ctx := context.Background()
	for first := range s.queue {
		batch := []*call{first}
	gather:
		for len(batch) < maxGather {
			select {
			case c, ok := <-s.queue:
				if !ok {
					break gather
				}
				batch = append(batch, c)
			default:
				break gather
			}
		}
		_, err := s.conn.ExecContext(ctx, "BEGIN IMMEDIATE")
		for _, c := range batch {
			if err == nil {
				c.err = c.f()
			}
		}
		if err == nil {
			_, err = s.conn.ExecContext(ctx, "COMMIT")
			s.flushes.Add(1)
		}
		for _, c := range batch {
			c.err = errors.Join(c.err, err)
			close(c.done)
		}
	}
}

func (s *Store) do(f func() error) error {
	c := &call{f: f, done: make(chan struct{})}
	s.queue <- c
	<-c.done
	return c.err
}

func (s *Store) begin(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	s.closeMu.Lock()
	defer s.closeMu.Unlock()
	select {
	case <-s.closing:
		return driver.Errorf(driver.Unavailable, op, "the store is closed")
	default:
	}
	s.calls.Add(1)
	return nil
}

// Close implements driver.Store.
func (s *Store) Close(context.Context) error {
	s.closeMu.Lock()
	select {
	case <-s.closing:
		s.closeMu.Unlock()
		<-s.closed
		return s.shut
	default:
	}
	close(s.closing)
	s.closeMu.Unlock()
	defer close(s.closed)
	s.calls.Wait()
	close(s.queue)
	s.work.Wait()
	for _, st := range []*sql.Stmt{s.stmt.get, s.stmt.put, s.stmt.del, s.stmt.addEntry, s.stmt.delEntry, s.readGet} {
		_ = st.Close()
	}
	s.shut = errors.Join(s.read.Close(), s.conn.Close(), s.write.Close())
	return s.shut
}

// Capabilities implements driver.Store.
func (s *Store) Capabilities(context.Context) (driver.StoreCapabilities, error) {
	return Capabilities, nil
}

// Migrate implements driver.Store.
func (s *Store) Migrate(ctx context.Context, req driver.MigrateRequest) (driver.MigrateResponse, error) {
	if err := s.begin(ctx, "migrate"); err != nil {
		return driver.MigrateResponse{}, err
	}
	defer s.calls.Done()
	var steps []string
	err := s.do(func() error {
		next := &catalog{Kinds: map[driver.Kind]kindInfo{}}
		for k, v := range s.catalog.Load().Kinds {
			next.Kinds[k] = v
		}
		for _, k := range req.Schema.Kinds {
			old, ok := next.Kinds[k.Kind]
			info := kindInfo{ID: old.ID, Indexes: map[string]int{}}
			if !ok {
				info.ID = len(next.Kinds) + 1
				steps = append(steps, fmt.Sprintf("add kind %s", k.Kind))
			}
			for n, id := range old.Indexes {
				info.Indexes[n] = id
			}
			for _, n := range k.Indexes {
				if _, ok := info.Indexes[n]; !ok {
					info.Indexes[n] = len(info.Indexes) + 1
					steps = append(steps, fmt.Sprintf("add index %s of kind %s", n, k.Kind))
				}
			}
			next.Kinds[k.Kind] = info
		}
		if req.DryRun || len(steps) == 0 {
			return nil
		}
		text, err := json.Marshal(next)
		if err != nil {
			return err
		}
		if _, err := s.conn.ExecContext(context.WithoutCancel(ctx), `INSERT OR REPLACE INTO meta VALUES ('catalog', ?)`, text); err != nil {
			return err
		}
		s.catalog.Store(next)
		return nil
	})
	return driver.MigrateResponse{Steps: steps}, err
}

func (c *catalog) declared(op string, k driver.Kind, indexes ...string) (kindInfo, error) {
	info, ok := c.Kinds[k]
	if !ok {
		return info, driver.Errorf(driver.Invalid, op, "kind %q is not declared", k)
	}
	for _, i := range indexes {
		if _, ok := info.Indexes[i]; !ok {
			return info, driver.Errorf(driver.Invalid, op, "index %q is not declared", i)
		}
	}
	return info, nil
}

// Get implements driver.Store.
func (s *Store) Get(ctx context.Context, req driver.GetRequest) (driver.GetResponse, error) {
	if err := req.Validate(); err != nil {
		return driver.GetResponse{}, err
	}
	if err := s.begin(ctx, "get"); err != nil {
		return driver.GetResponse{}, err
	}
	defer s.calls.Done()
	resp := driver.GetResponse{Records: make([]*driver.Record, len(req.Keys))}
	for i, k := range req.Keys {
		kind, err := s.catalog.Load().declared("get", k.Kind)
		if err != nil {
			return resp, err
		}
		if resp.Records[i], err = scanRecord(s.readGet.QueryRowContext(ctx, kind.ID, k.Part, k.Sort), k, s.now().Unix()); err != nil {
			return resp, err
		}
	}
	return resp, nil
}

func scanRecord(row interface{ Scan(...any) error }, k driver.Key, now int64) (*driver.Record, error) {
	r := &driver.Record{Key: k}
	var version, expire int64
	var entries []byte
	err := row.Scan(&version, &expire, &entries, &r.Body)
	if errors.Is(err, sql.ErrNoRows) || err == nil && expire != 0 && now >= expire {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		if err := json.Unmarshal(entries, &r.Index); err != nil {
			return nil, err
		}
	}
	r.Version = driver.Version(strconv.FormatInt(version, 36))
	if expire != 0 {
		r.ExpireAt = time.Unix(expire, 0).UTC()
	}
	return r, nil
}

// Scan implements driver.Store.
func (s *Store) Scan(ctx context.Context, req driver.ScanRequest) (driver.ScanResponse, error) {
	var page driver.ScanResponse
	if err := req.Validate(); err != nil {
		return page, err
	}
	if err := s.begin(ctx, "scan"); err != nil {
		return page, err
	}
	defer s.calls.Done()
	var names []string
	if req.Index != "" {
		names = []string{req.Index}
	}
	kind, err := s.catalog.Load().declared("scan", req.Kind, names...)
	if err != nil {
		return page, err
	}
	limit := Capabilities.MaxScanLimit
	if req.Limit > 0 {
		limit = min(limit, req.Limit)
	}
	op, order, direction := ">", "ASC", ">"
	if req.Reverse {
		op, order, direction = "<", "DESC", "<"
	}
	if req.Cursor != "" && req.Cursor[:1] != direction {
		return page, driver.Errorf(driver.Invalid, "scan", "the cursor is not of this scan")
	}
	q := `SELECT sort, version, expire, entries, body FROM record WHERE kind=? AND part=? AND sort>=?`
	args := []any{kind.ID, req.Part, req.From}
	cols, tail := "sort", "sort "+order
	if req.Index != "" {
		q = `SELECT sort, rpart, rsort, expire FROM entry WHERE kind=? AND name=? AND part=? AND sort>=?`
		args = []any{kind.ID, kind.Indexes[req.Index], req.Part, req.From}
		cols, tail = "(sort, rpart, rsort)", "sort "+order+", rpart "+order+", rsort "+order
	}
	if req.To != "" {
		q += " AND sort<?"
		args = append(args, req.To)
	}
	if req.Cursor != "" {
		var at []string
		if err := json.Unmarshal([]byte(req.Cursor[1:]), &at); err != nil {
			return page, driver.Errorf(driver.Invalid, "scan", "bad cursor")
		}
		if req.Index != "" {
			q += " AND " + cols + op + "(?,?,?)"
		} else {
			q += " AND " + cols + op + "?"
		}
		for _, a := range at {
			args = append(args, a)
		}
	}
	now := s.now().Unix()
	rows, err := s.read.QueryContext(ctx, q+" AND (expire=0 OR expire>?) ORDER BY "+tail+" LIMIT ?", append(args, now, limit+1)...)
	if err != nil {
		return page, err
	}
	defer rows.Close()
	var last []string
	size := 0
	for rows.Next() {
		if len(page.Records) == limit || size >= maxPageBytes {
			text, _ := json.Marshal(last)
			page.Next = direction + string(text)
			break
		}
		if req.Index != "" {
			var sort, rpart, rsort string
			var expire int64
			if err := rows.Scan(&sort, &rpart, &rsort, &expire); err != nil {
				return page, err
			}
			last = []string{sort, rpart, rsort}
			page.Records = append(page.Records, driver.Record{
				Key:   driver.Key{Kind: req.Kind, Part: rpart, Sort: rsort},
				Index: []driver.IndexEntry{{Index: req.Index, Part: req.Part, Sort: sort}},
			})
			continue
		}
		var sort string
		r, err := scanRecord(scanner(func(dest ...any) error { return rows.Scan(append([]any{&sort}, dest...)...) }), driver.Key{Kind: req.Kind, Part: req.Part}, now)
		if err != nil {
			return page, err
		}
		r.Key.Sort = sort
		last = []string{sort}
		size += len(r.Body)
		page.Records = append(page.Records, *r)
	}
	return page, rows.Err()
}

type scanner func(...any) error

func (f scanner) Scan(dest ...any) error { return f(dest...) }

// Write implements driver.Store.
func (s *Store) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	if err := req.Validate(Capabilities); err != nil {
		return driver.WriteResponse{}, err
	}
	cat := s.catalog.Load()
	for _, g := range req.Groups {
		for _, op := range g {
			var names []string
			if op.Type == driver.Put {
				for _, e := range op.Record.Index {
					names = append(names, e.Index)
				}
			}
			if _, err := cat.declared("write", op.Record.Key.Kind, names...); err != nil {
				return driver.WriteResponse{}, err
			}
		}
	}
	if err := s.begin(ctx, "write"); err != nil {
		return driver.WriteResponse{}, err
	}
	defer s.calls.Done()
	resp := driver.WriteResponse{Results: make([]driver.WriteResult, len(req.Groups))}
	err := s.do(func() error {
		for i, g := range req.Groups {
			var err error
			if resp.Results[i], err = s.group(cat, g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return driver.WriteResponse{}, &driver.Error{Code: driver.Unavailable, Outcome: driver.Unknown, Op: "write", Err: err}
	}
	return resp, nil
}

type stored struct {
	there           bool
	version, expire int64
	entries         []driver.IndexEntry
}

func (s *Store) group(cat *catalog, g driver.Group) (driver.WriteResult, error) {
	ctx, now := context.Background(), s.now().Unix()
	was := make([]stored, len(g))
	for i, op := range g {
		k := op.Record.Key
		var id int64
		var entries []byte
		err := s.stmt.get.QueryRowContext(ctx, cat.Kinds[k.Kind].ID, k.Part, k.Sort).Scan(&id, &was[i].version, &was[i].expire, &entries)
		if err == nil {
			was[i].there = true
			if len(entries) > 0 {
				err = json.Unmarshal(entries, &was[i].entries)
			}
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return driver.WriteResult{}, err
		}
		live := was[i].there && (was[i].expire == 0 || now < was[i].expire)
		holds := true
		switch op.Cond {
		case driver.IfAbsent:
			holds = !live
		case driver.IfVersion:
			holds = live && strconv.FormatInt(was[i].version, 36) == string(op.Version)
		case driver.Always:
		}
		if !holds {
			res := driver.WriteResult{Failed: i, Err: driver.Errorf(driver.Conflict, "write", "the condition on %q does not hold", k)}
			res.Current, err = scanRecord(s.conn.QueryRowContext(ctx, `SELECT version, expire, entries, body FROM record WHERE kind=? AND part=? AND sort=?`, cat.Kinds[k.Kind].ID, k.Part, k.Sort), k, now)
			return res, err
		}
	}
	res := driver.WriteResult{Versions: make([]driver.Version, len(g))}
	for i, op := range g {
		k, kind := op.Record.Key, cat.Kinds[op.Record.Key.Kind]
		switch op.Type {
		case driver.Put:
			s.version++
			if s.version > s.ceiling {
				s.ceiling = s.version + ceilingStep
				if _, err := s.conn.ExecContext(ctx, `INSERT OR REPLACE INTO meta VALUES ('ceiling', ?)`, s.ceiling); err != nil {
					return res, err
				}
			}
			res.Versions[i] = driver.Version(strconv.FormatInt(s.version, 36))
			var expire int64
			if !op.Record.ExpireAt.IsZero() {
				expire = max(1, op.Record.ExpireAt.Unix())
			}
			entries := []byte{}
			if len(op.Record.Index) > 0 {
				entries, _ = json.Marshal(op.Record.Index)
			}
			if _, err := s.stmt.put.ExecContext(ctx, kind.ID, k.Part, k.Sort, s.version, expire, entries, op.Record.Body); err != nil {
				return res, err
			}
			if err := s.reindex(kind, k, was[i], stored{expire: expire, entries: op.Record.Index}); err != nil {
				return res, err
			}
		case driver.Delete:
			if !was[i].there {
				continue
			}
			if _, err := s.stmt.del.ExecContext(ctx, kind.ID, k.Part, k.Sort); err != nil {
				return res, err
			}
			if err := s.reindex(kind, k, was[i], stored{}); err != nil {
				return res, err
			}
		case driver.Check:
		}
	}
	s.groups.Add(1)
	s.ops.Add(uint64(len(g)))
	return res, nil
}

func (s *Store) reindex(kind kindInfo, k driver.Key, was, is stored) error {
	moved := was.expire != is.expire
	has := func(list []driver.IndexEntry, e driver.IndexEntry) bool {
		for _, x := range list {
			if x == e {
				return true
			}
		}
		return false
	}
	for _, e := range was.entries {
		if moved || !has(is.entries, e) {
			if _, err := s.stmt.delEntry.Exec(kind.ID, kind.Indexes[e.Index], e.Part, e.Sort, k.Part, k.Sort); err != nil {
				return err
			}
		}
	}
	for _, e := range is.entries {
		if moved || !has(was.entries, e) {
			if _, err := s.stmt.addEntry.Exec(kind.ID, kind.Indexes[e.Index], e.Part, e.Sort, k.Part, k.Sort, is.expire); err != nil {
				return err
			}
		}
	}
	return nil
}
