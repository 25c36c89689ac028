package awstest

import (
	"time"

	"github.com/tidwall/btree"
)

// Limits of DynamoDB.
const (
	maxItemBytes  = 400 << 10
	maxPageBytes  = 1 << 20
	maxPartBytes  = 2048
	maxSortBytes  = 1024
	maxBatchBytes = 16 << 20
	maxTxBytes    = 4 << 20
	maxTxItems    = 100
	maxBatchGet   = 100
	maxBatchWrite = 25
)

// keys are the names of a partition key and a sort key.
type keys struct{ part, sort string }

func (k keys) of(it item) (part, sort string) { return it.text(k.part), it.text(k.sort) }

// table is a table with its indexes.
type table struct {
	name    string
	keys    keys
	items   parts
	indexes map[string]*index
	defined map[string]bool // attributes
	ttl     string
}

// index is a global secondary index that projects keys.
type index struct {
	keys    keys
	entries parts
	pending []change
}

// change is what an index is about to show.
type change struct {
	due      time.Time
	old, new item
}

// parts are items by partition key, and in order of their sort key.
type parts map[string]*btree.Map[string, item]

func (p parts) set(part, sort string, it item) {
	m := p[part]
	if m == nil {
		m = &btree.Map[string, item]{}
		p[part] = m
	}
	m.Set(sort, it)
}

func (p parts) delete(part, sort string) {
	if m := p[part]; m != nil {
		if m.Delete(sort); m.Len() == 0 {
			delete(p, part)
		}
	}
}

func (p parts) get(part, sort string) (item, bool) {
	if m := p[part]; m != nil {
		return m.Get(sort)
	}
	return nil, false
}

// entry returns how an index shows an item; nil if it does not.
func (t *table) entry(x *index, it item) item {
	if it == nil {
		return nil
	}
	_, hasPart := it[x.keys.part]
	_, hasSort := it[x.keys.sort]
	if !hasPart || !hasSort {
		return nil
	}
	return it.only(t.keys.part, t.keys.sort, x.keys.part, x.keys.sort)
}

// entrySort orders the entries of an index: those with one sort key by the key of the table.
func (t *table) entrySort(x *index, entry item) string {
	return entry.text(x.keys.sort) + "\x00" + entry.text(t.keys.part) + "\x00" + entry.text(t.keys.sort)
}

func same(a, b item) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if a.text(name) != b.text(name) {
			return false
		}
	}
	return true
}

// catchUp makes an index show what is due.
func (t *table) catchUp(x *index, now time.Time) {
	for len(x.pending) > 0 && !x.pending[0].due.After(now) {
		c := x.pending[0]
		x.pending = x.pending[1:]
		if c.old != nil {
			x.entries.delete(c.old.text(x.keys.part), t.entrySort(x, c.old))
		}
		if c.new != nil {
			x.entries.set(c.new.text(x.keys.part), t.entrySort(x, c.new), c.new)
		}
	}
}

// write replaces an item; a nil one is deleted. It returns what that costs.
func (t *table) write(part, sort string, it item, lag time.Duration) capacity {
	old, _ := t.items.get(part, sort)
	if it == nil {
		t.items.delete(part, sort)
	} else {
		t.items.set(part, sort, it)
	}
	cost := capacity{table: writeUnits(max(old.size(), it.size())), indexes: map[string]float64{}}
	now := time.Now()
	for name, x := range t.indexes {
		before, after := t.entry(x, old), t.entry(x, it)
		if same(before, after) {
			continue
		}
		for _, e := range []item{before, after} {
			if e != nil {
				cost.indexes[name] += writeUnits(e.size())
			}
		}
		x.pending = append(x.pending, change{now.Add(lag), before, after})
	}
	return cost
}

// checkItem returns an error if DynamoDB would not store an item.
func (t *table) checkItem(it item) error {
	if n := it.size(); n > maxItemBytes {
		return invalid("Item size has exceeded the maximum allowed size")
	}
	if err := t.checkKey(it, t.keys); err != nil {
		return err
	}
	for _, x := range t.indexes {
		for _, name := range []string{x.keys.part, x.keys.sort} {
			if a, ok := it[name]; ok && (a.S == nil || *a.S == "") {
				return invalid("One or more parameter values are not valid. A value specified for a secondary index key is not supported: %s", name)
			}
		}
		if len(it.text(x.keys.part)) > maxPartBytes || len(it.text(x.keys.sort)) > maxSortBytes {
			return invalid("One or more parameter values were invalid: Size of an index key has exceeded the maximum size limit")
		}
	}
	return nil
}

func (t *table) checkKey(key item, names keys) error {
	part, sort := names.of(key)
	switch {
	case part == "" || sort == "":
		return invalid("One or more parameter values are not valid: an empty or missing key: %s, %s", names.part, names.sort)
	case len(part) > maxPartBytes:
		return invalid("One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 bytes")
	case len(sort) > maxSortBytes:
		return invalid("One or more parameter values were invalid: Aggregated size of all range keys has exceeded the size limit of 1024 bytes")
	}
	return nil
}
