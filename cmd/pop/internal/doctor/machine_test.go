package doctor

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestADataFolderThatIsNotThereYetIsFineIfItCanBeMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "not", "yet")
	var asked []string
	var good, bad report
	checkNewData(&good, data, func(dir string) error { asked = append(asked, dir); return nil })
	if len(asked) != 1 || asked[0] != dir {
		t.Errorf("asked whether %q can be written, want %q", asked, dir)
	}
	if f := good.findings; len(f) != 2 || f[0].Level != OK || f[1].Check != "disk space" {
		t.Errorf("it can be made: %+v", f)
	}
	checkNewData(&bad, data, func(string) error { return errors.New("permission denied") })
	if f := bad.findings; len(f) != 1 || f[0].Level != Fail || !strings.Contains(f[0].Detail, dir+": permission denied") {
		t.Errorf("it cannot be made: %+v", f)
	}
}
