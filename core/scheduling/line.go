package scheduling

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sort"
)

// ID is an agenda's id.
type ID [16]byte

// Item is an agenda that waits.
type Item struct {
	// Ready is when it may be served, and its place in line. An agenda that is ready only in the future is kept apart until then.
	Ready int64
	ID    ID
	// Priority orders it among the agendas of its customer, and under [Priority] among all: the higher goes first.
	Priority int8
}

// score is the place in line of an agenda that gains aging for each step of priority. It never changes while the agenda waits:
// an agenda ages by others becoming ready after it.
func (it Item) score(aging int64) int64 { return it.Ready - int64(it.Priority)*aging }

// key orders agendas by their scores, and those of the same by their ids.
func (it Item) key(aging int64) key {
	return key{it.score(aging), binary.BigEndian.Uint64(it.ID[:8]), binary.BigEndian.Uint64(it.ID[8:])}
}

// chunkSize is the most agendas in a chunk of a line. To insert one moves half of them on average.
const chunkSize = 512

// line holds agendas in order of score, then id, in chunks, so that any of them can come or go at the cost of a chunk.
type line struct {
	chunks [][]Item // none is empty
	n      int
	aging  int64
}

func (l *line) compare(a, b Item) int {
	if c := cmp.Compare(a.score(l.aging), b.score(l.aging)); c != 0 {
		return c
	}
	return bytes.Compare(a.ID[:], b.ID[:])
}

func (l *line) first() Item { return l.chunks[0][0] }

func (l *line) at(i int) Item {
	chunk := 0
	for ; i >= len(l.chunks[chunk]); chunk++ {
		i -= len(l.chunks[chunk])
	}
	return l.chunks[chunk][i]
}

// find returns where an item is, or belongs.
func (l *line) find(item Item) (chunk, index int, found bool) {
	chunk = sort.Search(len(l.chunks), func(i int) bool {
		return l.compare(l.chunks[i][len(l.chunks[i])-1], item) >= 0
	})
	if chunk == len(l.chunks) { // after all others
		if chunk == 0 {
			return 0, 0, false
		}
		return chunk - 1, len(l.chunks[chunk-1]), false
	}
	index, found = slices.BinarySearchFunc(l.chunks[chunk], item, l.compare)
	return chunk, index, found
}

// ahead returns how many agendas come before the item, which need not be in line.
func (l *line) ahead(item Item) int {
	chunk, index, _ := l.find(item)
	for _, c := range l.chunks[:chunk] {
		index += len(c)
	}
	return index
}

func (l *line) insert(item Item) bool {
	chunk, index, found := l.find(item)
	if found {
		return false
	}
	l.n++
	switch {
	case l.n == 1:
		l.chunks = append(l.chunks, []Item{item})
		return true
	case len(l.chunks[chunk]) < chunkSize:
	case chunk == len(l.chunks)-1 && index == chunkSize: // agendas mostly come in order
		l.chunks = append(l.chunks, append(make([]Item, 0, chunkSize), item))
		return true
	default:
		full := l.chunks[chunk]
		l.chunks = slices.Insert(l.chunks, chunk+1, slices.Clone(full[chunkSize/2:]))
		l.chunks[chunk] = full[:chunkSize/2]
		if index > chunkSize/2 {
			chunk, index = chunk+1, index-chunkSize/2
		}
	}
	l.chunks[chunk] = slices.Insert(l.chunks[chunk], index, item)
	return true
}

func (l *line) remove(item Item) bool {
	chunk, index, found := l.find(item)
	if !found {
		return false
	}
	l.n--
	l.chunks[chunk] = slices.Delete(l.chunks[chunk], index, index+1)
	next := chunk + 1
	switch n := len(l.chunks[chunk]); {
	case n == 0:
		l.chunks = slices.Delete(l.chunks, chunk, next)
	case next < len(l.chunks) && n+len(l.chunks[next]) <= chunkSize/2: // give space back
		l.chunks[chunk] = slices.Concat(l.chunks[chunk], l.chunks[next])
		l.chunks = slices.Delete(l.chunks, next, next+1)
	}
	return true
}

func (l *line) pop() Item {
	item := l.first()
	l.n--
	if l.chunks[0] = l.chunks[0][1:]; len(l.chunks[0]) == 0 {
		l.chunks[0] = nil
		l.chunks = l.chunks[1:]
	}
	return item
}

// merge inserts items in any order.
func (l *line) merge(items []Item) {
	if len(items) < l.n/16 {
		for _, item := range items {
			l.insert(item)
		}
		return
	}
	l.rebuild(items)
}

func (l *line) rebuild(items []Item) {
	all := slices.Concat(append(slices.Clip(l.chunks), items)...)
	if !slices.IsSortedFunc(all, l.compare) {
		slices.SortFunc(all, l.compare)
	}
	all = slices.CompactFunc(all, func(a, b Item) bool { return l.compare(a, b) == 0 })
	*l = line{n: len(all), aging: l.aging}
	for chunk := range slices.Chunk(all, chunkSize) {
		l.chunks = append(l.chunks, slices.Clone(chunk))
	}
}

// age changes what a step of priority is worth.
func (l *line) age(aging int64) {
	if l.aging != aging {
		l.aging = aging
		l.rebuild(nil)
	}
}
