package local

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/local/internal/sqlitestore"
)

// OpenSQLite opens the store that decision 2 weighs against [OpenStore]'s. It goes once the figures are in.
func OpenSQLite(ctx context.Context, opts StoreOptions) (driver.Store, error) {
	s, err := sqlitestore.Open(ctx, opts.Dir, opts.Now)
	if err != nil {
		return nil, err
	}
	return sqliteStore{s}, nil
}

type sqliteStore struct{ *sqlitestore.Store }

func (s sqliteStore) Stats() Stats { return Stats{Flushes: s.Flushes()} }
