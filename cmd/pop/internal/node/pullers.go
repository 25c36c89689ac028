package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/pool"
)

// Pullers run the agendas of all insights, and follow them as they come and go.
type Pullers struct {
	API      pool.API
	Catalog  *catalog.Catalog
	Launcher pool.Launcher
	Slots    int           // agendas that run at a time, for each insight
	Drain    time.Duration // how long they may go on when the pullers are told to stop
	Spool    string        // folder for results that the server cannot take in
	Log      *slog.Logger
}

// lookInterval is how often the pullers look for new insights.
const lookInterval = 500 * time.Millisecond

// sessionPrefix and the insight's id are the name of a session. Since it is the same after a restart, agendas that ran when the
// process was killed are taken from the old session and run again at once.
const sessionPrefix = "dev/"

// Run pulls and runs agendas until ctx is done and those that run have ended or were handed back.
func (p *Pullers) Run(ctx context.Context) {
	running := map[string]context.CancelFunc{}
	var pullers sync.WaitGroup
	defer pullers.Wait()
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for failing := false; ; {
		err := p.follow(ctx, running, &pullers)
		if err != nil && !failing && ctx.Err() == nil {
			p.Log.Error("insights not read, trying again", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return
		case <-ticker.C:
		}
	}
}

// follow starts pullers of insights that are new, and stops those of insights that are gone.
func (p *Pullers) follow(ctx context.Context, running map[string]context.CancelFunc, pullers *sync.WaitGroup) error {
	insights, err := p.Catalog.Insights.All(ctx)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, insight := range insights {
		id := insight.Object.ID
		there[id] = true
		if running[id] != nil {
			continue
		}
		puller, err := pool.New(pool.Config{
			API: p.API, Launcher: p.Launcher, Log: p.Log,
			Name: sessionPrefix + id, InsightIDs: []string{id}, Slots: p.Slots, DrainTimeout: p.Drain, Spool: p.Spool,
		})
		if err != nil {
			return fmt.Errorf("insight %q: %w", id, err)
		}
		pulling, stop := context.WithCancel(ctx)
		running[id] = stop
		pullers.Go(func() { puller.Run(pulling) })
	}
	for id, stop := range running {
		if !there[id] {
			stop()
			delete(running, id)
		}
	}
	return nil
}
