package process

import (
	"strings"
	"testing"
)

func TestADiskThatIsFullIsSaidWithItsFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := room(dir, 1); err != nil {
		t.Errorf("with a byte to spare: %v", err)
	}
	if err := room(dir, 1<<62); err == nil || !strings.Contains(err.Error(), "the disk of "+dir+" is full") {
		t.Errorf("with less than is needed: %v", err)
	}
	if err := room(dir+"/nowhere", 1); err == nil {
		t.Error("a folder that is not there has room")
	}
}
