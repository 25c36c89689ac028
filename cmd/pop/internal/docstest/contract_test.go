package docstest

import (
	"slices"
	"strings"
	"testing"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

// TestTheContractIsATableOfAllClauses holds the tables of the plugins' page against the suite that tests the contract.
func TestTheContractIsATableOfAllClauses(t *testing.T) {
	t.Parallel()
	var codes []string
	for c := driver.Internal; c <= driver.Corrupt; c++ {
		name := strings.ReplaceAll(c.String(), " l", "L")
		codes = append(codes, strings.ToUpper(name[:1])+name[1:])
	}
	p := read(t, "plugins/README.md")
	for heading, kind := range map[string]string{"### Store": "store", "### Queue": "queue", "### Authorizer": "authorizer"} {
		clauses := drivertest.Clauses()[kind]
		named := map[string]bool{}
		for line := range strings.Lines(p.section(t, heading)) {
			row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			if len(row) != 4 || strings.Contains(row[0], "---") || strings.TrimSpace(row[0]) == "method" {
				continue
			}
			for c := range strings.SplitSeq(row[3], "<br>") {
				c = strings.TrimSpace(c)
				if !slices.Contains(clauses, c) {
					t.Errorf("%s: there is no clause %q", heading, c)
				}
				named[c] = true
			}
			for _, m := range inlineCode.FindAllStringSubmatch(row[2], -1) {
				if m[1] != "NotApplied" && !slices.Contains(codes, m[1]) {
					t.Errorf("%s: there is no code %s", heading, m[1])
				}
			}
		}
		for _, c := range clauses {
			if !named[c] {
				t.Errorf("%s: the clause %q is not in the table", heading, c)
			}
		}
	}
}
