package scheduling

import "slices"

// key orders what is in a heap.
type key struct {
	rank   int64
	hi, lo uint64
}

func (k key) before(o key) bool {
	if k.rank != o.rank {
		return k.rank < o.rank
	}
	if k.hi != o.hi {
		return k.hi < o.hi
	}
	return k.lo < o.lo
}

// heap is a binary heap of values by their keys, which it holds itself so that to compare needs no look at the values. It can tell
// them where they are.
type heap[T any] struct {
	slots []slot[T]
	moved func(value T, to int) // nil if they need not know; to is -1 once out of the heap
}

type slot[T any] struct {
	key   key
	value T
}

func (h *heap[T]) len() int { return len(h.slots) }

func (h *heap[T]) push(k key, value T) {
	h.slots = append(h.slots, slot[T]{k, value})
	h.up(len(h.slots) - 1)
}

// rekey moves the value at i, whose key has changed, to where it belongs.
func (h *heap[T]) rekey(i int, k key) {
	h.slots[i].key = k
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[T]) remove(i int) {
	value, last := h.slots[i].value, len(h.slots)-1
	h.slots[i] = h.slots[last]
	clear(h.slots[last:])
	h.slots = h.slots[:last]
	if i < last && !h.down(i) {
		h.up(i)
	}
	h.tell(value, -1)
}

// order makes a heap of slots in any order.
func (h *heap[T]) order() {
	for i := range slices.Backward(h.slots) {
		h.down(i)
	}
}

func (h *heap[T]) up(i int) {
	x := h.slots[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !x.key.before(h.slots[parent].key) {
			break
		}
		h.set(i, h.slots[parent])
		i = parent
	}
	h.set(i, x)
}

// down reports whether the value moved.
func (h *heap[T]) down(i int) bool {
	x, start := h.slots[i], i
	for {
		child := 2*i + 1
		if child >= len(h.slots) {
			break
		}
		if right := child + 1; right < len(h.slots) && h.slots[right].key.before(h.slots[child].key) {
			child = right
		}
		if !h.slots[child].key.before(x.key) {
			break
		}
		h.set(i, h.slots[child])
		i = child
	}
	h.set(i, x)
	return i > start
}

func (h *heap[T]) set(i int, x slot[T]) {
	h.slots[i] = x
	h.tell(x.value, i)
}

func (h *heap[T]) tell(value T, to int) {
	if h.moved != nil {
		h.moved(value, to)
	}
}
