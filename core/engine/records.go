package engine

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// The kinds of record that the engine stores.
const (
	kindBody     driver.Kind = "body"     // an accepted agenda: Part is its id; never changes
	kindRun      driver.Kind = "run"      // its run: Part is its id
	kindSession  driver.Kind = "session"  // Part is the session's name
	kindOverflow driver.Kind = "progress" // progress of operations that has no room in the run: Part is the agenda's id; never changes
	kindLog      driver.Kind = "log"      // what operations printed: see logKey
	kindAccount  driver.Kind = "account"  // what a customer has used of its rate and quota: Part is the insight, Sort the customer
	kindServer   driver.Kind = "server"   // a server that schedules: Part is allPart, Sort its id
	kindOwner    driver.Kind = "owner"    // which of them schedules an insight: Part is allPart, Sort the insight
)

// The indexes of kindRun.
const (
	indexLive     = "live"     // by insight and shard: runs to be executed, see liveSort
	indexCustomer = "customer" // by customer: all runs, by the time they were added
	indexLink     = "link"     // by linkId: all runs that have one
)

// liveShards spreads the live index of an insight over parts, since some backends bound the write rate of a part.
const liveShards = 16

const allPart = "all" // part of kinds of which there are few records, that are read together

const soleSort = "." // sort key of kinds with one record per part

// Schema returns the kinds of record that the engine stores.
func Schema() []driver.KindSchema {
	return []driver.KindSchema{
		{Kind: kindBody},
		{Kind: kindRun, Indexes: []string{indexLive, indexCustomer, indexLink}},
		{Kind: kindSession},
		{Kind: kindLog},
		{Kind: kindOverflow},
		{Kind: kindAccount},
		{Kind: kindServer},
		{Kind: kindOwner},
	}
}

func runKey(agendaID string) driver.Key {
	return driver.Key{Kind: kindRun, Part: agendaID, Sort: soleSort}
}

func bodyKey(agendaID, sort string) driver.Key {
	return driver.Key{Kind: kindBody, Part: agendaID, Sort: sort}
}

func sessionKey(name string) driver.Key {
	return driver.Key{Kind: kindSession, Part: name, Sort: soleSort}
}

func accountKey(insightID, customerID string) driver.Key {
	return driver.Key{Kind: kindAccount, Part: insightID, Sort: customerID}
}

func serverKey(id string) driver.Key { return driver.Key{Kind: kindServer, Part: allPart, Sort: id} }

func ownerKey(insightID string) driver.Key {
	return driver.Key{Kind: kindOwner, Part: allPart, Sort: insightID}
}

func livePart(insightID string, shard int) string {
	return fmt.Sprintf("%s/%02x", insightID, shard)
}

// liveSort orders the live runs of a shard: those that wait, by their place in line, and those that are QUEUED or EXECUTING. It
// holds all that a scheduler must know of a waiting run, so that its memory is rebuilt from the index alone.
func (r *run) liveSort() string {
	if r.State == model.Waiting {
		return fmt.Sprintf("%c%016x%02x%s%s", liveWaiting, r.Ready, priorityZero+int(r.Priority), r.ID, r.CustomerID)
	}
	return fmt.Sprintf("%c%s%s", liveBusy, r.ID, r.CustomerID)
}

// liveFrom is where those of a shard begin that have come into line since a time; after them come all that do not wait.
func liveFrom(since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return fmt.Sprintf("%c%016x", liveWaiting, since.UnixNano())
}

const (
	liveWaiting  = 'w'
	liveBusy     = 'x' // after liveWaiting, see liveFrom
	priorityZero = 128
)

// liveEntry is a live run as the index shows it.
type liveEntry struct {
	waiting  bool
	item     scheduling.Item // without a place if it is not waiting
	customer string
}

func parseLiveSort(sort string) (liveEntry, error) {
	const placeLen, idLen = 18, 36
	e := liveEntry{waiting: strings.HasPrefix(sort, string(liveWaiting))}
	rest := sort[min(1, len(sort)):]
	if e.waiting {
		if len(rest) < placeLen {
			return e, fmt.Errorf("index entry %q is too short", sort)
		}
		place, err := hex.DecodeString(rest[:placeLen])
		if err != nil {
			return e, fmt.Errorf("index entry %q: %w", sort, err)
		}
		e.item.Ready = int64(binary.BigEndian.Uint64(place))
		e.item.Priority = int8(int(place[8]) - priorityZero)
		rest = rest[placeLen:]
	}
	if len(rest) < idLen {
		return e, fmt.Errorf("index entry %q is too short", sort)
	}
	id, err := uuid.Parse(rest[:idLen])
	if err != nil {
		return e, fmt.Errorf("index entry %q: %w", sort, err)
	}
	e.item.ID, e.customer = scheduling.ID(id), rest[idLen:]
	return e, nil
}

// item returns the run's place in line. Agenda ids are always made by the engine, so they parse.
func (r *run) item() scheduling.Item {
	id, _ := uuid.Parse(r.ID)
	return scheduling.Item{Ready: r.Ready, Priority: r.Priority, ID: scheduling.ID(id)}
}

func agendaID(id scheduling.ID) string { return uuid.UUID(id).String() }

// record encodes a run with its index entries.
func (r *run) record() (driver.Record, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return driver.Record{}, fmt.Errorf("encode run %s: %w", r.ID, err)
	}
	rec := driver.Record{Key: runKey(r.ID), Body: body}
	rec.Index = make([]driver.IndexEntry, 0, 3)
	rec.Index = append(rec.Index, driver.IndexEntry{Index: indexCustomer, Part: r.CustomerID, Sort: r.customerSort()})
	if r.live() {
		id, _ := uuid.Parse(r.ID)
		rec.Index = append(rec.Index, driver.IndexEntry{
			Index: indexLive, Part: livePart(r.AgendaInsight.InsightID, int(id[0])%liveShards), Sort: r.liveSort(),
		})
	}
	if r.LinkID != "" {
		rec.Index = append(rec.Index, driver.IndexEntry{Index: indexLink, Part: r.LinkID, Sort: r.customerSort()})
	}
	return rec, nil
}

// customerSort orders runs by the time they were added.
func (r *run) customerSort() string { return fmt.Sprintf("%016x%s", r.AddedTime.UnixNano(), r.ID) }

// stored is a run as it was read, with the version to write over.
type stored struct {
	*run
	version driver.Version
}

// put returns the operation that replaces a run by the one after it.
func (s stored) put(next *run) (driver.Op, error) {
	rec, err := next.record()
	return driver.Op{Type: driver.Put, Record: rec, Cond: driver.IfVersion, Version: s.version}, err
}

func decodeRun(rec *driver.Record) (stored, error) {
	var r run
	if err := json.Unmarshal(rec.Body, &r); err != nil {
		return stored{}, driver.Errorf(driver.Corrupt, "engine", "run %q: %w", rec.Key.Part, err)
	}
	return stored{&r, rec.Version}, nil
}

func decodeAgenda(rec *driver.Record) (model.Agenda, error) {
	var a model.Agenda
	if err := json.Unmarshal(rec.Body, &a); err != nil {
		return a, driver.Errorf(driver.Corrupt, "engine", "agenda %q: %w", rec.Key.Part, err)
	}
	return a, nil
}
