package archtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// pkg is a package of the import graph. Paths of own packages are relative to the module's root.
type pkg struct {
	path    string
	own     bool
	doc     string
	files   []string // that are not tests
	imports []string
	tests   []string // what its tests import besides
}

// check returns one message for each package and each rule it breaks, sorted.
func check(graph []pkg, rules []rule) []string {
	byPath := map[string]pkg{}
	for _, p := range graph {
		byPath[p.path] = p
	}
	var found []string
	for _, r := range rules {
		for _, p := range graph {
			if !r.binds(p) {
				continue
			}
			for _, chain := range r.violations(p, byPath) {
				found = append(found, fmt.Sprintf("%s: %s\n\t%s", r.name, strings.Join(chain, " → "), r.why))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (r rule) binds(p pkg) bool {
	return p.own && matches(r.from, p) && !matches(r.except, p)
}

// violations returns the import chains from p, one for each package that it must not have, the shortest.
func (r rule) violations(p pkg, byPath map[string]pkg) [][]string {
	var chains [][]string
	if len(r.only) > 0 {
		for _, path := range p.imports {
			if !matches(r.only, resolve(path, byPath)) {
				chains = append(chains, []string{p.path, path})
			}
		}
	}
	if len(r.never) == 0 {
		return chains
	}
	start := p.imports
	if r.tests {
		start = slices.Concat(start, p.tests)
	}
	// Breadth first, so that the chain is a shortest one. What another bound package imports is that one's violation.
	parent := map[string]string{}
	var frontier []string
	visit := func(from string, imports []string) {
		for _, path := range imports {
			if _, seen := parent[path]; !seen && path != p.path {
				parent[path] = from
				frontier = append(frontier, path)
			}
		}
	}
	visit(p.path, start)
	for len(frontier) > 0 {
		at := resolve(frontier[0], byPath)
		frontier = frontier[1:]
		if matches(r.never, at) && !matches(r.butFor, at) {
			chain := []string{at.path}
			for path := at.path; path != p.path; {
				path = parent[path]
				chain = append(chain, path)
			}
			slices.Reverse(chain)
			chains = append(chains, chain)
			continue
		}
		if !isStd(at) && !r.binds(at) {
			visit(at.path, at.imports)
		}
	}
	return chains
}

// resolve returns the package with a path; one that only tests import is not in the graph, and has no known imports.
func resolve(path string, byPath map[string]pkg) pkg {
	if p, ok := byPath[path]; ok {
		return p
	}
	return pkg{path: path}
}

func matches(patterns []string, p pkg) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		switch pattern {
		case std:
			return isStd(p)
		case thirdParty:
			return !p.own && !isStd(p)
		case "...":
			return p.own
		}
		prefix, tree := strings.CutSuffix(pattern, "/...")
		return p.path == prefix || tree && strings.HasPrefix(p.path, prefix+"/")
	})
}

func isStd(p pkg) bool {
	first, _, _ := strings.Cut(p.path, "/")
	return !p.own && !strings.Contains(first, ".")
}

// undocumented returns the own packages that do not say what they are.
func undocumented(graph []pkg) []string {
	var found []string
	for _, p := range graph {
		if p.own && len(p.files) > 0 && p.doc == "" {
			found = append(found, p.path)
		}
	}
	return found
}

// misnamed returns what is wrong with the own packages that rules name: those that are neither there nor planned, since a
// rule about nothing guards nothing, and those that are planned and there, or planned and named by no rule.
func misnamed(graph []pkg, rules []rule, planned []string) []string {
	exists := func(name string) bool {
		return slices.ContainsFunc(graph, func(p pkg) bool { return p.own && (p.path == name || strings.HasPrefix(p.path, name+"/")) })
	}
	named := map[string]bool{}
	for _, r := range rules {
		for _, pattern := range slices.Concat(r.from, r.except, r.never, r.butFor, r.only) {
			name := strings.TrimSuffix(pattern, "/...")
			if top, _, _ := strings.Cut(name, "/"); slices.Contains([]string{"core", "plugins", "providers", "terraform", "cmd"}, top) {
				named[name] = true
			}
		}
	}
	var found []string
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if !exists(name) && !slices.Contains(planned, name) {
			found = append(found, name+" is named by a rule and doesn't exist: rename it in the rule, or delete the rule")
		}
	}
	for _, name := range planned {
		if exists(name) {
			found = append(found, name+" exists now: take it off the planned list, so that the rules about it can't go stale")
		}
		if !named[name] {
			found = append(found, name+" is planned and no rule names it: take it off the list")
		}
	}
	return found
}
