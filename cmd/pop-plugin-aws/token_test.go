package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestTokenWritesTheAnswerOfATokenEndpoint(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>the.signed.token</WebIdentityToken><Expiration>%s</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
			now.Add(5*time.Minute).Format(time.RFC3339))
	}))
	defer sts.Close()
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_STS": sts.URL, "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "topsecret", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(name, value)
	}
	call := func(args ...string) (status int, stdout, stderr string) {
		var out, complaint bytes.Buffer
		status = token(t.Context(), args, &out, &complaint, func() time.Time { return now })
		return status, out.String(), complaint.String()
	}
	status, out, complaint := call("--audience", "https://pop.example.com", "--region", "eu-west-1", "--lifetime", "5m")
	if want := `{"access_token":"the.signed.token","token_type":"Bearer","expires_in":300}` + "\n"; status != 0 || out != want || complaint != "" {
		t.Errorf("status %d, output %q, complaint %q; want %q", status, out, complaint, want)
	}
	for name, tc := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no audience":     {nil, 2, "--audience"},
		"an unknown flag": {[]string{"--audiences", "x"}, 2, "-audiences"},
		"a word":          {[]string{"--audience", "x", "y"}, 2, `"y" is not a flag`},
		"help":            {[]string{"--help"}, 0, "--token-command"},
		"a bad lifetime":  {[]string{"--audience", "x", "--lifetime", "2h"}, 2, "--lifetime must be"},
		"an error of AWS": {[]string{"--audience", "x", "--region", "not a region"}, 1, "pop-plugin-aws token: "},
	} {
		status, out, complaint := call(tc.args...)
		if status != tc.status || !strings.Contains(complaint, tc.want) || out != "" {
			t.Errorf("%s: status %d, output %q, complaint %q", name, status, out, complaint)
		}
	}
}
