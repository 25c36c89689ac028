// Command pop-conformance runs the conformance suite of the driver contract on a plugin, and says clause by clause whether the
// plugin keeps it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/plugins/host"
)

// The statuses to exit with.
const (
	exitFailed = 1 // a clause
	exitBroken = 2 // the plugin could not be tested
)

func main() {
	if text, ok := os.LookupEnv(jobEnv); ok {
		runJob(text)
		return
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

// options are what the command line says.
type options struct {
	config, junit, clauses string
	benchtime              string
	env, services          []string
	bench, list, verbose   bool
	timeout                time.Duration
	parallel               int
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	status := 0
	cmd := &cobra.Command{
		Use:   "pop-conformance PLUGIN",
		Short: "Say whether a plugin keeps the driver contract of POP",
		Long: `Say whether a plugin keeps the driver contract of POP, clause by clause. Every clause is tested on a process of its own.

The file of --config says what the plugin is configured with, and what the suite has to know about it. In its texts, ${dir} is an empty
folder and ${unique} a word, both made for each test:

  config:                    # of the plugin
    dir: ${dir}
  files:                     # written before the plugin starts
    tokens.yaml: |           # is then at ${dir}/tokens.yaml
      tokens: []
  store:
    volatile: false          # true: it keeps nothing over a restart
    capabilities: {MaxRecordBytes: 1048576}   # what it has to report; without, what it reports is taken for right
  queue:
    capabilities: {MaxBatch: 10}
  authorizer:                # is tested only with callers that it knows, and some that it refuses
    known:
      alice: {headers: {Authorization: Bearer secret}, principal: {subject: alice, customers: [acme], roles: [read]}}
    refused:
      a token that nobody has: {Authorization: Bearer wrong}

The exit status is 1 if a clause fails, and 2 if the plugin could not be tested.`,
		Example: `  pop-conformance ./pop-plugin-files --config conformance.yaml --junit conformance.xml
  pop-conformance ./pop-plugin-files --config conformance.yaml --clauses 'Scan|index'
  pop-conformance ./pop-plugin-files --config conformance.yaml --bench
  pop-conformance --list`,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if o.list {
				return nil
			}
			if len(args) != 1 {
				return errors.New("name one plugin, by the path of its program")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.list {
				return list(stdout)
			}
			status, err = certify(cmd.Context(), args[0], o, stdout, stderr)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "file that says how to configure the plugin, and what to expect of it")
	f.StringVar(&o.junit, "junit", "", "write the results as JUnit XML to this file")
	f.StringVar(&o.clauses, "clauses", "", "test only clauses that this regular expression matches")
	f.StringSliceVar(&o.services, "services", nil, "test only these: store, queue, authorizer (default all that the plugin serves)")
	f.StringSliceVar(&o.env, "env", nil, "variables of the environment that the plugin gets")
	f.BoolVar(&o.bench, "bench", false, "measure the store and the queue in place of testing")
	f.StringVar(&o.benchtime, "benchtime", "1s", "how long, or how often as in 100x, each measurement goes on")
	f.BoolVar(&o.list, "list", false, "print the clauses")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print what the plugin logs")
	f.DurationVar(&o.timeout, "timeout", 10*time.Minute, "how long all of it may take")
	f.IntVar(&o.parallel, "parallel", 8, "clauses that are tested at a time")
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if err := cmd.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintf(stderr, "pop-conformance: %v\n", err)
		return exitBroken
	}
	return status
}

func list(w io.Writer) error {
	for _, service := range services {
		for _, clause := range drivertest.Clauses()[string(service)] {
			if _, err := fmt.Fprintf(w, "%-10s  %s\n", service, clause); err != nil {
				return err
			}
		}
	}
	return nil
}

// services are the kinds of driver, in the order in which they are tested.
var services = []driver.Service{driver.StoreService, driver.QueueService, driver.AuthorizerService}

// certify tests the plugin and prints the results.
func certify(ctx context.Context, path string, o options, stdout, stderr io.Writer) (status int, err error) {
	if _, err := regexp.Compile(o.clauses); err != nil {
		return 0, fmt.Errorf("--clauses: %w", err)
	}
	j := job{Env: o.env, Verbose: o.verbose}
	if j.Path, err = filepath.Abs(path); err != nil {
		return 0, err
	}
	if o.config != "" {
		if j.File, err = readFile(o.config); err != nil {
			return 0, err
		}
	}
	d, err := host.Describe(ctx, host.Entry{Name: filepath.Base(path), Path: j.Path, Env: o.env}, host.Options{LookupEnv: os.LookupEnv})
	if err != nil {
		return 0, plain(err)
	}
	if j.Services, err = choose(d, o.services); err != nil {
		return 0, err
	}
	if slices.Contains(j.Services, driver.AuthorizerService) && (len(j.File.Authorizer.Known) == 0 || len(j.File.Authorizer.Refused) == 0) {
		return 0, fmt.Errorf("%s serves an authorizer: say in the file of --config whom it knows and whom it refuses, or leave it out with --services", d.Name)
	}
	if err := j.check(ctx); err != nil {
		return 0, err
	}
	what := fmt.Sprintf("%s %s (%s)", d.Name, d.Version, joinServices(j.Services))
	if o.bench {
		_, _ = fmt.Fprintln(stdout, what)
		return bench(ctx, j, o, stdout, stderr)
	}
	start := time.Now()
	results, trouble := test(ctx, j, o, stderr)
	failed := printResults(stdout, results)
	_, _ = fmt.Fprintf(stdout, "\n%s: %d clauses hold, %d fail, in %s\n", what, len(results)-failed, failed, time.Since(start).Round(100*time.Millisecond))
	if o.junit != "" {
		if err := writeJUnit(o.junit, what, results); err != nil {
			return 0, err
		}
	}
	switch {
	case trouble != nil:
		return 0, trouble
	case len(results) == 0:
		return 0, fmt.Errorf("no clause matches %q; --list prints them all", o.clauses)
	case failed > 0:
		return exitFailed, nil
	}
	return 0, nil
}

// choose returns the services to test.
func choose(d driver.Description, wanted []string) (chosen []driver.Service, err error) {
	for _, w := range wanted {
		if !slices.Contains(d.Services, driver.Service(w)) {
			return nil, fmt.Errorf("%s serves no %q, but %s", d.Name, w, joinServices(d.Services))
		}
	}
	for _, s := range services {
		if slices.Contains(d.Services, s) && (len(wanted) == 0 || slices.Contains(wanted, string(s))) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%s serves no driver that there is a contract for: %v", d.Name, d.Services)
	}
	return chosen, nil
}

func joinServices(list []driver.Service) string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// plain returns an error as people want to read it.
func plain(err error) error {
	if e, ok := errors.AsType[*driver.Error](err); ok && e.Message != "" {
		return errors.New(e.Message)
	}
	return err
}

// matches reports whether a clause is one of those wanted. The expression compiles.
func matches(clauses, clause string) bool { return regexp.MustCompile(clauses).MatchString(clause) }
