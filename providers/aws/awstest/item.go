package awstest

import (
	"encoding/json"
	"strconv"
)

// attr is the value of an attribute: a text, a number or bytes.
type attr struct {
	S *string `json:"S,omitempty"`
	N *string `json:"N,omitempty"`
	B []byte  `json:"B,omitempty"`
}

// MarshalJSON keeps empty bytes, which are a value.
func (a attr) MarshalJSON() ([]byte, error) {
	switch {
	case a.S != nil:
		return json.Marshal(map[string]string{"S": *a.S})
	case a.N != nil:
		return json.Marshal(map[string]string{"N": *a.N})
	}
	return json.Marshal(map[string][]byte{"B": append([]byte{}, a.B...)})
}

func (a attr) size() int {
	switch {
	case a.S != nil:
		return len(*a.S)
	case a.N != nil:
		return (len(*a.N)+1)/2 + 1
	}
	return len(a.B)
}

type item map[string]attr

func (it item) size() (n int) {
	for name, a := range it {
		n += len(name) + a.size()
	}
	return n
}

func (it item) text(name string) string {
	if a, ok := it[name]; ok && a.S != nil {
		return *a.S
	}
	return ""
}

// only returns an item with some of the attributes.
func (it item) only(names ...string) item {
	out := item{}
	for _, name := range names {
		if a, ok := it[name]; ok {
			out[name] = a
		}
	}
	return out
}

// compare orders values of one type; the second result is false if they have two.
func compare(a, b attr) (int, bool) {
	switch {
	case a.S != nil && b.S != nil:
		return order(*a.S, *b.S), true
	case a.N != nil && b.N != nil:
		x, errX := strconv.ParseFloat(*a.N, 64)
		y, errY := strconv.ParseFloat(*b.N, 64)
		return order(x, y), errX == nil && errY == nil
	}
	return 0, false
}

func order[T string | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
