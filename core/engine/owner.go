package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// How often, in a lease, a server beats and looks at the others.
const (
	beatsLease = 3
	looksLease = 15
)

// serverGarbage is how long the record of a server is kept that has gone.
const serverGarbage = time.Hour

// serverRecord is the stored form of a server's lease. Others judge by how long it has stayed the same on their own clocks, so that
// no two clocks are compared.
type serverRecord struct {
	Address string        `json:"address,omitempty"`
	Lease   time.Duration `json:"lease"`
	Beat    time.Time     `json:"beat"`
	Left    bool          `json:"left,omitempty"` // it has stopped scheduling for good
}

// ownerRecord says which server schedules an insight. It is written only when that changes: an owner lasts for as long as its
// server's lease does. The epoch grows with each owner; see [run.Epoch].
type ownerRecord struct {
	Server string    `json:"server"`
	Epoch  int64     `json:"epoch"`
	Since  time.Time `json:"since"`
	Handed bool      `json:"handed,omitempty"` // to the server, which has not begun: the epoch is that of the owner before it
}

// owners keeps the leases of a server among those that share a store: its own, and what it knows of the others'.
type owners struct {
	engine *Engine
	log    *slog.Logger
	wake   chan struct{}

	version   driver.Version // of the own record
	beaten    time.Time
	freeSince map[string]time.Time // insights that nobody owns

	mu        sync.Mutex
	until     time.Time // when this server must stop scheduling, unless it beats again
	sightings map[string]sighting
}

// sighting is what is known of a server.
type sighting struct {
	serverRecord
	version driver.Version
	since   time.Time // it has this version
	met     time.Time // it was first seen
	alive   bool      // its lease has not run out; else others may take what it owns
}

// run keeps the leases until the engine stops.
func (o *owners) run(ctx context.Context) {
	tick := time.NewTicker(o.engine.OwnerLease / looksLease)
	defer tick.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-o.wake:
		}
		err := o.step(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures++; failures == 1 {
				o.log.Error("ownership not renewed, trying again", "error", err)
			}
		case failures > 0:
			o.log.Info("ownership renewed", "failures", failures)
			failures = 0
		}
	}
}

// step keeps the own lease, looks at those of others, and takes insights that nobody schedules.
func (o *owners) step(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, o.engine.OwnerLease/beatsLease)
	defer cancel()
	now := o.engine.Now()
	if !o.beaten.IsZero() && !o.mayAct() {
		// Others may own by now what this server did. It must not go on as if nothing had been once its lease is renewed.
		o.engine.disownAll("this server has not renewed its lease in time")
	}
	if now.Sub(o.beaten) >= o.engine.OwnerLease/beatsLease {
		if err := o.beat(ctx, false); err != nil {
			return err
		}
	}
	if err := o.look(ctx); err != nil {
		return err
	}
	return o.take(ctx)
}

// mayAct reports whether this server's lease lets it schedule. It ends a tenth before others may take what it owns, for clocks that
// do not run alike.
func (o *owners) mayAct() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.engine.Now().Before(o.until)
}

// beat renews the own lease, or gives it up.
func (o *owners) beat(ctx context.Context, leave bool) error {
	e := o.engine
	start := e.Now()
	lease := e.OwnerLease - e.settling() // so that all is over within OwnerLease
	body, err := json.Marshal(serverRecord{Address: e.Address, Lease: lease, Beat: start.UTC(), Left: leave})
	if err != nil {
		return fmt.Errorf("encode server %q: %w", e.Server, err)
	}
	op := driver.Op{
		Record: driver.Record{Key: serverKey(e.Server), Body: body, ExpireAt: start.Add(e.OwnerLease + serverGarbage)},
		Cond:   driver.IfAbsent,
	}
	if o.version != "" {
		op.Cond, op.Version = driver.IfVersion, o.version
	}
	versions, err := e.store.WriteOne(ctx, op)
	if driver.IsConflict(err) { // nobody else writes it, so an earlier beat has arrived, or the record was long forgotten
		var rec *driver.Record
		if rec, err = e.store.GetOne(ctx, op.Record.Key); err != nil {
			return fmt.Errorf("read server %q: %w", e.Server, err)
		}
		if op.Cond, op.Version = driver.IfAbsent, ""; rec != nil {
			op.Cond, op.Version = driver.IfVersion, rec.Version
		}
		versions, err = e.store.WriteOne(ctx, op)
	}
	if err != nil {
		return fmt.Errorf("renew the lease of server %q: %w", e.Server, err)
	}
	o.version, o.beaten = versions[0], start
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = start.Add(lease - lease/10)
	return nil
}

// settling is how long a new owner waits before it reads what is live: the indexes may not show yet what the last one has scheduled. From
// the moment in which the insight is its own nobody else schedules anything, however late writes of the last one arrive.
func (e *Engine) settling() time.Duration {
	if e.store.Capabilities().FreshIndexes {
		return 0
	}
	return e.IndexLag
}

// look notes which servers are alive.
func (o *owners) look(ctx context.Context) error {
	start := o.engine.Now()
	now := map[string]sighting{}
	for rec, err := range o.engine.store.Scan(ctx, driver.ScanRequest{Kind: kindServer, Part: allPart}) {
		if err != nil {
			return fmt.Errorf("look for servers: %w", err)
		}
		s := sighting{version: rec.Version}
		if err := json.Unmarshal(rec.Body, &s.serverRecord); err != nil {
			return driver.Errorf(driver.Corrupt, "engine", "server %q: %w", rec.Key.Sort, err)
		}
		now[rec.Key.Sort] = s
	}
	end := o.engine.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, s := range now {
		before, known := o.sightings[id]
		if s.since, s.met = end, end; known {
			s.met = before.met
		}
		if before.version == s.version {
			s.since = before.since
		}
		same := start.Sub(s.since)
		s.alive = !s.Left && same < s.Lease
		now[id] = s
	}
	o.sightings = now
	return nil
}

// take makes this server the owner of its part of the insights that have none, and lets go of those that others have taken.
func (o *owners) take(ctx context.Context) error {
	e := o.engine
	current := map[string]storedOwner{}
	for rec, err := range e.store.Scan(ctx, driver.ScanRequest{Kind: kindOwner, Part: allPart}) {
		if err != nil {
			return fmt.Errorf("look for owners: %w", err)
		}
		s := storedOwner{version: rec.Version}
		if s.ownerRecord, err = decodeOwner(&rec); err != nil {
			return err
		}
		current[rec.Key.Sort] = s
	}
	insights, err := e.catalog.Insights.All(ctx)
	if err != nil {
		return err
	}
	alive := 0
	o.mu.Lock()
	for _, s := range o.sightings {
		if s.alive {
			alive++
		}
	}
	sightings := o.sightings
	o.mu.Unlock()

	var free, handed []string
	owned := map[string][]string{} // by server
	for _, insight := range insights {
		id := insight.Object.ID
		owner, known := current[id]
		owned[owner.Server] = append(owned[owner.Server], id)
		switch epoch := e.epoch(id); {
		case owner.Server == e.Server && owner.Handed:
			handed = append(handed, id)
			continue
		case owner.Server == e.Server && known:
			if epoch != owner.Epoch { // it was taken by a write whose reply was lost, or before this server's lease had run out
				free = append(free, id)
			}
			continue
		case epoch != 0:
			e.disown(id, slog.LevelWarn, fmt.Sprintf("server %q has taken it", owner.Server))
		}
		if !sightings[owner.Server].alive {
			free = append(free, id)
		}
	}
	if len(free)+len(handed) == 0 {
		return o.even(ctx, current, owned, sightings)
	}
	if free = append(o.part(free, len(insights), alive), handed...); len(free) == 0 {
		return nil
	}
	groups := make([]driver.Group, len(free))
	next := make([]ownerRecord, len(free))
	for i, id := range free {
		before, known := current[id]
		next[i] = ownerRecord{Server: e.Server, Epoch: before.Epoch + 1, Since: e.Now().UTC()}
		body, err := json.Marshal(next[i])
		if err != nil {
			return fmt.Errorf("encode owner of insight %q: %w", id, err)
		}
		op := driver.Op{Record: driver.Record{Key: ownerKey(id), Body: body}, Cond: driver.IfAbsent}
		if known {
			op.Cond, op.Version = driver.IfVersion, before.version
		}
		groups[i] = driver.Group{op}
	}
	results, err := e.store.Write(ctx, groups...)
	if err != nil {
		return fmt.Errorf("take %d insights: %w", len(free), err)
	}
	for i, r := range results {
		switch id := free[i]; {
		case r.Err == nil:
			o.log.Info("insight taken over", "insight", id, "epoch", next[i].Epoch, "from", current[id].Server)
			settling := e.settling()
			if next[i].Epoch == 1 {
				settling = 0 // nobody has scheduled it before
			}
			e.own(id, next[i].Epoch, settling)
		case !driver.IsConflict(r.Err): // else another was faster
			err = fmt.Errorf("take insight %q: %w", id, r.Err)
		}
	}
	return err
}

// part returns those of the free insights that this server is to take: as many as make it own its part of all. What others leave
// for too long is anybody's.
func (o *owners) part(free []string, all, alive int) []string {
	now := o.engine.Now()
	since := make(map[string]time.Time, len(free))
	for _, id := range free {
		if since[id] = o.freeSince[id]; since[id].IsZero() {
			since[id] = now
		}
	}
	o.freeSince = since
	n := (all+alive-1)/max(1, alive) - len(o.engine.allDispatchers())
	var mine []string
	for _, id := range free {
		if len(mine) < n || now.Sub(since[id]) >= o.engine.OwnerLease {
			mine = append(mine, id)
		}
	}
	return mine
}

// storedOwner is the owner of an insight with the version of its record.
type storedOwner struct {
	ownerRecord
	version driver.Version
}

// even hands an insight over, if all have owners: the server that owns most gives one to that which owns fewest, for as long as it
// owns at least two more. So one that has joined gets its part, and nothing goes back and forth. It is one at a time, and to nobody who
// has not been there for a lease, so that little waits for a server that starts and dies again.
//
// The other takes it as it would that of a server that has gone. Up to then what was scheduled can be claimed.
func (o *owners) even(ctx context.Context, current map[string]storedOwner, owned map[string][]string, sightings map[string]sighting) error {
	e := o.engine
	for _, ids := range owned {
		if slices.ContainsFunc(ids, func(id string) bool { return current[id].Handed }) {
			return nil
		}
	}
	most, fewest := e.Server, e.Server
	for id, s := range sightings {
		if !s.alive {
			continue
		}
		if n := len(owned[id]) - len(owned[most]); n > 0 || n == 0 && id < most {
			most = id
		}
		if n := len(owned[id]) - len(owned[fewest]); n < 0 || n == 0 && id < fewest {
			fewest = id
		}
	}
	if most != e.Server || len(owned[most])-len(owned[fewest]) < 2 || e.Now().Sub(sightings[fewest].met) < e.OwnerLease {
		return nil
	}
	id := owned[most][len(owned[most])-1]
	body, err := json.Marshal(ownerRecord{Server: fewest, Epoch: current[id].Epoch, Since: e.Now().UTC(), Handed: true})
	if err != nil {
		return fmt.Errorf("encode owner of insight %q: %w", id, err)
	}
	_, err = e.store.WriteOne(ctx, driver.Op{
		Record: driver.Record{Key: ownerKey(id), Body: body}, Cond: driver.IfVersion, Version: current[id].version,
	})
	switch {
	case err == nil:
		e.disown(id, slog.LevelInfo, fmt.Sprintf("handed over to server %q, which schedules fewer", fewest))
	case !driver.IsConflict(err): // else another has taken it
		return fmt.Errorf("hand over insight %q: %w", id, err)
	}
	return nil
}

func decodeOwner(rec *driver.Record) (ownerRecord, error) {
	var o ownerRecord
	if err := json.Unmarshal(rec.Body, &o); err != nil {
		return o, driver.Errorf(driver.Corrupt, "engine", "owner of insight %q: %w", rec.Key.Sort, err)
	}
	return o, nil
}

// epoch returns the epoch in which this server schedules an insight, 0 if it does not.
func (e *Engine) epoch(insightID string) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.dispatchers[insightID]; d != nil {
		return d.epoch
	}
	return 0
}

// own begins to schedule an insight, after a while.
func (e *Engine) own(insightID string, epoch int64, settling time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.dispatchers[insightID]; old != nil {
		old.stop()
	}
	e.startDispatcher(insightID, epoch, settling)
}

// disown ends the scheduling of an insight. What its dispatcher has under way is void: another epoch has begun, or will.
func (e *Engine) disown(insightID string, level slog.Level, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.dispatchers[insightID]; d != nil {
		d.log.Log(context.Background(), level, "insight given up", "epoch", d.epoch, "reason", why)
		d.stop()
		delete(e.dispatchers, insightID)
	}
}

func (e *Engine) disownAll(why string) {
	for _, d := range e.allDispatchers() {
		e.disown(d.insightID, slog.LevelWarn, why)
	}
}

// Owner returns which server schedules an insight.
func (e *Engine) Owner(ctx context.Context, insightID string) (model.Owner, error) {
	if _, err := e.catalog.Insights.Get(ctx, insightID); err != nil {
		return model.Owner{}, err
	}
	out := model.Owner{InsightID: insightID}
	if e.owners == nil {
		out.Server, out.Address, out.Alive, out.Here = e.Server, e.Address, true, true
		return out, nil
	}
	rec, err := e.store.GetOne(ctx, ownerKey(insightID))
	if err != nil {
		return out, fmt.Errorf("read owner of insight %q: %w", insightID, err)
	}
	if rec == nil {
		return out, nil
	}
	owner, err := decodeOwner(rec)
	if err != nil {
		return out, err
	}
	e.owners.mu.Lock()
	s := e.owners.sightings[owner.Server]
	e.owners.mu.Unlock()
	out.Server, out.Epoch, out.Since, out.Address, out.Alive = owner.Server, owner.Epoch, owner.Since, s.Address, s.alive && !owner.Handed
	out.Here = e.epoch(insightID) == owner.Epoch
	return out, nil
}

// Owns reports whether this server schedules an insight.
func (e *Engine) Owns(insightID string) bool { return e.dispatcher(insightID) != nil }

// elsewhere is the error for what only the owner of an insight knows.
func (e *Engine) elsewhere(ctx context.Context, insightID string) error {
	owner, err := e.Owner(ctx, insightID)
	switch {
	case err != nil:
		return err
	case owner.Alive && !owner.Here:
		return model.Errorf(model.Unavailable, "insight %q is scheduled by server %q, which this server cannot reach; ask that one, or start it with an address for the others", insightID, owner.Server)
	default:
		return model.Errorf(model.Unavailable, "no server schedules insight %q at this moment; one takes it over within %s", insightID, e.OwnerLease)
	}
}
