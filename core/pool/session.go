package pool

import (
	"context"
	"errors"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// session is the lease on all agendas of a puller. Its times are measured on this machine's clock alone.
type session struct {
	id       string
	interval time.Duration // between heartbeats
	expires  time.Time     // when the server gives the agendas to others, unless it hears from us
	doubt    chan struct{} // a signal asks for a heartbeat at once
}

// minHeartbeat keeps a server's odd answer from becoming a flood.
const minHeartbeat = 100 * time.Millisecond

// newSession takes in the answer to a call that was made at the time asked.
func newSession(reply model.Session, asked time.Time) *session {
	s := &session{id: reply.ID, interval: max(time.Duration(reply.Heartbeat)*time.Millisecond, minHeartbeat), doubt: make(chan struct{}, 1)}
	s.extend(reply, asked)
	return s
}

// extend notes how long the session lives now. The server's clock may be off from ours; what it says is believed within the
// bounds of what a lease can reasonably be.
func (s *session) extend(reply model.Session, asked time.Time) {
	lease := reply.ExpiresAt.Sub(asked)
	s.expires = asked.Add(min(max(lease, 2*s.interval), 10*s.interval))
}

var errExpired = errors.New("no heartbeat has reached the server for the length of the lease")

// keepAlive sends heartbeats until ctx is done, and then returns nil, or until the session is lost.
func (p *Puller) keepAlive(ctx context.Context, s *session) error {
	wait, failures := jitter(s.interval*8/10, s.interval), 0
	for {
		timer := time.NewTimer(min(wait, time.Until(s.expires)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.doubt:
			timer.Stop()
		}
		asked := time.Now()
		callCtx, cancel := context.WithDeadline(ctx, earlier(asked.Add(s.interval), s.expires))
		reply, err := p.cfg.API.Heartbeat(callCtx, s.id)
		cancel()
		switch kind := model.KindOf(err); {
		case err == nil:
			failures, wait = 0, jitter(s.interval*8/10, s.interval)
			s.extend(reply, asked)
			p.revoke(reply.Revoked)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to stop
		case kind == model.NotFound || kind == model.Fenced:
			return err
		default:
			failures++
			wait = min(backoff(failures), s.interval)
			p.cfg.Log.Warn("heartbeat failed", "session", s.id, "failures", failures, "error", err)
		}
		if !time.Now().Before(s.expires) {
			return errors.Join(errExpired, err)
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
