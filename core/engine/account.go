package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// accountKept is how long the store keeps an account that allows what an empty one would: by then the run times and the debt in it tell
// nothing any more. So there are as many accounts as customers that were served lately, and not as there ever were.
const accountKept = 24 * time.Hour

// accounts are what customers have used of their rates and quotas, as the store has it. Only the dispatcher's loop uses it.
type accounts struct {
	loaded bool
	stored map[string]storedAccount // by customer
}

type storedAccount struct {
	version driver.Version
	expire  time.Time // zero if an earlier version wrote it, which kept accounts for ever
}

// keep stores what customers have used of their rates and quotas. Each is written over the version that is known, so that none of two
// owners ever schedules by an account that the other has used.
func (d *dispatcher) keep(ctx context.Context, used map[string]scheduling.Account) error {
	if len(used) == 0 {
		return nil
	}
	now := d.engine.Now()
	groups := make([]driver.Group, 0, len(used))
	customers := make([]string, 0, len(used))
	for customerID, account := range used {
		body, err := json.Marshal(account)
		if err != nil {
			return fmt.Errorf("encode account of customer %q: %w", customerID, err)
		}
		op := driver.Op{Cond: driver.IfAbsent, Record: driver.Record{
			Key: accountKey(d.insightID, customerID), Body: body, ExpireAt: d.settles(now, customerID, account).Add(accountKept).Truncate(time.Second),
		}}
		if before, known := d.accounts.stored[customerID]; known && (before.expire.IsZero() || now.Before(before.expire)) {
			op.Cond, op.Version = driver.IfVersion, before.version
		}
		groups, customers = append(groups, driver.Group{op}), append(customers, customerID)
	}
	results, err := d.engine.store.Write(ctx, groups...)
	for i, r := range results {
		if r.Err == nil {
			d.accounts.stored[customers[i]] = storedAccount{r.Versions[0], groups[i][0].Record.ExpireAt}
		}
	}
	if err = firstError(results, err); err != nil {
		d.accounts.loaded = false // what is stored now is not known
		return fmt.Errorf("keep accounts of %d customers: %w", len(used), err)
	}
	return nil
}

// settles returns from when on an account allows what an empty one would.
func (d *dispatcher) settles(now time.Time, customerID string, a scheduling.Account) time.Time {
	d.mu.Lock()
	policy, _ := d.line.Policy(customerID) // it was just served
	d.mu.Unlock()
	return time.Unix(0, max(now.UnixNano(), a.Arrival, a.Window+int64(policy.Quota.Per)))
}

// loadAccounts reads what was kept, unless it is known.
func (d *dispatcher) loadAccounts(ctx context.Context) error {
	if d.accounts.loaded {
		return nil
	}
	used := map[string]scheduling.Account{}
	stored := map[string]storedAccount{}
	for rec, err := range d.engine.store.Scan(ctx, driver.ScanRequest{Kind: kindAccount, Part: d.insightID}) {
		if err != nil {
			return fmt.Errorf("load accounts: %w", err)
		}
		var account scheduling.Account
		if err := json.Unmarshal(rec.Body, &account); err != nil {
			return driver.Errorf(driver.Corrupt, "engine", "account of customer %q: %w", rec.Key.Sort, err)
		}
		used[rec.Key.Sort], stored[rec.Key.Sort] = account, storedAccount{rec.Version, rec.ExpireAt}
	}
	err := d.eachCustomer(ctx, slices.Sorted(maps.Keys(used)), func(now int64, id string, policy scheduling.Policy) {
		d.line.SetAccount(now, id, policy, used[id])
	})
	if err == nil {
		d.accounts = accounts{loaded: true, stored: stored}
	}
	return err
}
