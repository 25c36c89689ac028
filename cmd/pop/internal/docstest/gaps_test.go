package docstest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	testNamed    = regexp.MustCompile("`(Test\\w+)`")
	numberOfTest = regexp.MustCompile(`^TestG(\d+)_`)
)

// TestEveryGapHasATest holds the table of gaps against the tests of the repository.
func TestEveryGapHasATest(t *testing.T) {
	t.Parallel()
	there := testsOfTheRepository(t)
	p := read(t, "docs/gaps.md")
	rows := cells(p.text)
	const gaps = 33
	for i := 1; i <= gaps; i++ {
		gap := fmt.Sprintf("G%02d", i)
		row := rows[gap]
		if len(row) != 4 {
			t.Errorf("docs/gaps.md has no row for %s", gap)
			continue
		}
		named := testNamed.FindAllStringSubmatch(row[3], -1)
		if len(named) == 0 {
			t.Errorf("docs/gaps.md names no test for %s", gap)
		}
		for _, m := range named {
			if !there[m[1]] {
				t.Errorf("docs/gaps.md: %s: there is no test %s", gap, m[1])
			}
			if number := numberOfTest.FindStringSubmatch(m[1]); number != nil && "G"+number[1] != gap {
				t.Errorf("docs/gaps.md: %s names %s, which is a test of another gap", gap, m[1])
			}
		}
	}
}

func testsOfTheRepository(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunction.FindAllStringSubmatch(string(text), -1) {
			there[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return there
}
