package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPolicyWritesTheDocumentForAConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "aws.yaml")
	if err := os.WriteFile(file, []byte("store: {table: studio}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	if code := policy([]string{"--config", file, "--account", "1", "--region", "eu-central-1"}, &out, &errOut); code != 0 {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	if !json.Valid([]byte(out.String())) || !strings.Contains(out.String(), "arn:aws:dynamodb:eu-central-1:1:table/studio") {
		t.Errorf("it writes %s", out.String())
	}
	for content, want := range map[string]string{`store: {table: "?"}`: "store.table", "plugins: {aws: {config: {}}}": `unknown field "plugins"; it must hold what is below config`} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		errOut.Reset()
		if code := policy([]string{"--config", file}, &out, &errOut); code != 1 || !strings.Contains(errOut.String(), want) {
			t.Errorf("%s: exit %d: %s", content, code, errOut.String())
		}
	}
}

// TestThePolicyOfACallerAllowsItsTokensAndNoOthers gets a token, and compares the request with the policy that docs/authentication.md shows.
func TestThePolicyOfACallerAllowsItsTokensAndNoOthers(t *testing.T) {
	const audience = "https://pop.example.com"
	var asked url.Values
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		asked = r.PostForm
		_, _ = fmt.Fprint(w, `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>t</WebIdentityToken><Expiration>2030-01-02T03:04:05Z</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`)
	}))
	defer sts.Close()
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_STS": sts.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	var out, errOut strings.Builder
	if code := token(t.Context(), []string{"--audience", audience, "--region", "eu-west-1"}, &out, &errOut, time.Now); code != 0 {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	out.Reset()
	if code := policy([]string{"--audience", audience}, &out, &errOut); code != 0 {
		t.Fatalf("exit %d: %s", code, errOut.String())
	}
	var document struct {
		Statement []struct {
			Action, Resource []string
			Condition        struct {
				Audience struct {
					Values []string `json:"sts:IdentityTokenAudience"`
				} `json:"ForAllValues:StringEquals"`
				Life struct {
					Most int `json:"sts:DurationSeconds"`
				} `json:"NumericLessThanEquals"`
			}
		}
	}
	if err := json.Unmarshal([]byte(out.String()), &document); err != nil {
		t.Fatal(err)
	}
	allowed := document.Statement[0]
	got := map[string][]string{
		"Action": {"sts:" + asked.Get("Action")}, "Audience": {asked.Get("Audience.member.1")}, "Seconds": {asked.Get("DurationSeconds")},
	}
	want := map[string][]string{
		"Action": allowed.Action, "Audience": allowed.Condition.Audience.Values, "Seconds": {strconv.Itoa(allowed.Condition.Life.Most)},
	}
	if diff := cmp.Diff(want, got); diff != "" || len(document.Statement) != 1 || len(asked["Audience.member.2"]) > 0 {
		t.Errorf("asked for %v (-allowed +asked):\n%s", asked, diff)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "authentication.md"))
	if err != nil || !strings.Contains(string(page), out.String()) {
		t.Errorf("docs/authentication.md (%v) does not have\n%s", err, out.String())
	}
}
