package node

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
)

// Backend is a plugin that is in use, and what its backend says.
type Backend struct {
	Plugin string
	Err    error    // that a server would meet
	InUse  bool     // Err is that the plugin cannot be opened now, as when a running server has its data for itself
	Todo   []string // what a server would do to the backend at its start, in words
}

// CheckBackends starts each plugin that is in use, one after the other, asks its backend what a server would ask, and closes it.
func CheckBackends(ctx context.Context, cfg Config) (backends []Backend) {
	o, err := hostOptions(cfg.Log, nil)
	if err != nil {
		return []Backend{{Plugin: host.ReattachEnv, Err: err}}
	}
	for _, e := range cfg.entries() {
		b := Backend{Plugin: e.Name}
		p, err := cfg.startPlugin(ctx, e, o)
		if err != nil {
			_, opened := errors.AsType[*host.HealthError](err)
			b.Err, b.InUse = err, !opened && driver.CodeOf(err) == driver.Unavailable
		} else {
			b.Todo, b.Err = tryDrivers(ctx, p, e.Services)
			b.Err = errors.Join(b.Err, p.Close(ctx))
		}
		backends = append(backends, b)
	}
	return backends
}

// tryDrivers asks the drivers of a plugin what a server would, and changes nothing.
func tryDrivers(ctx context.Context, p *host.Plugin, services []driver.Service) (todo []string, err error) {
	if err := p.CheckHealth(ctx); err != nil {
		return nil, err
	}
	if slices.Contains(services, driver.QueueService) {
		q, err := p.Queue()
		if err == nil {
			err = tryQueue(ctx, q)
		}
		if err != nil {
			return nil, err
		}
	}
	if !slices.Contains(services, driver.StoreService) {
		return nil, nil // the health of an authorizer is that of its issuers
	}
	s, err := p.Store()
	if err != nil {
		return nil, err
	}
	return tryStore(ctx, s)
}

// nobody is the name of what is looked for and not there.
const nobody = "pop-doctor"

// tryStore returns what a server would do to make the store fit for use. If there is nothing to do, it makes a call of each kind, so that
// a right that is missing is found before a server needs it. Its writes have conditions that never hold.
func tryStore(ctx context.Context, s driver.Store) (todo []string, err error) {
	schema := schema()
	plan, err := s.Migrate(ctx, driver.MigrateRequest{Schema: schema, DryRun: true})
	if err != nil || len(plan.Steps) > 0 {
		return plan.Steps, err
	}
	var get driver.GetRequest
	for _, k := range schema.Kinds {
		get.Keys = append(get.Keys, driver.Key{Kind: k.Kind, Part: nobody, Sort: nobody})
		for _, index := range append([]string{""}, k.Indexes...) {
			if _, err := s.Scan(ctx, driver.ScanRequest{Kind: k.Kind, Index: index, Part: nobody, Limit: 1}); err != nil {
				return nil, err
			}
		}
	}
	if _, err := s.Get(ctx, get); err != nil {
		return nil, err
	}
	large := make([]byte, 64<<10) // which every store takes
	_, _ = rand.Read(large)       // never fails
	for _, does := range []driver.OpType{driver.Put, driver.Delete} {
		var write driver.WriteRequest
		for _, k := range get.Keys {
			write.Groups = append(write.Groups, driver.Group{{Type: does, Record: driver.Record{Key: k}, Cond: driver.IfVersion}})
		}
		write.Groups[0][0].Record.Body = large // a store may keep it elsewhere
		resp, err := s.Write(ctx, write)
		if err != nil {
			return nil, err
		}
		for _, result := range resp.Results {
			if result.Err != nil && !driver.IsConflict(result.Err) {
				return nil, result.Err
			}
		}
	}
	return nil, nil
}

// tryQueue asks for a queue that is not there.
func tryQueue(ctx context.Context, q driver.Queue) error {
	_, err := q.Depth(ctx, driver.DepthRequest{Queue: nobody})
	if code := driver.CodeOf(err); code == driver.Invalid || code == driver.Unsupported { // there is none, or it cannot count
		return nil
	}
	return err
}
