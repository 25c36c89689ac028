package objects

import (
	"testing"
	"time"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/strict"
)

func TestAnObjectIsTheSameWhateverTheServerFilledIn(t *testing.T) {
	t.Parallel()
	decode := func(doc string) Object {
		parsed, err := strict.Parse([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		o, issues := AgendaTemplate.Decode(parsed.(map[string]any))
		if len(issues) > 0 {
			t.Fatal(issues)
		}
		return o
	}
	const doc = `{id: t, customerId: c, staticParameters: {a: {j: 1, k: 2}}, agenda: {operations: [{name: a, type: b, payload: {p: "@<pop.payload>"}}]}}`
	want := decode(doc)
	stored := want
	v := want.Value.(model.AgendaTemplate)
	v.AddedTime, v.UpdatedTime = time.Now(), time.Now()
	v.StaticParameters = model.Params{"a": []byte(`{"k": 2, "j": 1}`)}
	stored.Value = v
	if !Same(want, stored) {
		t.Error("times and the order of keys made a difference")
	}
	v.Title = "changed"
	stored.Value = v
	if Same(want, stored) {
		t.Error("another title made no difference")
	}
}

func TestAManifestWithoutAnIDIsRefused(t *testing.T) {
	t.Parallel()
	_, issues := Customer.Decode(map[string]any{"title": "t"})
	if len(issues) == 0 || issues[0].Path != "id" {
		t.Errorf("got %v", issues)
	}
}
