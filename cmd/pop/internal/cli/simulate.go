package cli

import (
	"cmp"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/pop-platform/pop/cmd/pop/internal/output"
	"github.com/pop-platform/pop/cmd/pop/internal/simulate"
	"github.com/pop-platform/pop/core/model"
)

func (a *app) simulateCommand() *cobra.Command {
	var algorithm, svg string
	var seed uint64
	cmd := &cobra.Command{
		Use: "simulate FILE", Short: "Run the scheduler over a scenario and show what each customer gets",
		Long: `Run the scheduler over a scenario and show what each customer gets. No server is asked: it is the planner that a server runs,
under a clock of its own. With the same seed a scenario always ends the same.`,
		Example: `  pop simulate examples/fairness/noisy-neighbour.yaml
  pop simulate examples/fairness/noisy-neighbour.yaml --algorithm FirstInFirstOut
  pop simulate examples/fairness/weights.yaml --svg weights.svg`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			scenario, err := simulate.Load(args[0])
			if err != nil {
				return err
			}
			if algorithm != "" {
				scenario.Insight.SchedulingAlgorithm = model.SchedulingAlgorithm(algorithm)
			}
			if cmd.Flags().Changed("seed") {
				scenario.Seed = seed
			}
			result, err := simulate.Run(cmd.Context(), scenario)
			if err != nil {
				return err
			}
			if svg != "" {
				if err := writeSVG(svg, result); err != nil {
					return err
				}
			}
			if a.format != output.Table {
				return a.printer().Value(result)
			}
			return a.printSimulation(result)
		},
	}
	flags := cmd.Flags()
	completeAlgorithm(cmd, &algorithm)
	flags.Uint64Var(&seed, "seed", 0, "draw other arrivals and run times")
	flags.StringVar(&svg, "svg", "", "write a plot to this file: who runs and who waits, over time")
	return cmd
}

func writeSVG(path string, result *simulate.Result) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return cmp.Or(result.SVG(file), file.Close())
}

func (a *app) printSimulation(r *simulate.Result) error {
	about := output.Rows{}
	if r.Title != "" {
		about.Add("scenario", r.Title)
	}
	about.Add("algorithm", string(r.Algorithm))
	about.Add("took", fmt.Sprintf("%s, in which %d agendas started; slots busy: %s", roughly(r.Seconds), r.Started, percent(r.Busy)))
	about.Add("lag", lagOf(r.Lag, r.Bound, r.Holds))
	if r.Newcomer >= 0 {
		about.Add("newcomers", fmt.Sprintf("waited for %d services of others at most", r.Newcomer))
	}
	if r.JainOver > 0 {
		about.Add("Jain's index", fmt.Sprintf("%.4f over the last %d services", r.Jain, r.JainOver))
	}
	if err := a.printer().Rows(about); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Stdout); err != nil {
		return err
	}
	rows := output.Rows{Header: []string{"CUSTOMER", "WEIGHT", "SUBMITTED", "STARTED", "SHARE", "OF FAIR SHARE", "WAITED P50", "P99", "MAX", "LAG", "BOUND", "PARKED"}}
	for i := range r.Customers {
		c := &r.Customers[i]
		name := c.Customer
		if c.Copies > 0 {
			name = fmt.Sprintf("%s (%d)", name, c.Copies)
		}
		fair := "-"
		if c.Fair > 0 {
			fair = percent(c.Fair)
		}
		rows.Add(name, decimal(c.Weight), strconv.Itoa(c.Submitted), strconv.Itoa(c.Started), percent(c.Share), fair,
			roughly(c.P50), roughly(c.P99), roughly(c.Max), decimal(c.Lag), decimal(c.Bound), parkedFor(c.ParkedSeconds))
	}
	return a.printer().Rows(rows)
}

func percent(part float64) string { return strconv.FormatFloat(100*part, 'f', 1, 64) + " %" }
