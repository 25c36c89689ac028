package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pop-platform/pop/core/scheduling"
	"github.com/pop-platform/pop/plugins/driver"
)

// keep stores what customers have used of their rates and quotas.
func (d *dispatcher) keep(ctx context.Context, accounts map[string]scheduling.Account) error {
	if len(accounts) == 0 {
		return nil
	}
	groups := make([]driver.Group, 0, len(accounts))
	for customerID, account := range accounts {
		body, err := json.Marshal(account)
		if err != nil {
			return fmt.Errorf("encode account of customer %q: %w", customerID, err)
		}
		key := driver.Key{Kind: kindAccount, Part: d.insightID, Sort: customerID}
		groups = append(groups, driver.Group{{Type: driver.Put, Record: driver.Record{Key: key, Body: body}}})
	}
	if err := firstError(d.engine.store.Write(ctx, groups...)); err != nil {
		return fmt.Errorf("keep accounts of %d customers: %w", len(accounts), err)
	}
	return nil
}

// loadAccounts reads what was kept. Customers that this process has served since know better.
func (d *dispatcher) loadAccounts(ctx context.Context) error {
	d.mu.Lock()
	loaded := d.accountsLoaded
	d.mu.Unlock()
	if loaded {
		return nil
	}
	for rec, err := range d.engine.store.Scan(ctx, driver.ScanRequest{Kind: kindAccount, Part: d.insightID}) {
		if err != nil {
			return fmt.Errorf("load accounts: %w", err)
		}
		var account scheduling.Account
		if err := json.Unmarshal(rec.Body, &account); err != nil {
			return driver.Errorf(driver.Corrupt, "engine", "account of customer %q: %w", rec.Key.Sort, err)
		}
		d.withPolicy(rec.Key.Sort, func(now int64, policy scheduling.Policy) { d.line.SetAccount(now, rec.Key.Sort, policy, account) })
	}
	d.mu.Lock()
	d.accountsLoaded = true
	d.mu.Unlock()
	return nil
}
