package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pop-platform/pop/cmd/pop/internal/credential"
	"github.com/pop-platform/pop/core/client"
	"github.com/pop-platform/pop/core/model"
)

const (
	// callTimeout is how long the server may take for an answer.
	callTimeout = 10 * time.Second
	// maxSkew is how far the clocks may be apart: sessions are leases of some seconds.
	maxSkew = 3 * time.Second
	// patience is how long an agenda may be queued before somebody should have pulled it.
	patience = 30 * time.Second
	// maxInsights is how many insights are looked at.
	maxInsights = 100
)

// serverChecks look at the server from outside.
type serverChecks struct {
	Options
	*report
	client *client.Client
	clock  *clockWatcher
	taken  map[string][]string // insights by the operation types that they take
}

func newServerChecks(o Options, r *report) (*serverChecks, error) {
	clock := &clockWatcher{next: http.DefaultTransport, now: o.Now}
	c, err := client.New(o.Server, client.Options{
		Token: o.Token, Tokens: o.Tokens, UserAgent: "pop/" + o.Version, HTTPClient: &http.Client{Transport: clock, Timeout: callTimeout},
	})
	return &serverChecks{Options: o, report: r, client: c, clock: clock, taken: map[string][]string{}}, err
}

func (s *serverChecks) run(ctx context.Context) {
	if !s.reachable(ctx) {
		return
	}
	s.checkReady(ctx)
	s.checkClock()
	if s.authenticated(ctx) {
		s.checkInsights(ctx)
	}
}

func (s *serverChecks) reachable(ctx context.Context) bool {
	v, err := s.client.Version(ctx)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) && s.Config != nil: // it is looked at before its start
		s.warn("server", "start it with `pop serve`, or name another with --server", "nothing listens on %s", s.Server)
		return false
	case errors.Is(err, syscall.ECONNREFUSED):
		s.fail("server", "start one with `pop dev`, or name another with --server", "nothing listens on %s", s.Server)
		return false
	case errors.Is(err, client.ErrUnreachable):
		s.fail("server", "look at the address, the network and the proxies in between", "%v", err)
		return false
	case err != nil:
		s.fail("server", "see whether it is POP that answers at this address", "%s: %v", s.Server, err)
		return false
	}
	s.ok("server", "%s answers", s.Server)
	if v.Version != s.Version {
		s.warn("version", "use the same version on both sides", "the server is %s, this program %s", v.Version, s.Version)
	} else {
		s.ok("version", "%s, built with %s", v.Version, v.Go)
	}
	return true
}

func (s *serverChecks) checkReady(ctx context.Context) {
	if err := s.client.Ready(ctx); err != nil {
		s.fail("ready", "look at the server's log and its data folder", "%v", err)
		return
	}
	s.ok("ready", "the server can serve")
}

func (s *serverChecks) checkClock() {
	skew, known := s.clock.skew()
	switch {
	case !known:
		s.warn("clock", "look for a proxy that removes the Date header", "the server does not tell the time")
	case skew.Abs() > maxSkew:
		s.warn("clock", "synchronise the clocks of both machines, such as by NTP", "the server's clock is off by %s from this one", skew.Round(time.Second))
	default:
		s.ok("clock", "the server's clock agrees with this one")
	}
}

func (s *serverChecks) authenticated(ctx context.Context) bool {
	if s.Tokens != nil {
		token, err := s.Tokens(ctx)
		if err != nil {
			s.fail("token", "run the program of --token-command, or look at the file of --token-file, by itself", "%v", err)
			return false
		}
		s.Token = token.Value
	}
	signed := s.checkToken()
	_, err := s.client.Insights.List(ctx, client.Filter{}, client.Page{Limit: 1})
	switch kind := model.KindOf(err); {
	case err == nil && s.Token == "":
		s.ok("authentication", "the server asks for none")
	case err == nil:
		s.ok("authentication", "the token is accepted")
	case kind == model.Unauthenticated && s.Token == "":
		s.fail("authentication", "give a token with --token or POP_TOKEN, --token-file or --token-command", "the server asks for a token")
	case kind == model.Unauthenticated && signed:
		s.fail("authentication", "compare the token's issuer and audience, above, with those that the server's operator has configured", "%v", err)
	case kind == model.Unauthenticated:
		s.fail("authentication", "ask the server's operator for a valid token", "%v", err)
	case kind == model.Forbidden:
		s.warn("authentication", "use a token with the role read to see more here; if it is of an issuer, a rule of the server's must apply to it",
			"the token is accepted, but %v", err)
	default:
		s.fail("authentication", "look at the server's log, and whether the server reaches the issuer of the token", "%v", err)
	}
	return err == nil
}

// checkToken looks at what a signed token says of itself, and reports whether it is one.
func (s *serverChecks) checkToken() bool {
	claims, signed := credential.Read(s.Token)
	if !signed {
		return false
	}
	about := fmt.Sprintf("issuer %s, audience %s, subject %s", claims.Issuer, claims.Audience, claims.Subject)
	switch end := credential.Expiry(s.Token); {
	case end.IsZero():
		s.warn("token", "take tokens that end: this one is good for whoever finds it", "%s; it does not say when it ends", about)
	case s.Now().After(end):
		s.fail("token", "fetch a new one, such as by --token-command; if it is new, set the clock of this machine", "%s; it ended at %s", about, end.UTC().Format(time.RFC3339))
	default:
		s.ok("token", "%s; it ends in %s", about, end.Sub(s.Now()).Round(time.Second))
	}
	return true
}

// checkInsights looks for insights that nobody pulls. The server does not know pullers, but where one is at work agendas do not
// stay queued.
func (s *serverChecks) checkInsights(ctx context.Context) {
	n, alone := 0, []string{}
	owned, orphans := map[string]int{}, []string{}
	for insight, err := range s.client.Insights.All(ctx, client.Filter{}) {
		var stuck bool
		if err == nil {
			stuck, err = s.stuck(ctx, insight.ID)
		}
		if err != nil {
			s.fail("insights", "look at the server's log", "%v", err)
			return
		}
		if owner, err := s.client.Owner(ctx, insight.ID); err == nil && owner.Alive {
			owned[owner.Server]++
		} else {
			orphans = append(orphans, insight.ID)
		}
		if stuck {
			alone = append(alone, insight.ID)
		}
		for _, t := range insight.Mappers.OperationType {
			s.taken[t] = append(s.taken[t], insight.ID)
		}
		if n++; n == maxInsights {
			break
		}
	}
	switch {
	case n == 0:
		s.warn("insights", "create some with `pop apply -f`", "there are none, so no agenda can be submitted")
	case len(alone) > 0:
		s.warn("insights", fmt.Sprintf("start `pop pull --insight %s`, and see whether its slots are all taken", strings.Join(alone, ",")),
			"agendas are queued and none is executed: %s", strings.Join(alone, ", "))
	default:
		s.ok("insights", "of %d none has agendas that nobody pulls", n)
	}
	s.checkOwners(owned, orphans)
}

// checkOwners tells which servers schedule the insights.
func (s *serverChecks) checkOwners(owned map[string]int, orphans []string) {
	if len(orphans) > 0 {
		s.fail("owners", "look at the servers' logs; if one has just gone, another takes over within the owner lease",
			"no server schedules %s", strings.Join(orphans, ", "))
		return
	}
	var parts []string
	for _, server := range slices.Sorted(maps.Keys(owned)) {
		parts = append(parts, fmt.Sprintf("%d by server %s", owned[server], server))
	}
	if len(parts) > 0 {
		s.ok("owners", "insights are scheduled: %s", strings.Join(parts, ", "))
	}
}

// stuck reports whether agendas of an insight are queued, even the newest for a while, and none is executed.
func (s *serverChecks) stuck(ctx context.Context, insightID string) (bool, error) {
	newest := func(state model.State) (*model.AgendaProgress, error) {
		page, err := s.client.Progresses(ctx, client.AgendaFilter{InsightID: insightID, State: state}, client.Page{Limit: 1})
		if err != nil || len(page.Items) == 0 {
			return nil, err
		}
		return &page.Items[0], nil
	}
	queued, err := newest(model.Queued)
	if err != nil || queued == nil || s.Now().Sub(queued.UpdatedTime) < patience {
		return false, err
	}
	executing, err := newest(model.Executing)
	return err == nil && executing == nil, err
}

// clockWatcher compares the time that a server tells with every answer to the time here.
type clockWatcher struct {
	next http.RoundTripper
	now  func() time.Time

	mu    sync.Mutex
	off   time.Duration
	known bool
}

// RoundTrip implements [http.RoundTripper].
func (c *clockWatcher) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := c.now()
	resp, err := c.next.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	if told, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		middle := sent.Add(c.now().Sub(sent) / 2)
		c.mu.Lock()
		c.off, c.known = told.Add(time.Second/2).Sub(middle), true // the server tells whole seconds
		c.mu.Unlock()
	}
	return resp, nil
}

func (c *clockWatcher) skew() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.off, c.known
}
