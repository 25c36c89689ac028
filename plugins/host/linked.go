package host

import (
	"context"
	"errors"

	"github.com/pop-platform/pop/plugins/driver"
)

// all returns the drivers that are open.
func all(d driver.Drivers) (open []interface{ Close(context.Context) error }) {
	if d.Store != nil {
		open = append(open, d.Store)
	}
	if d.Queue != nil {
		open = append(open, d.Queue)
	}
	if d.Authorizer != nil {
		open = append(open, d.Authorizer)
	}
	return open
}

func closeAll(ctx context.Context, d driver.Drivers) error {
	var errs []error
	for _, one := range all(d) {
		errs = append(errs, one.Close(ctx))
	}
	return errors.Join(errs...)
}

func checkLinked(ctx context.Context, d driver.Drivers) error {
	for _, one := range all(d) {
		if checker, ok := one.(driver.HealthChecker); ok {
			if err := checker.CheckHealth(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
