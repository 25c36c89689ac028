package scheduling

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestALineIsTheSameAsASortedSlice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := line{aging: rapid.Int64Range(0, 50).Draw(t, "aging")}
		var want []Item
		// Long runs from a generator fill and split chunks, which drawn commands alone would not reach.
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		draw := func() Item {
			var it Item
			it.Ready = random.Int64N(3000)
			it.Priority = int8(random.IntN(5) - 2)
			binary.BigEndian.PutUint64(it.ID[:], random.Uint64N(3))
			it.ID[15], it.ID[14], it.ID[13] = byte(it.Ready), byte(it.Ready>>8), byte(it.Priority)
			return it
		}
		insert := func(it Item) {
			at, found := slices.BinarySearchFunc(want, it, l.compare)
			if !found {
				want = slices.Insert(want, at, it)
			}
			if l.insert(it) == found {
				t.Fatalf("insert of %v that was there: %t", it, found)
			}
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			n := rapid.IntRange(1, 1500).Draw(t, "n")
			switch rapid.SampledFrom([]string{"insert", "append", "merge", "remove", "pop", "age"}).Draw(t, "command") {
			case "insert":
				for range n {
					insert(draw())
				}
			case "append":
				for i := range n {
					insert(item(int64(4000 + len(want) + i)))
				}
			case "merge":
				items := make([]Item, n/2)
				for i := range items {
					items[i] = draw()
				}
				want = append(want, items...)
				slices.SortFunc(want, l.compare)
				want = slices.CompactFunc(want, func(a, b Item) bool { return l.compare(a, b) == 0 })
				l.merge(items)
			case "remove":
				for range n {
					it := draw()
					if len(want) > 0 && random.IntN(4) > 0 {
						it = want[random.IntN(len(want))]
					}
					at, found := slices.BinarySearchFunc(want, it, l.compare)
					if got := l.ahead(it); got != at {
						t.Fatalf("%d are ahead of %v, want %d", got, it, at)
					}
					if found {
						want = slices.Delete(want, at, at+1)
					}
					if l.remove(it) != found {
						t.Fatalf("remove of %v that was there: %t", it, found)
					}
				}
			case "pop":
				for range min(n, len(want)) {
					if got := l.pop(); got != want[0] {
						t.Fatalf("popped %v, want %v", got, want[0])
					}
					want = want[1:]
				}
			case "age":
				l.age(int64(n))
				slices.SortFunc(want, l.compare)
			}
		}
		if got := slices.Concat(l.chunks...); l.n != len(want) || len(want) > 0 && !slices.Equal(got, want) {
			t.Fatalf("%d agendas, want %d: %s", l.n, len(want), cmp.Diff(want, got))
		}
		for i, it := range want[:min(len(want), 700)] {
			if l.at(i) != it {
				t.Fatalf("at(%d) is %v, want %v", i, l.at(i), it)
			}
		}
		for _, chunk := range l.chunks {
			if len(chunk) == 0 || len(chunk) > chunkSize {
				t.Fatalf("a chunk of %d agendas", len(chunk))
			}
		}
	})
}
