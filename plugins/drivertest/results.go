package drivertest

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Result is what the suite found out about one clause.
type Result struct {
	Driver string // "store", "queue" or "authorizer"
	Clause string
	Failed bool
	Took   time.Duration
	Output string // what was wrong
}

// ReadResults reads what a program printed that runs the suite with the flag -test.v=test2json, as a test binary or by
// [testing.Main]. It calls each, if not nil, with every result as it comes. The rest is what was printed outside of clauses,
// such as the trace of a panic; a clause that began and did not end has failed.
func ReadResults(r io.Reader, each func(Result)) (results []Result, rest string, err error) {
	p := resultParser{open: map[string]*Result{}, each: each}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		p.line(line)
		if err == io.EOF {
			break
		}
		if err != nil {
			return p.results, p.rest.String(), fmt.Errorf("read results: %w", err)
		}
	}
	for _, name := range p.order {
		if res := p.open[name]; res != nil {
			res.Failed = true
			res.Output += "it did not end\n"
			p.end(res)
		}
	}
	return p.results, p.rest.String(), nil
}

// resultParser knows the form that `go tool test2json` reads: lines that the testing package writes begin with a mark, and say
// whose output follows.
type resultParser struct {
	open    map[string]*Result // clauses that have begun, by the names of their tests
	order   []string           // of the keys of open
	current string             // the test whose output follows
	rest    strings.Builder
	results []Result
	each    func(Result)
}

const mark = '\x16'

var (
	clauseTest = regexp.MustCompile(`(?:^|/)(store|queue|authorizer)/(?:contract/)?([^/]+)(/use)?$`)
	verdict    = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (.*) \(([0-9.]+)s\)$`)
)

func (p *resultParser) line(line string) {
	text, after, marked := strings.Cut(line, string(mark))
	p.output(text)
	if !marked {
		return
	}
	after = strings.TrimSpace(after)
	if m := verdict.FindStringSubmatch(after); m != nil {
		p.current = m[2]
		res := p.open[m[2]]
		if res == nil {
			return
		}
		res.Failed = m[1] != "PASS"
		res.Took, _ = time.ParseDuration(m[3] + "s") // the pattern has seen to it
		delete(p.open, m[2])
		p.end(res)
		return
	}
	if action, name, ok := strings.Cut(strings.TrimPrefix(after, "=== "), " "); ok && strings.HasPrefix(after, "=== ") {
		p.current = strings.TrimSpace(name)
		if action == "RUN" {
			p.begin(p.current)
		}
	}
}

func (p *resultParser) begin(name string) {
	m := clauseTest.FindStringSubmatch(name)
	if m == nil || m[2] == "contract" || m[3] != "" {
		return
	}
	p.open[name] = &Result{Driver: m[1], Clause: strings.ReplaceAll(m[2], "_", " ")}
	p.order = append(p.order, name)
}

func (p *resultParser) end(res *Result) {
	p.results = append(p.results, *res)
	if p.each != nil {
		p.each(*res)
	}
}

func (p *resultParser) output(text string) {
	if strings.TrimSpace(text) == "" {
		return
	}
	if res := p.open[strings.TrimSuffix(p.current, "/use")]; res != nil {
		res.Output += strings.TrimPrefix(text, "    ")
		return
	}
	p.rest.WriteString(text)
}
