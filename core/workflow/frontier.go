package workflow

// Frontier follows one run through a graph: it says what may start as operations end. A whole run costs a step for each
// operation and each dependency. It is not safe for concurrent use.
//
// A run has two parts. In the first, operations that are run on success start once all that they depend on has succeeded. When
// nothing of it runs any more, [Frontier.Close] begins the second, in which the others are run, each once all that it
// depends on has ended.
type Frontier struct {
	graph *Graph
	nodes []node
	close course
}

type node struct {
	state nodeState
	waits int // how many dependencies have not succeeded; when the run closes, how many have not ended
}

type nodeState uint8

const (
	pending nodeState = iota
	started
	succeeded
	failed
	skipped
)

// course is how a run ends.
type course uint8

const (
	open course = iota
	closingWell
	closingBadly
)

// Frontier starts to follow a run in which some operations have succeeded already, and returns those that may start, in the
// order of the agenda.
func (g *Graph) Frontier(done func(name string) bool) (f *Frontier, ready []string) {
	f = &Frontier{graph: g, nodes: make([]node, len(g.names))}
	for i, name := range g.names {
		if done(name) {
			f.nodes[i].state = succeeded
		}
	}
	return f, f.enter(0)
}

// Extend takes in the operations that the graph was extended by and returns those that may start.
func (f *Frontier) Extend() (ready []string) {
	from := len(f.nodes)
	f.nodes = append(f.nodes, make([]node, len(f.graph.names)-from)...)
	return f.enter(from)
}

// enter counts what the operations from an index on wait for.
func (f *Frontier) enter(from int) (ready []string) {
	for i := from; i < len(f.nodes); i++ {
		n := &f.nodes[i]
		for _, dependency := range f.graph.dependsOn[i] {
			if f.nodes[dependency].state != succeeded {
				n.waits++
			}
		}
		if n.state == pending && n.waits == 0 && !f.graph.when[i].AtTheEnd() {
			n.state = started
			ready = append(ready, f.graph.names[i])
		}
	}
	return ready
}

// Succeeded notes that an operation has succeeded and returns those that may start now because of it. Each operation is returned
// once in a run. Noting it again, or a name that is not in the graph, changes nothing.
func (f *Frontier) Succeeded(name string) (ready []string) { return f.end(name, succeeded) }

// Failed notes that an operation has failed and returns those that may start now because of it.
func (f *Frontier) Failed(name string) (ready []string) { return f.end(name, failed) }

func (f *Frontier) end(name string, state nodeState) (ready []string) {
	i, ok := f.graph.index[name]
	if !ok || f.nodes[i].state >= succeeded {
		return nil
	}
	f.nodes[i].state = state
	if f.close != open {
		return f.release(i, nil)
	}
	if state != succeeded {
		return nil
	}
	for _, dependent := range f.graph.dependents[i] {
		n := &f.nodes[dependent]
		if n.waits--; n.waits == 0 && n.state == pending && !f.graph.when[dependent].AtTheEnd() {
			n.state = started
			ready = append(ready, f.graph.names[dependent])
		}
	}
	return ready
}

// Close begins the end of the run and returns what may start. It is called when nothing runs, and what has not been
// started of the operations that are run on success is not started any more. A run that closes well may be closed badly later.
func (f *Frontier) Close(badly bool) (ready []string) {
	if f.close = closingWell; badly {
		f.close = closingBadly
	}
	for i := range f.nodes {
		switch n := &f.nodes[i]; {
		case n.state == succeeded || n.state == failed:
		case f.graph.when[i].AtTheEnd():
			n.state = pending
			n.waits = 0
		default:
			n.state = skipped
		}
	}
	for i := range f.nodes {
		if f.nodes[i].state != pending {
			continue
		}
		for _, dependency := range f.graph.dependsOn[i] {
			if f.nodes[dependency].state == pending {
				f.nodes[i].waits++
			}
		}
	}
	var free []int
	for i := range f.nodes {
		if n := &f.nodes[i]; n.state == pending && n.waits == 0 {
			free = append(free, i)
		}
	}
	for _, i := range free {
		ready = f.decide(i, ready)
	}
	return ready
}

// decide starts or skips an operation of the end all of whose dependencies have ended.
func (f *Frontier) decide(i int, ready []string) []string {
	if f.wanted(i) {
		f.nodes[i].state = started
		return append(ready, f.graph.names[i])
	}
	f.nodes[i].state = skipped
	return f.release(i, ready)
}

// wanted reports whether an operation of the end is run.
func (f *Frontier) wanted(i int) bool {
	if f.graph.when[i] == Always {
		return true
	}
	if f.close != closingBadly {
		return false
	}
	given := f.graph.dependsOn[i][:f.graph.given[i]]
	for _, dependency := range given {
		if f.nodes[dependency].state != succeeded {
			return true
		}
	}
	return len(given) == 0
}

// release tells those that wait for an operation of the end that it has ended.
func (f *Frontier) release(i int, ready []string) []string {
	for _, dependent := range f.graph.dependents[i] {
		if n := &f.nodes[dependent]; n.state == pending {
			if n.waits--; n.waits == 0 {
				ready = f.decide(dependent, ready)
			}
		}
	}
	return ready
}
