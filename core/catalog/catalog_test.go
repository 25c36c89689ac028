package catalog

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest/memdriver"
)

func open(t *testing.T, base *memdriver.Store, now func() time.Time) *Catalog {
	t.Helper()
	st, err := store.Open(t.Context(), base.Open(), driver.Schema{Kinds: Schema()})
	if err != nil {
		t.Fatal(err)
	}
	return New(st, Options{Now: now})
}

func newCatalog(t *testing.T) *Catalog {
	t.Helper()
	return open(t, memdriver.NewStore(memdriver.StoreOptions{}), nil)
}

func pool(id string) model.ResourcePool {
	return model.ResourcePool{Meta: model.Meta{ID: id, CustomerID: "owner", Title: "pool"}}
}

func customer(id string) model.Customer {
	return model.Customer{Meta: model.Meta{ID: id, Title: "customer"}}
}

func insight(id string) model.Insight {
	return model.Insight{Meta: model.Meta{ID: id, CustomerID: "owner", Title: "insight"}, ResourcePoolID: "pool"}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func wantKind(t *testing.T, err error, kind model.ErrorKind) {
	t.Helper()
	if err == nil || model.KindOf(err) != kind {
		t.Errorf("error is %v, want one of kind %s", err, kind)
	}
}

func TestCreateMakesAnIDAndFillsInDefaults(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	must[Entry[model.ResourcePool]](t)(c.ResourcePools.Create(t.Context(), pool("pool")))
	in := insight("")
	got := must[Entry[model.Insight]](t)(c.Insights.Create(t.Context(), in)).Object
	if got.ID == "" || got.QueueName != got.ID || *got.QueueSize != model.DefaultQueueSize || got.SchedulingAlgorithm != model.WeightedFair {
		t.Errorf("insight %+v", got)
	}
	if got.AddedTime.IsZero() || got.UpdatedTime.IsZero() {
		t.Error("times are not set")
	}
	_, err := c.Insights.Create(t.Context(), got)
	wantKind(t, err, model.Conflict)
}

func TestReplaceKeepsWhenAnObjectWasAddedAndHonoursItsVersion(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	first := must[Entry[model.Customer]](t)(c.Customers.Create(t.Context(), customer("a")))
	change := customer("a")
	change.Title = "changed"
	second := must[Entry[model.Customer]](t)(c.Customers.Replace(t.Context(), change, first.Version))
	if !second.Object.AddedTime.Equal(first.Object.AddedTime) || second.Object.Title != "changed" {
		t.Errorf("replaced by %+v", second.Object)
	}
	_, err := c.Customers.Replace(t.Context(), change, first.Version)
	wantKind(t, err, model.Stale)
	wantKind(t, c.Customers.Delete(t.Context(), "a", first.Version), model.Stale)
	_, err = c.Customers.Replace(t.Context(), customer("nobody"), "")
	wantKind(t, err, model.NotFound)
	if err := c.Customers.Delete(t.Context(), "a", second.Version); err != nil {
		t.Error(err)
	}
	_, err = c.Customers.Get(t.Context(), "a")
	wantKind(t, err, model.NotFound)
}

func TestConcurrentReplacementsAllTakeEffectOneAfterTheOther(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	must[Entry[model.Customer]](t)(c.Customers.Create(t.Context(), customer("a")))
	var wg sync.WaitGroup
	versions := make([]driver.Version, 20)
	for i := range versions {
		wg.Go(func() {
			entry, err := c.Customers.Replace(t.Context(), customer("a"), "")
			if err != nil {
				t.Error(err)
			}
			versions[i] = entry.Version
		})
	}
	wg.Wait()
	seen := map[driver.Version]bool{}
	for _, v := range versions {
		seen[v] = true
	}
	if len(seen) != len(versions) {
		t.Errorf("%d versions from %d replacements", len(seen), len(versions))
	}
}

func TestWhatIsNotValidIsRefusedWithThePathOfTheField(t *testing.T) {
	t.Parallel()
	c := newCatalog(t)
	must[Entry[model.ResourcePool]](t)(c.ResourcePools.Create(t.Context(), pool("pool")))
	must[Entry[model.Insight]](t)(c.Insights.Create(t.Context(), insight("taken")))
	must[Entry[model.Customer]](t)(c.Customers.Create(t.Context(), customer("Acme")))
	homeless, shared := insight("homeless"), insight("shared")
	homeless.ResourcePoolID = "nowhere"
	shared.QueueName = "taken"
	for name, test := range map[string]struct {
		create func() error
		path   string
	}{
		"a pool that does not exist":         {func() error { _, err := c.Insights.Create(t.Context(), homeless); return err }, "resourcePoolId"},
		"the queue of another insight":       {func() error { _, err := c.Insights.Create(t.Context(), shared); return err }, "queueName"},
		"an id that differs in case":         {func() error { _, err := c.Customers.Create(t.Context(), customer("acme")); return err }, "id"},
		"a customer without a title":         {func() error { _, err := c.Customers.Create(t.Context(), model.Customer{}); return err }, "title"},
		"an id that begins with white space": {func() error { _, err := c.Customers.Create(t.Context(), customer(" a")); return err }, "id"},
	} {
		err := test.create()
		wantKind(t, err, model.Invalid)
		var e *model.Error
		if errors.As(err, &e) && !strings.Contains(fmt.Sprint(e.Issues), test.path) {
			t.Errorf("%s: issues %v, want one at %s", name, e.Issues, test.path)
		}
	}
}

func TestListPagesInOrderOfIDs(t *testing.T) {
	t.Parallel()
	c := open(t, memdriver.NewStore(memdriver.StoreOptions{Capabilities: memdriver.LeastStore(), ShortPages: true}), nil)
	for i := range 25 {
		must[Entry[model.Customer]](t)(c.Customers.Create(t.Context(), customer(fmt.Sprintf("c%02d", (i*7)%25))))
	}
	var got []string
	for after := ""; ; {
		page, next, err := c.Customers.List(t.Context(), after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			got = append(got, e.Object.ID)
		}
		if after = next; next == "" {
			break
		}
	}
	if len(got) != 25 || got[0] != "c00" || got[24] != "c24" {
		t.Errorf("listed %v", got)
	}
	all := must[[]Entry[model.Customer]](t)(c.Customers.All(t.Context()))
	if len(all) != 25 {
		t.Errorf("%d in all", len(all))
	}
}

func TestPrefetchReadsWhatMemoryLacksInOneCall(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	base := memdriver.NewStore(memdriver.StoreOptions{})
	faulty := memdriver.NewFaultyStore(base.Open(), nil)
	st := must[*store.Store](t)(store.Open(t.Context(), faulty, driver.Schema{Kinds: Schema()}))
	c := New(st, Options{Now: func() time.Time { return now }})
	for _, id := range []string{"a", "b", "c"} {
		must[Entry[model.Customer]](t)(c.Customers.Create(t.Context(), customer(id)))
	}
	must[Entry[model.Customer]](t)(c.Customers.Get(t.Context(), "a"))
	reads := func(want memdriver.Count, ids ...string) {
		t.Helper()
		faulty.ResetCounts()
		if err := c.Customers.Prefetch(t.Context(), ids...); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "b", "c"} {
			must[Entry[model.Customer]](t)(c.Customers.Get(t.Context(), id))
		}
		if got := faulty.Counts()[memdriver.Get]; got != want {
			t.Errorf("reading ahead %v and then all takes %+v, want %+v", ids, got, want)
		}
	}
	reads(memdriver.Count{Calls: 1, Items: 3}, "a", "b", "c", "b", "none")
	reads(memdriver.Count{}, "a", "b")
	now = now.Add(3 * time.Second)
	reads(memdriver.Count{Calls: 1, Items: 3}, "a", "b", "c")
	_, err := c.Customers.Get(t.Context(), "none")
	wantKind(t, err, model.NotFound)
}

func TestChangesShowAtOnceHereAndSoonElsewhere(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	base := memdriver.NewStore(memdriver.StoreOptions{})
	here, there := open(t, base, func() time.Time { return now }), open(t, base, func() time.Time { return now })
	must[Entry[model.Customer]](t)(here.Customers.Create(t.Context(), customer("a")))
	must[Entry[model.Customer]](t)(there.Customers.Get(t.Context(), "a"))
	must[[]Entry[model.Customer]](t)(there.Customers.All(t.Context()))

	change := customer("a")
	change.Title = "changed"
	must[Entry[model.Customer]](t)(here.Customers.Replace(t.Context(), change, ""))
	titles := func(c *Catalog) [2]string {
		return [2]string{
			must[Entry[model.Customer]](t)(c.Customers.Get(t.Context(), "a")).Object.Title,
			must[[]Entry[model.Customer]](t)(c.Customers.All(t.Context()))[0].Object.Title,
		}
	}
	if got := titles(here); got != [2]string{"changed", "changed"} {
		t.Errorf("where it was changed: %v", got)
	}
	if got := titles(there); got != [2]string{"customer", "customer"} {
		t.Errorf("elsewhere it is served from memory: %v", got)
	}
	now = now.Add(3 * time.Second)
	if got := titles(there); got != [2]string{"changed", "changed"} {
		t.Errorf("elsewhere, after the cache has expired: %v", got)
	}
}
