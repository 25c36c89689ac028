package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASimulationIsShownAsATableAsJSONAndAsAPlot(t *testing.T) {
	t.Parallel()
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		status := Run(t.Context(), append([]string{"simulate"}, args...), Process{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }})
		return status, out.String()
	}
	const scenario = "../../../../examples/fairness/weights.yaml"
	plot := filepath.Join(t.TempDir(), "plot.svg")
	status, said := run(scenario, "--svg", plot)
	for _, want := range []string{"Shares by weight", "holds", "gold", "OF FAIR SHARE", "1.0000 over"} {
		if status != exitOK || !strings.Contains(said, want) {
			t.Errorf("status %d, %q is missing in\n%s", status, want, said)
		}
	}
	if svg, err := os.ReadFile(plot); err != nil || !bytes.Contains(svg, []byte("</svg>")) {
		t.Errorf("no plot: %v", err)
	}
	status, said = run(scenario, "--algorithm", "FirstInFirstOut", "-o", "json")
	var result struct{ SchedulingAlgorithm string }
	if err := json.Unmarshal([]byte(said), &result); err != nil || status != exitOK || result.SchedulingAlgorithm != "FirstInFirstOut" {
		t.Errorf("status %d, %v: %s", status, err, said)
	}
	if status, said = run(scenario, "--algorithm", "Random"); status != exitFailed || !strings.Contains(said, "insight.schedulingAlgorithm") {
		t.Errorf("status %d: %s", status, said)
	}
}
