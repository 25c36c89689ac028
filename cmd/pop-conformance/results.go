package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

// child returns this program as one that does a job.
func child(ctx context.Context, j job, o options, args ...string) (*exec.Cmd, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append(args, "-test.timeout="+o.timeout.String())...)
	cmd.Env = append(os.Environ(), jobEnv+"="+string(text))
	return cmd, nil
}

// test runs the suite and returns the results in the order of the clauses. A clause that should have been tested and was not has
// failed.
func test(ctx context.Context, j job, o options, stderr io.Writer) ([]drivertest.Result, error) {
	args := []string{"-test.v=test2json", fmt.Sprint("-test.parallel=", o.parallel)}
	if o.clauses != "" {
		args = append(args, "-test.run=suite/./contract/("+o.clauses+")")
	}
	cmd, err := child(ctx, j, o, args...)
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if o.verbose {
		cmd.Stderr = io.MultiWriter(stderr, &said)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	total := 0
	for _, s := range j.Services {
		total += len(drivertest.Clauses()[string(s)])
	}
	done := 0
	results, rest, err := drivertest.ReadResults(out, func(r drivertest.Result) {
		if done++; r.Failed {
			_, _ = fmt.Fprintf(stderr, "%d of about %d: %s: %s fails\n", done, total, r.Driver, r.Clause)
		}
	})
	ended := cmd.Wait()
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if o.clauses == "" {
		results = append(results, missing(j, results)...)
	} else {
		results = slices.DeleteFunc(results, func(r drivertest.Result) bool { return !matches(o.clauses, r.Clause) })
	}
	slices.SortStableFunc(results, byClause)
	failed := slices.ContainsFunc(results, func(r drivertest.Result) bool { return r.Failed })
	if err == nil && ended != nil && !failed {
		err = fmt.Errorf("the suite ended with %w\n%s%s", ended, rest, said.String())
	}
	return results, err
}

// missing returns results of clauses that there is none of.
func missing(j job, results []drivertest.Result) (more []drivertest.Result) {
	for _, s := range j.Services {
		for _, clause := range drivertest.Clauses()[string(s)] {
			if !slices.ContainsFunc(results, func(r drivertest.Result) bool { return r.Driver == string(s) && r.Clause == clause }) {
				more = append(more, drivertest.Result{Driver: string(s), Clause: clause, Failed: true, Output: "it was not tested\n"})
			}
		}
	}
	return more
}

func byClause(a, b drivertest.Result) int {
	place := func(r drivertest.Result) int {
		i := slices.Index(drivertest.Clauses()[r.Driver], r.Clause)
		if i < 0 {
			return 1 << 20 // the model comes last
		}
		return i
	}
	return cmp.Or(
		cmp.Compare(slices.Index(services, driver.Service(a.Driver)), slices.Index(services, driver.Service(b.Driver))),
		cmp.Compare(place(a), place(b)))
}

// printResults prints the results as a table and returns how many have failed.
func printResults(w io.Writer, results []drivertest.Result) (failed int) {
	for _, r := range results {
		verdict := "ok"
		if r.Failed {
			verdict = "FAIL"
			failed++
		}
		_, _ = fmt.Fprintf(w, "%-4s  %-10s  %6.2fs  %s\n", verdict, r.Driver, r.Took.Seconds(), r.Clause)
		if r.Failed {
			for line := range strings.Lines(r.Output) {
				_, _ = fmt.Fprintf(w, "                           %s\n", strings.TrimRight(line, "\n"))
			}
		}
	}
	return failed
}

// bench measures the drivers and passes on what the testing package prints.
func bench(ctx context.Context, j job, o options, stdout, stderr io.Writer) (int, error) {
	if !j.has(driver.StoreService) && !j.has(driver.QueueService) {
		return 0, errors.New("only stores and queues are measured, and the plugin serves none")
	}
	cmd, err := child(ctx, j, o, "-test.run=^$", "-test.bench=.", "-test.benchmem", "-test.benchtime="+o.benchtime)
	if err != nil {
		return 0, err
	}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("measure: %w", err)
	}
	return 0, nil
}

// The elements of JUnit's XML, as far as those who read it agree on them.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Name    string       `xml:"name,attr"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(path, what string, results []drivertest.Result) error {
	all := junitSuites{Name: what}
	for _, s := range services {
		suite := junitSuite{Name: string(s)}
		var took time.Duration
		for _, r := range results {
			if r.Driver != string(s) {
				continue
			}
			c := junitCase{Class: "pop." + r.Driver, Name: r.Clause, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
			if r.Failed {
				first, _, _ := strings.Cut(r.Output, "\n")
				c.Failure = &junitFailure{first, r.Output}
				suite.Failures++
			}
			suite.Cases = append(suite.Cases, c)
			took += r.Took
		}
		suite.Tests, suite.Time = len(suite.Cases), fmt.Sprintf("%.3f", took.Seconds())
		if suite.Tests > 0 {
			all.Suites = append(all.Suites, suite)
		}
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(xml.Header), append(text, '\n')...), 0o600)
}
