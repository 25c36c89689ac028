package host

import (
	"context"

	"github.com/pop-platform/pop/plugins/driver"
)

// Describe launches a plugin, asks what it is and ends it again. It does not look at the entry's configuration.
func Describe(ctx context.Context, e Entry, o Options) (driver.Description, error) {
	o = o.withDefaults()
	p := newPlugin(e, o)
	ctx, cancel := context.WithTimeout(ctx, o.StartTimeout)
	defer cancel()
	inst, err := p.identify(ctx, p.launcher(e), e)
	if err != nil {
		return driver.Description{}, err
	}
	defer inst.end()
	return inst.description, checkDescription(e, inst.description)
}

// CheckConfig returns a [*ConfigError] if the entry's configuration is not one that a plugin with the description takes.
func CheckConfig(e Entry, d driver.Description) error { return checkConfig(e, d.Schema) }
