package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPolicyWritesTheDocumentForAConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "aws.json")
	if err := os.WriteFile(file, []byte(`{"store": {"table": "studio"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	if code := policy([]string{"--config", file, "--account", "1", "--region", "eu-central-1"}, &out, &errOut); code != 0 {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	if !json.Valid([]byte(out.String())) || !strings.Contains(out.String(), "arn:aws:dynamodb:eu-central-1:1:table/studio") {
		t.Errorf("it writes %s", out.String())
	}
	if err := os.WriteFile(file, []byte(`{"store": {"table": "?"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code := policy([]string{"--config", file}, &out, &errOut); code != 1 || !strings.Contains(errOut.String(), "store.table") {
		t.Errorf("exit %d: %s", code, errOut.String())
	}
}
