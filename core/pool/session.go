package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pop-platform/pop/core/model"
)

// session is the lease on all agendas of a puller. Its times are measured on this machine's clock alone.
type session struct {
	id       string
	interval time.Duration // between heartbeats
	expires  time.Time     // when the server gives the agendas to others, unless it hears from us
	doubt    chan struct{} // a signal asks for a heartbeat at once
	busy     chan struct{} // a signal tells that agendas were handed out
}

const (
	// minHeartbeat keeps a server's odd answer from becoming a flood.
	minHeartbeat = 100 * time.Millisecond
	// idleHeartbeat is between the heartbeats of a puller that holds nothing. They only tell that it is there, and each is a write.
	idleHeartbeat = 5 * time.Minute
)

// newSession takes in the answer to a call that was made at the time asked.
func newSession(reply model.Session, asked time.Time) *session {
	s := &session{
		id: reply.ID, interval: max(time.Duration(reply.Heartbeat)*time.Millisecond, minHeartbeat),
		doubt: make(chan struct{}, 1), busy: make(chan struct{}, 1),
	}
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

// keepAlive sends heartbeats until ctx is done, and then returns nil, or until the session is lost. While nothing is held, there is
// no lease to keep: the server renews it when it hands out agendas.
func (p *Puller) keepAlive(ctx context.Context, s *session) error {
	last := time.Now()
	next := last.Add(jitter(s.interval/2, s.interval)) // not in step with others that have started at the same time
	for failures, resting := 0, false; ; {
		due := next
		if resting {
			due = last.Add(idleHeartbeat)
		} else if s.expires.Before(due) {
			due = s.expires
		}
		timer := time.NewTimer(time.Until(due))
		doubted := false
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.doubt:
			timer.Stop()
			doubted = true
		case <-s.busy:
			timer.Stop()
			if resting {
				now := time.Now()
				resting, next, s.expires = false, now.Add(s.interval), now.Add(2*s.interval)
			}
			continue
		}
		asked := time.Now()
		if !doubted && !resting && failures == 0 && p.idle() {
			resting = true
			continue
		}
		deadline := asked.Add(s.interval)
		if !resting {
			deadline = earlier(deadline, s.expires)
		}
		callCtx, cancel := context.WithDeadline(ctx, deadline)
		reply, err := p.cfg.API.Heartbeat(callCtx, s.id)
		cancel()
		switch kind := model.KindOf(err); {
		case err == nil:
			failures, resting, last, next = 0, false, asked, asked.Add(s.interval)
			s.extend(reply, asked)
			p.revoke(reply.Revoked)
			p.pause(reply.Paused)
		case ctx.Err() != nil:
			return nil //nolint:nilerr // told to stop
		case kind == model.NotFound || kind == model.Fenced:
			return err
		case resting: // nothing depends on it
			last = asked
		default:
			failures++
			next = time.Now().Add(min(backoff(failures), s.interval))
			p.cfg.Log.Warn("heartbeat failed", "session", s.id, "failures", failures, "error", err)
		}
		if !resting && !time.Now().Before(s.expires) {
			return fmt.Errorf("%w (%w)", errExpired, cmp.Or(err, context.DeadlineExceeded))
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
