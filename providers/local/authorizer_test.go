package local

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

const aliceToken, botToken, oldToken = "alice-secret", "bot-secret", "old-secret"

func tokenFileText() string {
	return fmt.Sprintf(`
tokens:
- token: %s
  subject: alice
  customers: [Zeta, acme, ACME]
  roles: [read, submit]
- token: %s
  subject: bot
  roles: [pull]
  global: true
  notAfter: 2100-01-01T00:00:00Z
- token: %s
  subject: old
  customers: [acme]
  roles: [read]
  notAfter: 2001-01-01T00:00:00Z
`, HashToken(aliceToken), HashToken(botToken), HashToken(oldToken))
}

func bearer(token string) driver.AuthenticateRequest {
	return driver.AuthenticateRequest{Header: map[string][]string{"Authorization": {"Bearer " + token}}}
}

func writeTokens(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAuthorizerConforms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	writeTokens(t, path, tokenFileText())
	drivertest.RunAuthorizer(t, drivertest.AuthorizerHarness{
		Capabilities: authorizerCapabilities(),
		Open: func(t *testing.T) driver.Authorizer {
			a, err := NewAuthorizer(AuthorizerOptions{File: path})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Known: map[string]drivertest.KnownCaller{
			"customers": {Request: bearer(aliceToken), Want: driver.Principal{
				Subject: "alice", Customers: []string{"acme", "zeta"}, Roles: []driver.Role{driver.RoleRead, driver.RoleSubmit},
			}},
			"global": {Request: bearer(botToken), Want: driver.Principal{
				Subject: "bot", Roles: []driver.Role{driver.RolePull}, Global: true,
			}},
		},
		Refused: map[string]driver.AuthenticateRequest{
			"unknown token": bearer("guess"),
			"expired token": bearer(oldToken),
			"the hash":      bearer(HashToken(aliceToken)),
			"basic":         {Header: map[string][]string{"Authorization": {"Basic " + aliceToken}}},
		},
	})
}

func TestABadTokenFileIsAnErrorThatNamesPathAndField(t *testing.T) {
	t.Parallel()
	hash := HashToken("x")
	for name, tc := range map[string]struct{ text, want string }{
		"not YAML":            {"tokens: [", "yaml"},
		"no tokens":           {"{}", "tokens: is missing"},
		"tokens of one type":  {"tokens: yes please", "tokens: is a string"},
		"unknown key at top":  {"tokens: []\ntoken: []", `unknown field "token"`},
		"key given twice":     {"tokens: []\ntokens: []", `"tokens" already set`},
		"plain token":         {"tokens: [{token: secret, subject: a}]", "tokens[0].token: must be sha256:"},
		"short hash":          {"tokens: [{token: 'sha256:00', subject: a}]", "tokens[0].token: must be sha256:"},
		"long hash":           {"tokens: [{token: '" + hash + "00', subject: a}]", "tokens[0].token: must be sha256:"},
		"unknown key":         {"tokens: [{token: '" + hash + "', subject: a, custmers: [b]}]", `tokens[0]: unknown field "custmers"`},
		"customers as text":   {"tokens: [{token: '" + hash + "', subject: a, customers: b}]", "tokens[0].customers: is a string"},
		"no subject":          {"tokens: [{token: '" + hash + "'}]", "tokens[0].subject: is empty"},
		"empty customer":      {"tokens: [{token: '" + hash + "', subject: a, customers: [b, '']}]", "tokens[0].customers[1]: is empty"},
		"customer with space": {"tokens: [{token: '" + hash + "', subject: a, customers: ['b ']}]", `tokens[0].customers[0]: "b " begins or ends with space`},
		"unknown role":        {"tokens: [{token: '" + hash + "', subject: a, roles: [read, admin]}]", `tokens[0].roles[1]: "admin" is not a role`},
		"bad time":            {"tokens: [{token: '" + hash + "', subject: a, notAfter: soon}]", "tokens[0]"},
		"several":             {"tokens: [{token: secret, subject: a}, {token: '" + hash + "', subject: a, roles: [god]}]", `never the token itself; tokens[1].roles[0]: "god" is not a role`},
		"same token twice":    {"tokens: [{token: '" + hash + "', subject: a}, {token: '" + hash + "', subject: b}]", "tokens[1].token: is that of tokens[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tokens.yaml")
			writeTokens(t, path, tc.text)
			_, err := NewAuthorizer(AuthorizerOptions{File: path})
			if driver.CodeOf(err) != driver.Invalid || err == nil {
				t.Fatalf("error %v, want invalid", err)
			}
			for _, want := range []string{path, tc.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q gives the token away", err)
			}
		})
	}
	if _, err := NewAuthorizer(AuthorizerOptions{File: "no/such/file"}); err == nil || !strings.Contains(err.Error(), "no/such/file") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestTokensAreReadAgainWhenTheFileChanges(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.json")
	entry := `{"tokens": [{"token": "` + HashToken("one") + `", "subject": %q}]}`
	writeTokens(t, path, fmt.Sprintf(entry, "first"))
	clock := drivertest.NewClock(time.Now())
	var log bytes.Buffer
	a, err := NewAuthorizer(AuthorizerOptions{File: path, Now: clock.Now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	want := func(what, subject string) {
		t.Helper()
		p, err := a.Authenticate(t.Context(), bearer("one"))
		if err != nil || p.Subject != subject {
			t.Errorf("%s: subject %q, error %v; want %q", what, p.Subject, err, subject)
		}
	}
	want("at first", "first")

	writeTokens(t, path, fmt.Sprintf(entry, "another"))
	want("within a second of the last look", "first")
	clock.Advance(tokenCheck)
	want("after a second", "another")

	writeTokens(t, path, `{"tokens": [{}]}`)
	clock.Advance(tokenCheck)
	want("with a bad file", "another")
	if !strings.Contains(log.String(), "tokens[0].token") {
		t.Errorf("the log does not name the field: %s", &log)
	}
	lines := strings.Count(log.String(), "\n")
	clock.Advance(tokenCheck)
	want("with the same bad file", "another")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		clock.Advance(tokenCheck)
		want("without a file", "another")
	}
	if got := strings.Count(log.String(), "\n"); got != lines+1 {
		t.Errorf("%d lines were logged about one missing file:\n%s", got-lines, &log)
	}

	writeTokens(t, path, fmt.Sprintf(entry, "mended"))
	clock.Advance(tokenCheck)
	want("with a good file", "mended")
}

func TestAPrincipalIsGoodForAShortWhileAndNeverLongerThanItsToken(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(8 * time.Second)
	writeTokens(t, path, fmt.Sprintf("tokens: [{token: '%s', subject: a, notAfter: %s}]", HashToken("x"), end.Format(time.RFC3339)))
	clock := drivertest.NewClock(start)
	a, err := NewAuthorizer(AuthorizerOptions{File: path, Now: clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	var got []time.Duration
	for range 2 {
		p, err := a.Authenticate(t.Context(), bearer("x"))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.NotAfter.Sub(clock.Now()))
		clock.Advance(5 * time.Second)
	}
	if diff := cmp.Diff([]time.Duration{tokenTrust, 3 * time.Second}, got); diff != "" {
		t.Errorf("good for (-want +got):\n%s", diff)
	}
	if _, err := a.Authenticate(t.Context(), bearer("x")); driver.CodeOf(err) != driver.Unauthenticated {
		t.Errorf("after its token: %v", err)
	}
}
