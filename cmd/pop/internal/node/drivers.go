package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/pop-platform/pop/core/config"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/host"
	"github.com/pop-platform/pop/providers/local"
)

// drivers are what a server keeps its records with, sends its hints by, and asks who calls.
type drivers struct {
	store      driver.Store
	queue      driver.Queue
	authorizer driver.Authorizer // nil lets everyone do everything
	plugins    map[string]*host.Plugin
}

// openDrivers opens the drivers that the configuration names. With an error nothing stays open.
func openDrivers(ctx context.Context, cfg Config, metrics *host.Metrics) (_ *drivers, err error) {
	d := &drivers{plugins: map[string]*host.Plugin{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close(context.WithoutCancel(ctx)))
		}
	}()
	if d.plugins, err = startPlugins(ctx, cfg, metrics); err != nil {
		return nil, err
	}
	if d.store, err = openStore(ctx, cfg, d.plugins); err != nil {
		return nil, err
	}
	if d.queue, err = openQueue(cfg, d.plugins); err != nil {
		return nil, err
	}
	if !cfg.Open {
		d.authorizer, err = openAuthorizer(cfg, d.plugins)
	}
	return d, err
}

func openStore(ctx context.Context, cfg Config, plugins map[string]*host.Plugin) (driver.Store, error) {
	if by := cfg.Settings.Drivers.Store; by != config.Local {
		return plugins[by].Store()
	}
	s, err := local.OpenStore(ctx, local.StoreOptions{Dir: StoreDir(cfg.Settings.Server.Data), Logger: cfg.Log})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func openQueue(cfg Config, plugins map[string]*host.Plugin) (driver.Queue, error) {
	if by := cfg.Settings.Drivers.Queue; by != config.Local {
		return plugins[by].Queue()
	}
	return local.NewQueue(local.QueueOptions{}), nil
}

func openAuthorizer(cfg Config, plugins map[string]*host.Plugin) (driver.Authorizer, error) {
	if by := cfg.Settings.Drivers.Authorizer; by != config.Local {
		return plugins[by].Authorizer()
	}
	a, err := local.NewAuthorizer(local.AuthorizerOptions{File: cfg.Settings.Server.Tokens, Logger: cfg.Log})
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("the file of tokens %s cannot be read: %w; name another with --tokens", path.Path, path.Err)
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// close closes the drivers, and the plugins after them.
func (d *drivers) close(ctx context.Context) error {
	var errs []error
	if d.queue != nil {
		errs = append(errs, d.queue.Close(ctx))
	}
	if d.store != nil {
		errs = append(errs, d.store.Close(ctx))
	}
	if d.authorizer != nil {
		errs = append(errs, d.authorizer.Close(ctx))
	}
	for _, p := range d.plugins {
		errs = append(errs, p.Close(ctx))
	}
	return errors.Join(errs...)
}

// entries returns the plugins that are in use, with what they are used for.
func (cfg Config) entries() (entries []host.Entry) {
	byName := map[string]int{}
	use := func(name string, service driver.Service) {
		if name == config.Local {
			return
		}
		i, known := byName[name]
		if !known {
			i = len(entries)
			byName[name] = i
			entries = append(entries, entryOf(name, cfg.Settings.Plugins[name]))
		}
		entries[i].Services = append(entries[i].Services, service)
	}
	use(cfg.Settings.Drivers.Store, driver.StoreService)
	use(cfg.Settings.Drivers.Queue, driver.QueueService)
	if !cfg.Open {
		use(cfg.Settings.Drivers.Authorizer, driver.AuthorizerService)
	}
	return entries
}

// ReplacePlugins puts new processes in the place of those of the plugins in use, as the configuration has them now: the program, its
// checksum, its environment and settings may be others. Calls wait while one hands over to the next; a process that cannot be
// started, or does not take its settings, replaces nothing. Everything else in the configuration takes a restart.
func (s *Server) ReplacePlugins(ctx context.Context, cfg Config) error {
	var errs []error
	for _, e := range cfg.entries() {
		p, running := s.drivers.plugins[e.Name]
		switch {
		case !running:
			errs = append(errs, fmt.Errorf("plugin %s: it was not in use when the server was started; restart the server to use it", e.Name))
		case cfg.Settings.Plugins[e.Name].Linked != "":
			cfg.Log.Info("the plugin is linked in; restart the server to change its settings", "plugin", e.Name)
		default:
			if err := p.Replace(ctx, e); err != nil {
				errs = append(errs, pluginError(e.Name, err))
				continue
			}
			cfg.Log.Info("the plugin is replaced", "plugin", e.Name)
		}
	}
	return errors.Join(errs...)
}

func hostOptions(log *slog.Logger, metrics *host.Metrics) (host.Options, error) {
	reattach, err := host.ParseReattach(os.Getenv(host.ReattachEnv))
	return host.Options{Log: log, Metrics: metrics, LookupEnv: os.LookupEnv, Reattach: reattach}, err
}

// startPlugins starts the plugins that are in use. With an error the ones that were started are returned, to be closed.
func startPlugins(ctx context.Context, cfg Config, metrics *host.Metrics) (map[string]*host.Plugin, error) {
	plugins := map[string]*host.Plugin{}
	o, err := hostOptions(cfg.Log, metrics)
	if err != nil {
		return plugins, err
	}
	for _, e := range cfg.entries() {
		p, err := cfg.startPlugin(ctx, e, o)
		if err != nil {
			return plugins, pluginError(e.Name, err)
		}
		plugins[e.Name] = p
	}
	return plugins, nil
}

func (cfg Config) startPlugin(ctx context.Context, e host.Entry, o host.Options) (*host.Plugin, error) {
	if name := cfg.Settings.Plugins[e.Name].Linked; name != "" {
		return host.Link(ctx, linked[name], e, o)
	}
	return host.Start(ctx, e, o)
}
