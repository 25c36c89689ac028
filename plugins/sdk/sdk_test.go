package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

func TestProcessEndsWhenItsParentIsAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var parent, ended atomic.Int64
		parent.Store(100)
		go watchHost(func() int { return int(parent.Load()) }, slog.New(slog.DiscardHandler), func() { ended.Add(1) })
		<-time.After(time.Hour)
		if ended.Load() != 0 {
			t.Error("it ended though its host was there")
		}
		parent.Store(1)
		<-time.After(2 * watchInterval)
		if ended.Load() != 1 {
			t.Error("it did not end with its host")
		}
	})
}

func TestLogLinesAreThoseOfGoPlugin(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	level := &slog.LevelVar{}
	level.Set(slog.LevelWarn)
	log := newLogger(&out, level)
	log.Info("not this")
	log.With("table", "runs").Warn("nearly full", "percent", 97, slog.Group("level", "level", "x"))
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%s: %v", out.String(), err)
	}
	at, _ := got["@timestamp"].(string)
	if _, err := time.Parse(timeLayout, at); err != nil {
		t.Error(err)
	}
	if got["@level"] != "warn" || got["@message"] != "nearly full" || got["table"] != "runs" || got["percent"] != 97.0 {
		t.Errorf("logged %s", out.String())
	}
}

func TestSecretIsNotShown(t *testing.T) {
	t.Parallel()
	cfg := struct{ Password Secret }{"open sesame"}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("configured", "password", cfg.Password)
	text := fmt.Sprintf("%v %+v %#v %s %q %s", cfg, cfg, cfg, cfg.Password, cfg.Password, out.String())
	if strings.Contains(text, "sesame") {
		t.Errorf("shown in %s", text)
	}
}

// closing remembers that a store was closed.
type closing struct {
	driver.Store
	closed *bool
}

func (c closing) Close(ctx context.Context) error {
	*c.closed = true
	return c.Store.Close(ctx)
}

func TestNothingStaysOpenWhenADriverCannotBeOpened(t *testing.T) {
	t.Parallel()
	var closed bool
	broken := errors.New("no queue today")
	p := Plugin[struct{}]{
		Name: "half", Version: "1",
		Store: func(context.Context, struct{}, *slog.Logger) (driver.Store, error) {
			return closing{memdriver.NewStore(memdriver.StoreOptions{}), &closed}, nil
		},
		Queue: func(context.Context, struct{}, *slog.Logger) (driver.Queue, error) { return nil, broken },
	}
	services := []driver.Service{driver.StoreService, driver.QueueService}
	if _, err := p.Open(t.Context(), driver.OpenRequest{Services: services, Config: []byte("{}")}); !errors.Is(err, broken) || !closed {
		t.Errorf("%v, store closed: %t", err, closed)
	}
	for config, want := range map[string]driver.Code{`{"a": 1}`: driver.Invalid, `[`: driver.Invalid} {
		if _, err := p.Open(t.Context(), driver.OpenRequest{Config: []byte(config)}); driver.CodeOf(err) != want {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
	if _, err := p.Open(t.Context(), driver.OpenRequest{Services: []driver.Service{driver.AuthorizerService}, Config: []byte("{}")}); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("%v, want Unsupported", err)
	}
}
