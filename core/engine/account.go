package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// accounts are what customers have used of their rates and quotas, as the store has it. Only the dispatcher's loop uses it.
type accounts struct {
	loaded   bool
	versions map[string]driver.Version // by customer
}

// keep stores what customers have used of their rates and quotas. Each is written over the version that is known, so that none of two
// owners ever schedules by an account that the other has used.
func (d *dispatcher) keep(ctx context.Context, used map[string]scheduling.Account) error {
	if len(used) == 0 {
		return nil
	}
	groups := make([]driver.Group, 0, len(used))
	customers := make([]string, 0, len(used))
	for customerID, account := range used {
		body, err := json.Marshal(account)
		if err != nil {
			return fmt.Errorf("encode account of customer %q: %w", customerID, err)
		}
		op := driver.Op{Record: driver.Record{Key: accountKey(d.insightID, customerID), Body: body}, Cond: driver.IfAbsent}
		if version, known := d.accounts.versions[customerID]; known {
			op.Cond, op.Version = driver.IfVersion, version
		}
		groups, customers = append(groups, driver.Group{op}), append(customers, customerID)
	}
	results, err := d.engine.store.Write(ctx, groups...)
	for i, r := range results {
		if r.Err == nil {
			d.accounts.versions[customers[i]] = r.Versions[0]
		}
	}
	if err = firstError(results, err); err != nil {
		d.accounts.loaded = false // what is stored now is not known
		return fmt.Errorf("keep accounts of %d customers: %w", len(used), err)
	}
	return nil
}

// loadAccounts reads what was kept, unless it is known.
func (d *dispatcher) loadAccounts(ctx context.Context) error {
	if d.accounts.loaded {
		return nil
	}
	used := map[string]scheduling.Account{}
	versions := map[string]driver.Version{}
	for rec, err := range d.engine.store.Scan(ctx, driver.ScanRequest{Kind: kindAccount, Part: d.insightID}) {
		if err != nil {
			return fmt.Errorf("load accounts: %w", err)
		}
		var account scheduling.Account
		if err := json.Unmarshal(rec.Body, &account); err != nil {
			return driver.Errorf(driver.Corrupt, "engine", "account of customer %q: %w", rec.Key.Sort, err)
		}
		used[rec.Key.Sort], versions[rec.Key.Sort] = account, rec.Version
	}
	err := d.eachCustomer(ctx, slices.Sorted(maps.Keys(used)), func(now int64, id string, policy scheduling.Policy) {
		d.line.SetAccount(now, id, policy, used[id])
	})
	if err == nil {
		d.accounts = accounts{loaded: true, versions: versions}
	}
	return err
}
