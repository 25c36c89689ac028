package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// jwt is a token that says when it ends; nobody looks at its signature.
func jwt(claims string) string {
	return "eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
}

func TestCommandTakesATokenOrTheAnswerOfATokenEndpoint(t *testing.T) {
	t.Parallel()
	in2100 := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		output string
		value  string
		expiry time.Time
	}{
		"a plain token":                    {"secret\n", "secret", time.Time{}},
		"a signed token":                   {jwt(`{"exp": 4102444800}`), jwt(`{"exp": 4102444800}`), in2100},
		"a signed token without an end":    {jwt(`{}`), jwt(`{}`), time.Time{}},
		"a signed token of an absurd end":  {jwt(`{"exp": 1e300}`), jwt(`{"exp": 1e300}`), time.Time{}},
		"an answer":                        {`{"access_token": "secret", "token_type": "bearer", "expires_in": 300, "scope": "x"}`, "secret", now.Add(5 * time.Minute)},
		"an answer without an end":         {`{"access_token": "secret"}`, "secret", time.Time{}},
		"an answer of an absurd end":       {`{"access_token": "secret", "expires_in": 1e300}`, "secret", now.Add(maxLife)},
		"an answer with a signed token":    {fmt.Sprintf(`{"access_token": %q}`, jwt(`{"exp": 4102444800}`)), jwt(`{"exp": 4102444800}`), in2100},
		"an answer whose lifetime is zero": {`{"access_token": "secret", "expires_in": 0}`, "secret", time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "out put")
			if err := os.WriteFile(file, []byte(tc.output), 0o600); err != nil {
				t.Fatal(err)
			}
			source, err := Command("cat '"+file+"'", func() time.Time { return now })
			if err != nil {
				t.Fatal(err)
			}
			token, err := source(t.Context())
			if err != nil || token.Value != tc.value || !token.Expiry.Equal(tc.expiry) {
				t.Errorf("got %+v, %v; want %q until %s", token, err, tc.value, tc.expiry)
			}
		})
	}
}

func TestCommandThatFailsSaysWhyAndGivesNoTokenAway(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ line, want string }{
		"not there":           {"no-such-program-anywhere token", "no-such-program-anywhere"},
		"its own complaint":   {`sh -c 'echo some output; echo "the session has ended: log in" >&2; exit 3'`, "exit status 3: the session has ended: log in"},
		"a long complaint":    {`sh -c 'head -c 100000 /dev/zero | tr "\0" x >&2; echo the end >&2; exit 1'`, "the end"},
		"nothing":             {"true", "wrote nothing"},
		"JSON of another use": {`echo '{"token": "secret"}'`, "without access_token"},
		"not quite JSON":      {`echo '{"access_token": "secret"'`, "not the answer of a token endpoint"},
		"another type":        {`echo '{"access_token": "secret", "token_type": "mac"}'`, "not Bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source, err := Command(tc.line, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			token, err := source(t.Context())
			switch {
			case err == nil:
				t.Fatalf("got %+v", token)
			case !strings.Contains(err.Error(), tc.want), strings.Contains(err.Error(), "secret"), len(err.Error()) > 2*maxComplaint:
				t.Errorf("error %q, want it to say %q", err, tc.want)
			}
		})
	}
}

func TestCommandIsRunWithoutAShell(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]string{"a pipe": "cat x | jq .token", "two commands": "true; false", "an open quote": "echo 'x", "nothing": " "} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := Command(line, time.Now); err == nil || strings.Contains(err.Error(), "cat") {
				t.Errorf("error %v", err)
			}
		})
	}
	source, err := Command(`echo '$HOME' "a b" c\ d`, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := source(t.Context()); err != nil || token.Value != "$HOME a b c d" {
		t.Errorf("got %+v, %v", token, err)
	}
}

func TestCommandEndsWithItsContext(t *testing.T) {
	t.Parallel()
	source, err := Command("sleep 3600", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := source(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestFileIsReadAnew(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	source := File(file)
	if _, err := source(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	for _, text := range []string{"first\n", "second"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if token, err := source(t.Context()); err != nil || token.Value != strings.TrimSpace(text) {
			t.Errorf("got %+v, %v", token, err)
		}
	}
	if err := os.WriteFile(file, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := source(t.Context()); err == nil || !strings.Contains(err.Error(), file+": is empty") {
		t.Errorf("an empty file: %v", err)
	}
}
