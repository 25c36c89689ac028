package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pop-platform/pop/plugins/driver"
)

// Plugin is a [driver.Provider] whose configuration is a C: a struct with json tags. A field without omitempty or omitzero is
// required, and a jsonschema tag describes it. Services whose function is nil are not served.
type Plugin[C any] struct {
	Name    string // lower case letters, digits and dashes
	Version string

	// Each opens the driver of a service. A configuration that it cannot take is a [driver.Invalid] error.
	Store      func(ctx context.Context, cfg C, log *slog.Logger) (driver.Store, error)
	Queue      func(ctx context.Context, cfg C, log *slog.Logger) (driver.Queue, error)
	Authorizer func(ctx context.Context, cfg C, log *slog.Logger) (driver.Authorizer, error)
}

// Secret is a part of a configuration that is never shown. Its schema says so.
type Secret string

const redacted = "[redacted]"

// String hides the secret. Convert it to a string to use it.
func (Secret) String() string { return redacted }

// GoString hides the secret.
func (Secret) GoString() string { return redacted }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// Describe implements [driver.Provider].
func (p Plugin[C]) Describe() driver.Description {
	d := driver.Description{Name: p.Name, Version: p.Version, Schema: p.schema()}
	if p.Store != nil {
		d.Services = append(d.Services, driver.StoreService)
	}
	if p.Queue != nil {
		d.Services = append(d.Services, driver.QueueService)
	}
	if p.Authorizer != nil {
		d.Services = append(d.Services, driver.AuthorizerService)
	}
	return d
}

func (p Plugin[C]) schema() []byte {
	schema, err := jsonschema.For[C](&jsonschema.ForOptions{TypeSchemas: map[reflect.Type]*jsonschema.Schema{
		reflect.TypeFor[Secret](): {Type: "string", WriteOnly: true},
	}})
	if err == nil && schema.Type != "object" {
		err = errors.New("it is no struct")
	}
	var text []byte
	if err == nil {
		text, err = json.Marshal(schema)
	}
	if err != nil {
		panic(fmt.Sprintf("sdk: the configuration of plugin %s has no schema: %v", p.Name, err)) //nolint:forbidigo // a mistake that the first run shows
	}
	return text
}

// Open implements [driver.Provider].
func (p Plugin[C]) Open(ctx context.Context, req driver.OpenRequest) (_ driver.Drivers, err error) {
	var cfg C
	dec := json.NewDecoder(bytes.NewReader(req.Config))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&cfg); err != nil {
		return driver.Drivers{}, driver.Errorf(driver.Invalid, p.Name+": open", "configuration: %v", err)
	}
	var open driver.Drivers
	defer func() {
		if err == nil {
			return
		}
		ctx := context.WithoutCancel(ctx)
		if open.Store != nil {
			err = errors.Join(err, open.Store.Close(ctx))
		}
		if open.Queue != nil {
			err = errors.Join(err, open.Queue.Close(ctx))
		}
	}()
	for _, service := range req.Services {
		switch {
		case service == driver.StoreService && p.Store != nil:
			var store driver.Store
			if store, err = p.Store(ctx, cfg, req.Log); err == nil { // else it may be a pointer to nothing
				open.Store = store
			}
		case service == driver.QueueService && p.Queue != nil:
			var queue driver.Queue
			if queue, err = p.Queue(ctx, cfg, req.Log); err == nil {
				open.Queue = queue
			}
		case service == driver.AuthorizerService && p.Authorizer != nil:
			open.Authorizer, err = p.Authorizer(ctx, cfg, req.Log)
		default:
			err = driver.Errorf(driver.Unsupported, p.Name+": open", "plugin %s serves no %q", p.Name, service)
		}
		if err != nil {
			return driver.Drivers{}, err
		}
	}
	return open, nil
}
