package memdriver_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

// onWrite is a hook that gives the first Write a fault.
func onWrite(fault memdriver.Fault) func(memdriver.Call) memdriver.Fault {
	return func(c memdriver.Call) memdriver.Fault {
		if c.Method == memdriver.Write && c.N == 0 {
			return fault
		}
		return memdriver.Fault{}
	}
}

func TestFaultsOfAWholeWrite(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault   memdriver.Fault
		code    driver.Code
		outcome driver.Outcome
		applied bool
	}{
		"throttled":    {memdriver.Throttled(time.Second), driver.Throttled, driver.NotApplied, false},
		"unavailable":  {memdriver.Unavailable(), driver.Unavailable, driver.NotApplied, false},
		"lost reply":   {memdriver.LostReply(), driver.Unavailable, driver.Unknown, true},
		"lost request": {memdriver.LostRequest(), driver.Unavailable, driver.Unknown, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inner := newStore(t, memdriver.StoreOptions{})
			s := memdriver.NewFaultyStore(inner, onWrite(tt.fault))
			_, err := s.Write(t.Context(), writeOf("a"))
			if driver.CodeOf(err) != tt.code || driver.OutcomeOf(err) != tt.outcome {
				t.Errorf("error %v, want %s and outcome %s", err, tt.code, tt.outcome)
			}
			if applied := len(scanIndex(t, inner)) == 1; applied != tt.applied {
				t.Errorf("applied: %v, want %v", applied, tt.applied)
			}
			if _, err := s.Write(t.Context(), writeOf("a")); err != nil {
				t.Errorf("the next write: %v", err)
			}
			if got := s.Counts()[memdriver.Write].Calls; got != 2 {
				t.Errorf("%d calls were counted, want 2", got)
			}
		})
	}
}

func writeOf(sorts ...string) driver.WriteRequest {
	var req driver.WriteRequest
	for _, sort := range sorts {
		req.Groups = append(req.Groups, driver.Group{{Record: driver.Record{
			Key:   driver.Key{Kind: "k", Part: "p", Sort: sort},
			Index: []driver.IndexEntry{{Index: "i", Part: "x", Sort: sort}},
		}}})
	}
	return req
}

func TestFaultsOfSingleGroups(t *testing.T) {
	t.Parallel()
	inner := newStore(t, memdriver.StoreOptions{})
	s := memdriver.NewFaultyStore(inner, onWrite(memdriver.Fault{Each: func(i int) memdriver.Fault {
		return []memdriver.Fault{{}, memdriver.Throttled(0), memdriver.LostReply(), {}}[i]
	}}))
	resp, err := s.Write(t.Context(), writeOf("a", "b", "c", "d"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, memdriver.Throttled(0).Err, memdriver.LostReply().Err, nil} {
		if got := resp.Results[i].Err; driver.CodeOf(got) != driver.CodeOf(want) || (got == nil) != (want == nil) {
			t.Errorf("result %d: %v, want %v", i, got, want)
		}
	}
	if diff := cmp.Diff([]string{"a", "c", "d"}, scanIndex(t, inner)); diff != "" {
		t.Errorf("applied groups:\n%s", diff)
	}
	if got := s.Counts()[memdriver.Write]; got != (memdriver.Count{Calls: 1, Items: 3}) {
		t.Errorf("counts: %+v", got)
	}
}

func TestDelayEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := newStore(t, memdriver.StoreOptions{})
		s := memdriver.NewFaultyStore(inner, onWrite(memdriver.Fault{Delay: time.Minute}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := s.Write(ctx, writeOf("a")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %s, want the deadline after 1s", err, time.Since(start))
		}
		if got := scanIndex(t, inner); got != nil {
			t.Errorf("written: %v", got)
		}
	})
}

func TestFaultsOfMessages(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fault  memdriver.Fault
		failed []bool
		want   []string
	}{
		"dropped":    {memdriver.Fault{Drop: true}, []bool{false, false}, nil},
		"duplicated": {memdriver.Fault{Duplicate: true}, []bool{false, false}, []string{"a", "b", "a", "b"}},
		"one by one": {
			memdriver.Fault{Each: func(i int) memdriver.Fault {
				return []memdriver.Fault{memdriver.Throttled(0), {Duplicate: true}}[i]
			}},
			[]bool{true, false},
			[]string{"b", "b"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := memdriver.NewFaultyQueue(newQueue(t, memdriver.QueueOptions{}), func(c memdriver.Call) memdriver.Fault {
				if c.Method == memdriver.Send {
					return tt.fault
				}
				return memdriver.Fault{}
			})
			for i, err := range send(t, q, "a", "b") {
				if (err != nil) != tt.failed[i] {
					t.Errorf("message %d: %v", i, err)
				}
			}
			if diff := cmp.Diff(tt.want, receive(t, q, 0)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLostReplyOfReceiveLeavesTheLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := memdriver.NewFaultyQueue(newQueue(t, memdriver.QueueOptions{}), func(c memdriver.Call) memdriver.Fault {
			if c.Method == memdriver.Receive && c.N == 0 {
				return memdriver.LostReply()
			}
			return memdriver.Fault{}
		})
		send(t, q, "m")
		if _, err := q.Receive(t.Context(), driver.ReceiveRequest{Queue: "q", Max: 1, Lease: 30 * time.Second}); err == nil {
			t.Fatal("no error")
		}
		if got := receive(t, q, 0); got != nil {
			t.Errorf("during the lease: %v", got)
		}
		if got := receive(t, q, 30*time.Second); len(got) != 1 {
			t.Errorf("after the lease: %v", got)
		}
	})
}

func TestFaultsOfAnAuthorizer(t *testing.T) {
	t.Parallel()
	a := memdriver.NewFaultyAuthorizer(memdriver.NewAuthorizer(map[string]driver.Principal{"t": {Subject: "ann"}}), func(c memdriver.Call) memdriver.Fault {
		if c.N == 0 {
			return memdriver.Unavailable()
		}
		return memdriver.Fault{}
	})
	req := driver.AuthenticateRequest{Header: map[string][]string{"Authorization": {"Bearer t"}}}
	if p, err := a.Authenticate(t.Context(), req); driver.CodeOf(err) != driver.Unavailable || p.Subject != "" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := a.Authenticate(t.Context(), req); err != nil || p.Subject != "ann" {
		t.Errorf("%+v, %v", p, err)
	}
	if got := a.Counts()[memdriver.Authenticate]; got != (memdriver.Count{Calls: 2, Items: 1}) {
		t.Errorf("counts: %+v", got)
	}
}
