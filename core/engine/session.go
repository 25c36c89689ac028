package engine

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// sessionSeparator stands between a session's name and what makes its id unique.
const sessionSeparator = "~"

// sessionGarbage is how long the record of an expired session is kept.
const sessionGarbage = time.Hour

// sessionRecord is the stored form of a session. There is one for each name: opening it again ends the session before.
type sessionRecord struct {
	ID        string        `json:"id"`
	ExpiresAt time.Time     `json:"expiresAt"`
	Revoked   []model.Lease `json:"revoked,omitempty"`
	Paused    []model.Lease `json:"paused,omitempty"`
}

// sessionCache remembers until when sessions are known to live, so that most checks need no read.
type sessionCache struct {
	mu    sync.Mutex
	alive map[string]time.Time
	full  int // so many are worth a look for those that have run out
}

// set notes until when a session lives. Those of machines that come and go under ever new names run out and are not heard of again.
func (c *sessionCache) set(id string, until, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.alive == nil {
		c.alive, c.full = map[string]time.Time{}, 1000
	}
	if len(c.alive) >= c.full {
		maps.DeleteFunc(c.alive, func(_ string, until time.Time) bool { return until.Before(now) })
		c.full = max(1000, 2*len(c.alive))
	}
	c.alive[id] = until
}

func (c *sessionCache) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.alive, id)
}

func (c *sessionCache) until(id string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alive[id]
}

func sessionName(id string) string {
	return id[:max(0, strings.LastIndex(id, sessionSeparator))]
}

// OpenSession opens a session. One of the same name ends, and the agendas of its executor are run again at once.
func (e *Engine) OpenSession(ctx context.Context, name string) (model.Session, error) {
	if name == "" {
		name = rand.Text()
	}
	if issues := model.ValidateID("name", name); len(issues) > 0 {
		return model.Session{}, &model.Error{Kind: model.Invalid, Detail: "session", Issues: issues}
	}
	ctx, cancel := finish(ctx)
	defer cancel()
	old, err := e.store.GetOne(ctx, sessionKey(name))
	if err != nil {
		return model.Session{}, fmt.Errorf("open session %q: %w", name, err)
	}
	s := sessionRecord{ID: name + sessionSeparator + rand.Text()[:10], ExpiresAt: e.Now().Add(e.Lease).UTC()}
	if err := e.writeSession(ctx, s, driver.Always, ""); err != nil {
		return model.Session{}, err
	}
	if old != nil {
		if before, err := decodeSession(old); err == nil {
			e.sessionEnded(before.ID)
		}
	}
	return e.session(s), nil
}

// Heartbeat extends a session and returns the leases that were taken away since the last one. A session that has run out goes on,
// unless another of its name was opened: what it held may have been given to others, which the fences tell, but an executor that
// held nothing need not have sent heartbeats.
func (e *Engine) Heartbeat(ctx context.Context, id string) (model.Session, error) {
	ctx, cancel := finish(ctx)
	defer cancel()
	for {
		s, version, err := e.readSession(ctx, id)
		if err != nil {
			return model.Session{}, err
		}
		revoked, paused := s.Revoked, s.Paused
		s.Revoked, s.Paused, s.ExpiresAt = nil, nil, e.Now().Add(e.Lease).UTC()
		if err := e.writeSession(ctx, s, driver.IfVersion, version); driver.IsConflict(err) {
			continue
		} else if err != nil {
			return model.Session{}, err
		}
		out := e.session(s)
		out.Revoked, out.Paused = revoked, paused
		return out, nil
	}
}

// CloseSession ends a session. Agendas it still runs are run again at once.
func (e *Engine) CloseSession(ctx context.Context, id string) error {
	ctx, cancel := finish(ctx)
	defer cancel()
	_, version, err := e.readSession(ctx, id)
	if model.KindOf(err) == model.Fenced {
		return nil // another one has taken its name
	}
	if err != nil {
		return err
	}
	_, err = e.store.WriteOne(ctx, driver.Op{
		Type: driver.Delete, Record: driver.Record{Key: sessionKey(sessionName(id))}, Cond: driver.IfVersion, Version: version,
	})
	if err != nil && !driver.IsConflict(err) {
		return fmt.Errorf("close session %q: %w", id, err)
	}
	e.sessionEnded(id)
	return nil
}

// revoke tells the executor of a session, with its next heartbeat, that a lease was taken away. It only makes the executor stop
// sooner: its reports are refused in any case.
func (e *Engine) revoke(ctx context.Context, sessionID string, lease model.Lease) {
	e.tell(ctx, sessionID, func(s *sessionRecord) { s.Revoked = append(s.Revoked, lease) })
}

// tellPaused tells the executor of a session, with its next heartbeat, that an agenda was paused.
func (e *Engine) tellPaused(ctx context.Context, sessionID string, lease model.Lease) {
	e.tell(ctx, sessionID, func(s *sessionRecord) { s.Paused = append(s.Paused, lease) })
}

// tell leaves something to say with a session's next heartbeat.
func (e *Engine) tell(ctx context.Context, sessionID string, leave func(*sessionRecord)) {
	for {
		s, version, err := e.readSession(ctx, sessionID)
		if err != nil {
			return
		}
		leave(&s)
		if err = e.writeSession(ctx, s, driver.IfVersion, version); !driver.IsConflict(err) {
			return
		}
	}
}

// sessionAlive reports whether a session holds on to its agendas: it has not run out, and no other of its name was opened. After
// the start every session gets a whole lease: while there was no server, no executor could be heard.
func (e *Engine) sessionAlive(ctx context.Context, id string) (bool, error) {
	now := e.Now()
	if now.Before(e.sessions.until(id)) {
		return true, nil
	}
	s, _, err := e.readSession(ctx, id)
	if model.KindOf(err) == model.Fenced {
		return false, nil
	}
	return err == nil && (now.Before(s.ExpiresAt) || now.Before(e.started.Add(e.Lease))), err
}

// ensureSession sees to it that a session lives for at least the length of two heartbeats, so that agendas may be given to it.
// It writes only for an executor that held nothing: one that sends heartbeats lives longer.
func (e *Engine) ensureSession(ctx context.Context, id string) error {
	if e.sessions.until(id).Sub(e.Now()) >= 2*e.Lease/heartbeatsLease {
		return nil
	}
	for {
		s, version, err := e.readSession(ctx, id)
		if err != nil {
			return err
		}
		s.ExpiresAt = e.Now().Add(e.Lease).UTC()
		if err := e.writeSession(ctx, s, driver.IfVersion, version); !driver.IsConflict(err) {
			return err
		}
	}
}

// readSession reads a session, whether it has run out or not. If another of its name was opened, or it was closed, the error is of
// kind Fenced.
func (e *Engine) readSession(ctx context.Context, id string) (sessionRecord, driver.Version, error) {
	ended := model.Errorf(model.Fenced, "session %q has ended; open a new one", id)
	name := sessionName(id)
	if len(model.ValidateID("sessionId", name)) > 0 {
		return sessionRecord{}, "", ended
	}
	rec, err := e.store.GetOne(ctx, sessionKey(name))
	if err != nil {
		return sessionRecord{}, "", fmt.Errorf("read session %q: %w", id, err)
	}
	if rec == nil {
		return sessionRecord{}, "", ended
	}
	s, err := decodeSession(rec)
	if err != nil {
		return sessionRecord{}, "", err
	}
	if s.ID != id {
		e.sessions.forget(id)
		return sessionRecord{}, "", ended
	}
	e.sessions.set(id, s.ExpiresAt, e.Now())
	return s, rec.Version, nil
}

func decodeSession(rec *driver.Record) (sessionRecord, error) {
	var s sessionRecord
	if err := json.Unmarshal(rec.Body, &s); err != nil {
		return s, driver.Errorf(driver.Corrupt, "engine", "session %q: %w", rec.Key.Part, err)
	}
	return s, nil
}

func (e *Engine) writeSession(ctx context.Context, s sessionRecord, cond driver.Cond, version driver.Version) error {
	body, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode session %q: %w", s.ID, err)
	}
	_, err = e.store.WriteOne(ctx, driver.Op{
		Type: driver.Put, Cond: cond, Version: version,
		Record: driver.Record{Key: sessionKey(sessionName(s.ID)), Body: body, ExpireAt: s.ExpiresAt.Add(sessionGarbage)},
	})
	if err != nil {
		return fmt.Errorf("write session %q: %w", s.ID, err)
	}
	e.sessions.set(s.ID, s.ExpiresAt, e.Now())
	return nil
}

// sessionEnded makes every insight look for the agendas of a session at once.
func (e *Engine) sessionEnded(id string) {
	e.sessions.forget(id)
	for _, d := range e.allDispatchers() {
		d.sweepNow()
	}
}

func (e *Engine) session(s sessionRecord) model.Session {
	return model.Session{
		ID: s.ID, Name: sessionName(s.ID), ExpiresAt: s.ExpiresAt,
		Heartbeat: (e.Lease / heartbeatsLease).Milliseconds(), Progress: e.ProgressEvery.Milliseconds(),
	}
}
