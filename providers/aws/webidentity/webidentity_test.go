package webidentity

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// endpoint is an STS endpoint. It keeps the request that it got last.
type endpoint struct {
	status int
	answer string
	got    url.Values
	signed string
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	e.got, e.signed = r.PostForm, r.Header.Get("Authorization")
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(e.status)
	_, _ = fmt.Fprint(w, e.answer)
}

func good(token string, expiry time.Time) string {
	return fmt.Sprintf(`<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult>
<WebIdentityToken>%s</WebIdentityToken><Expiration>%s</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
		token, expiry.Format(time.RFC3339))
}

func refused(code, message string) string {
	return fmt.Sprintf(`<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>`, code, message)
}

// environment has the SDK use an endpoint with static credentials, and nothing of this machine.
func environment(t *testing.T, e *endpoint) {
	t.Helper()
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_STS": server.URL, "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "topsecret",
		"AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(t.TempDir(), "none"),
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_PROFILE": "", "AWS_SESSION_TOKEN": "", "AWS_DEFAULT_REGION": "",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "",
	} {
		t.Setenv(name, value)
	}
}

func TestFetchAsksForWhatIsWanted(t *testing.T) {
	expiry := time.Date(2026, 1, 2, 3, 19, 5, 0, time.UTC)
	e := &endpoint{status: 200, answer: good("the.signed.token", expiry)}
	environment(t, e)
	token, err := Fetch(t.Context(), Options{Audience: "https://pop.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Token{"the.signed.token", expiry}, token); diff != "" {
		t.Errorf("token (-want +got):\n%s", diff)
	}
	want := url.Values{
		"Action": {"GetWebIdentityToken"}, "Version": {"2011-06-15"}, "Audience.member.1": {"https://pop.example.com"},
		"SigningAlgorithm": {"ES384"}, "DurationSeconds": {"900"},
	}
	if diff := cmp.Diff(want, e.got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if !strings.Contains(e.signed, "/eu-west-1/sts/aws4_request") {
		t.Errorf("signed %q, want it for the region", e.signed)
	}
	if _, err := Fetch(t.Context(), Options{Audience: "a", Region: "us-west-2", Lifetime: time.Hour, Algorithm: "RS256"}); err != nil {
		t.Fatal(err)
	}
	if e.got.Get("SigningAlgorithm") != "RS256" || e.got.Get("DurationSeconds") != "3600" || !strings.Contains(e.signed, "/us-west-2/") {
		t.Errorf("options are not asked for: %v, signed %q", e.got, e.signed)
	}
}

func TestErrorsSayWhatHelps(t *testing.T) {
	for name, tc := range map[string]struct {
		code, want string
		env        map[string]string
	}{
		"denied permission":   {code: "AccessDenied", want: "allow the role the action sts:GetWebIdentityToken"},
		"not enabled":         {code: "OutboundWebIdentityFederationDisabledException", want: "enable-outbound-web-identity-federation"},
		"expired credentials": {code: "ExpiredToken", want: "renew them"},
		"clock skew":          {code: "SignatureDoesNotMatch", want: "set the clock"},
		"request expired":     {code: "RequestExpired", want: "set the clock"},
		"unknown credentials": {code: "InvalidClientTokenId", want: "does not know the credentials"},
		"region turned off":   {code: "RegionDisabledException", want: "turned off in region eu-west-1"},
		"global endpoint":     {code: "InvalidAction", want: "name a region"},
		"something else":      {code: "Strange", want: "STS in eu-west-1 refuses"},
		"no region":           {env: map[string]string{"AWS_REGION": ""}, want: "set AWS_REGION"},
		"no credentials":      {env: map[string]string{"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, want: "no AWS credentials are found"},
		"wrong region":        {env: map[string]string{"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}, want: "cannot be reached: see whether the region is right"},
		"no token":            {want: "holds no token"},
	} {
		t.Run(name, func(t *testing.T) {
			e := &endpoint{status: 403, answer: refused(tc.code, "why it is so")}
			if tc.code == "" {
				e = &endpoint{status: 200, answer: "<GetWebIdentityTokenResponse><GetWebIdentityTokenResult/></GetWebIdentityTokenResponse>"}
			}
			environment(t, e)
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			_, err := Fetch(t.Context(), Options{Audience: "a"})
			if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "topsecret") {
				t.Errorf("error %v, want it to say %q", err, tc.want)
			}
			if tc.code != "" && (!strings.Contains(fmt.Sprint(err), tc.code) || !strings.Contains(fmt.Sprint(err), "why it is so")) {
				t.Errorf("error %v does not hold what AWS says", err)
			}
		})
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	environment(t, &endpoint{status: 200})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, Options{Audience: "a"}); err == nil {
		t.Error("no error")
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"no audience":       {Options{}, "--audience"},
		"too short":         {Options{Audience: "a", Lifetime: time.Second}, "--lifetime must be from 1m0s to 1h0m0s"},
		"too long":          {Options{Audience: "a", Lifetime: 2 * time.Hour}, "--lifetime must be"},
		"unknown algorithm": {Options{Audience: "a", Algorithm: "HS256"}, "ES384 or RS256"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.o.Check(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want it to say %q", err, tc.want)
			}
		})
	}
	if err := (Options{Audience: "a", Lifetime: time.Minute, Algorithm: "RS256"}).Check(); err != nil {
		t.Error(err)
	}
}
