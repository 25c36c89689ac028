package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/pop-platform/pop/cmd/internal/addrtest"
	"github.com/pop-platform/pop/cmd/pop/internal/doctor"
)

// account is an AWS account: an STS endpoint that signs tokens for its roles, and the issuer that publishes the key.
type account struct {
	t    *testing.T
	url  string
	key  jwk.Key
	life time.Duration // of tokens, as STS tells it

	mu     sync.Mutex
	issued map[string]int // by role
}

func newAccount(t *testing.T) *account {
	t.Helper()
	raw, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.Import(raw)
	if err == nil {
		err = key.Set(jwk.KeyIDKey, "EC384_0")
	}
	if err != nil {
		t.Fatal(err)
	}
	a := &account{t: t, key: key, life: 15 * time.Minute, issued: map[string]int{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// credential finds the access key that a request is signed with. Access keys are the names of roles here.
var credentialOf = regexp.MustCompile(`Credential=([^/]+)/`)

func (a *account) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": a.url, "jwks_uri": a.url + "/keys"})
	case "/keys":
		public, err := a.key.PublicKey()
		if err != nil {
			a.t.Error(err)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{public}})
	default:
		a.issue(w, r)
	}
}

func (a *account) issue(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	signed := credentialOf.FindStringSubmatch(r.Header.Get("Authorization"))
	if signed == nil || r.PostForm.Get("Action") != "GetWebIdentityToken" {
		a.t.Errorf("unexpected request %s %v", r.URL, r.PostForm)
		return
	}
	role := signed[1]
	a.mu.Lock()
	a.issued[role]++
	a.mu.Unlock()
	if role == "outsider" {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform sts:GetWebIdentityToken</Message></Error></ErrorResponse>`)
		return
	}
	token := a.sign(map[string]any{
		"aud": r.PostForm.Get("Audience.member.1"), "sub": "arn:aws:iam::123456789012:role/" + role,
		"https://sts.amazonaws.com/": map[string]any{"aws_account": "123456789012", "principal_tags": map[string]string{"pop-customers": "acme"}},
	})
	_, _ = fmt.Fprintf(w, `<GetWebIdentityTokenResponse><GetWebIdentityTokenResult><WebIdentityToken>%s</WebIdentityToken><Expiration>%s</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
		token, time.Now().Add(a.life).UTC().Format(time.RFC3339))
}

// sign returns a token with the claims, which is good for an hour and of this issuer unless they say otherwise.
func (a *account) sign(claims map[string]any) string {
	now := time.Now()
	all := map[string]any{"iss": a.url, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	text, err := json.Marshal(all)
	if err != nil {
		a.t.Error(err)
	}
	token, err := jws.Sign(text, jws.WithKey(jwa.ES384(), a.key))
	if err != nil {
		a.t.Error(err)
	}
	return string(token)
}

func (a *account) tokensOf(role string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.issued[role]
}

// TestPullersAndPeopleAuthenticateAsRolesOfAWSAndAsUsersOfAPool has one server know both at once.
func TestPullersAndPeopleAuthenticateAsRolesOfAWSAndAsUsersOfAPool(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	plugin := buildPlugin(t, "cmd/pop-plugin-aws")
	aws := newAccount(t)
	aws.life = 4 * time.Second // so that tokens are replaced within the test
	pool := newAccount(t)      // of users, whose key has the same name
	file := x.write("pop.yaml", fmt.Sprintf(`
drivers: {authorizer: login}
plugins:
  login:
    linked: oidc
    config:
      issuers:
      - name: aws
        issuer: %s
        audiences: [https://pop.example.com]
        rules:
        - match: [{claim: sub, values: ["arn:aws:iam::123456789012:role/admin"]}]
          global: true
          roles: [read, operate]
        - match: [{claim: sub, values: ["arn:aws:iam::123456789012:role/puller"]}]
          global: true
          roles: [pull]
        - match: [{claim: sub, values: ["arn:aws:iam::123456789012:role/web"]}]
          customersFrom: {claim: ["https://sts.amazonaws.com/", principal_tags, pop-customers], split: /}
          roles: [read, submit]
      - name: staff
        issuer: %s
        cognito: {clients: [console], tokenUse: [access]}
        rules:
        - customersFrom: {claim: "cognito:groups", prefix: customer-}
          roles: [read]
`, aws.url, pool.url))
	addr := addrtest.Free(t)
	serving := x.background("serve", "--config", file, "--addr", addr, "--data", "srv")
	as := func(role string) *terminal {
		return &terminal{t: t, dir: x.dir, env: append(append([]string{}, x.env...),
			"POP_SERVER=http://"+addr, "POP_TOKEN_COMMAND="+plugin+" token --audience https://pop.example.com --region eu-west-1",
			"AWS_ENDPOINT_URL_STS="+aws.url, "AWS_ACCESS_KEY_ID="+role, "AWS_SECRET_ACCESS_KEY=topsecret", "AWS_EC2_METADATA_DISABLED=true")}
	}
	admin, web := as("admin"), as("web")
	c := as("nobody").client()
	eventually(t, "the server is ready", func() bool { return c.Ready(t.Context()) == nil })

	admin.do("apply", "-f", quickstart+"/objects")
	puller := as("puller").background("pull", "--insight", "text", "--handlers", quickstart+"/handlers.yaml", "--session", "w", "--work", x.dir+"/work")
	contains(t, web.do("agenda", "submit", "--template", "words", "--customer", "acme", "--watch"), "succeeded in")
	contains(t, web.fail(1, "agenda", "submit", "--template", "words", "--customer", "globex"), "aws:arn:aws:iam::123456789012:role/web does not act for", "globex")
	contains(t, as("guest").fail(1, "agenda", "list"), `this needs the role "read"`, "role/guest has none")
	contains(t, as("outsider").fail(1, "agenda", "list"), "allow the role the action sts:GetWebIdentityToken")
	contains(t, web.fail(1, "agenda", "list", "--token-command", plugin+" token --audience https://other.example.com --region eu-west-1"), "another audience")

	person := func(a *account, claims map[string]any) *terminal {
		all := map[string]any{"sub": "ann", "client_id": "console", "token_use": "access", "cognito:groups": []string{"customer-acme"}}
		maps.Copy(all, claims)
		return &terminal{t: t, dir: x.dir, env: append(append([]string{}, x.env...), "POP_SERVER=http://"+addr, "POP_TOKEN="+a.sign(all))}
	}
	ann := person(pool, nil)
	contains(t, ann.do("agenda", "list"), "succeeded")
	contains(t, ann.fail(1, "agenda", "submit", "--template", "words", "--customer", "acme"), "staff:ann")
	contains(t, person(aws, map[string]any{"iss": pool.url}).fail(1, "agenda", "list"), "signature is wrong")
	role := map[string]any{"iss": aws.url, "aud": "https://pop.example.com", "sub": "arn:aws:iam::123456789012:role/admin"}
	contains(t, person(pool, role).fail(1, "agenda", "list"), "signature is wrong")

	findings, status := admin.diagnose()
	if f := findings["token"]; f.Level != doctor.OK || !strings.Contains(f.Detail, "issuer "+aws.url) || status != 0 {
		t.Errorf("exit status %d, %+v", status, findings)
	}
	findings, status = as("outsider").diagnose()
	if f := findings["token"]; f.Level != doctor.Fail || !strings.Contains(f.Detail, "allow the role") || status != 1 {
		t.Errorf("exit status %d, %+v", status, findings)
	}

	eventually(t, "the puller's token is replaced before it ends", func() bool { return aws.tokensOf("puller") >= 2 })
	contains(t, web.do("agenda", "submit", "--template", "words", "--customer", "acme", "--watch"), "succeeded in")
	for _, secret := range []string{"topsecret", "eyJ"} {
		if strings.Contains(serving.log.String()+puller.log.String(), secret) {
			t.Errorf("%s is in a log", secret)
		}
	}
}

func TestDoctorFindsWhatIsWrongWithIssuers(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	aws := newAccount(t)
	write := func(issuer, rule string) string {
		return x.write("pop.yaml", fmt.Sprintf(`
drivers: {authorizer: login}
plugins:
  login:
    linked: oidc
    config:
      issuers:
      - {name: aws, issuer: %q, audiences: [pop], rules: [{match: [{claim: sub, values: [me]}], global: true, %s}]}
`, issuer, rule))
	}
	findings, _ := x.diagnose("--config", write(aws.url, "roles: [read]"))
	if f := findings["backends"]; f.Level != doctor.OK {
		t.Errorf("an issuer that works: %+v", f)
	}
	findings, status := x.diagnose("--config", write("http://"+addrtest.Free(t), "roles: [read]"))
	if f := findings["backends"]; status != 1 || f.Level != doctor.Fail || !strings.Contains(f.Detail, `issuer "aws"`) || !strings.Contains(f.Detail, "network") {
		t.Errorf("an issuer that is away: exit status %d, %+v", status, f)
	}
	findings, _ = x.diagnose("--config", write(aws.url+"/", "roles: [read]"))
	if f := findings["backends"]; f.Level != doctor.Fail || !strings.Contains(f.Detail, "write the issuer exactly so") {
		t.Errorf("an issuer with another name: %+v", f)
	}
	file := write(aws.url, "roles: [root]")
	findings, _ = x.diagnose("--config", file)
	if f := findings["configuration"]; f.Level != doctor.Fail || !strings.Contains(f.Detail, "plugins.login.config.issuers[0].rules[0].roles[0]: \"root\" is not one of") {
		t.Errorf("a rule with an unknown role: %+v", f)
	}
	contains(t, x.fail(1, "config", "validate", "--config", file), "plugins.login.config.issuers[0].rules[0].roles[0]: ")
	contains(t, x.fail(1, "serve", "--config", file), "plugins.login.config.issuers[0].rules[0].roles[0]: ")
}
