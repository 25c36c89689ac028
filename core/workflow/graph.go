package workflow

// Graph says which operations wait for which. It has no cycles. It is safe for concurrent use as long as it is not extended.
type Graph struct {
	names      []string
	index      map[string]int
	folded     map[string]int // index by lower-cased name
	when       []When
	dependsOn  [][]int
	given      []int // how many of the first of those were given, rather than referred to
	dependents [][]int
}

// Has reports whether there is an operation of that name.
func (g *Graph) Has(name string) bool {
	_, ok := g.index[name]
	return ok
}

// DependsOn returns the operations that the named one waits for, each once: first those that were given as dependencies,
// then those that its payload refers to.
func (g *Graph) DependsOn(name string) []string {
	i, ok := g.index[name]
	if !ok {
		return nil
	}
	return g.namesOf(g.dependsOn[i])
}

// Closure returns the named operations and all that wait for them, directly or through others, in the order of the
// agenda: those that must run again if the named ones do. Names that are not in the graph are left out.
func (g *Graph) Closure(names []string) []string {
	in := make([]bool, len(g.names))
	var reached []int
	reach := func(i int) {
		if !in[i] {
			in[i] = true
			reached = append(reached, i)
		}
	}
	for _, name := range names {
		if i, ok := g.index[name]; ok {
			reach(i)
		}
	}
	for next := 0; next < len(reached); next++ {
		for _, dependent := range g.dependents[reached[next]] {
			reach(dependent)
		}
	}
	closure := make([]string, 0, len(reached))
	for i, name := range g.names {
		if in[i] {
			closure = append(closure, name)
		}
	}
	return closure
}

func (g *Graph) namesOf(indexes []int) []string {
	names := make([]string, len(indexes))
	for i, index := range indexes {
		names[i] = g.names[index]
	}
	return names
}
