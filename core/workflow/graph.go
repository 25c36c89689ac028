package workflow

// Graph says which operations wait for which. It does not change and is safe for concurrent use. It has no cycles.
type Graph struct {
	names      []string
	index      map[string]int
	dependsOn  [][]int
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

// Frontier follows one run through a graph: it says what may start as operations finish. A whole run costs a step for each
// operation and each dependency. It is not safe for concurrent use.
type Frontier struct {
	graph *Graph
	done  []bool
	waits []int // how many dependencies are not done
}

// Frontier starts to follow a run in which some operations are done already, and returns those that may start, in the order
// of the agenda.
func (g *Graph) Frontier(done func(name string) bool) (f *Frontier, ready []string) {
	f = &Frontier{graph: g, done: make([]bool, len(g.names)), waits: make([]int, len(g.names))}
	for i, name := range g.names {
		f.done[i] = done(name)
	}
	for i, dependencies := range g.dependsOn {
		for _, dependency := range dependencies {
			if !f.done[dependency] {
				f.waits[i]++
			}
		}
		if f.waits[i] == 0 && !f.done[i] {
			ready = append(ready, g.names[i])
		}
	}
	return f, ready
}

// Done notes that an operation is done and returns those that may start now because of it. Each operation is returned once
// in a run. Noting it again, or a name that is not in the graph, changes nothing.
func (f *Frontier) Done(name string) (ready []string) {
	i, ok := f.graph.index[name]
	if !ok || f.done[i] {
		return nil
	}
	f.done[i] = true
	for _, dependent := range f.graph.dependents[i] {
		if f.waits[dependent]--; f.waits[dependent] == 0 && !f.done[dependent] {
			ready = append(ready, f.graph.names[dependent])
		}
	}
	return ready
}
