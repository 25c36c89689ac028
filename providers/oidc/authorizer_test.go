package oidc

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lestrrat-go/jwx/v3/jwa"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
)

// wantRefused checks that a token is refused for a reason.
func wantRefused(t *testing.T, a *Authorizer, token, reason string) {
	t.Helper()
	p, err := a.Authenticate(t.Context(), bearer(token))
	if driver.CodeOf(err) != driver.Unauthenticated || err == nil {
		t.Fatalf("principal %+v, error %v; want unauthenticated", p, err)
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("refused with %q, which does not say %q", err, reason)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			t.Errorf("the error %q holds a part of the token", err)
		}
	}
}

func wantAccepted(t *testing.T, a *Authorizer, token string) driver.Principal {
	t.Helper()
	p, err := a.Authenticate(t.Context(), bearer(token))
	if err != nil {
		t.Fatalf("the token was refused: %v", err)
	}
	return p
}

func TestAuthorizerConforms(t *testing.T) {
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	now := time.Now()
	token := func(changes map[string]any) driver.AuthenticateRequest {
		return bearer(sign(t, k, iss.claimsOf(now, changes)))
	}
	caps, err := (&Authorizer{}).Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	drivertest.RunAuthorizer(t, drivertest.AuthorizerHarness{
		Capabilities: caps,
		Open: func(t *testing.T) driver.Authorizer {
			a, err := New(iss.config(), Options{})
			if err != nil {
				t.Fatal(err)
			}
			return a
		},
		Known: map[string]drivertest.KnownCaller{
			"customers": {Request: token(map[string]any{"groups": []string{"customer-Zeta", "customer-acme", "customer-ACME", "others"}}), Want: driver.Principal{
				Subject: "staff:alice", Customers: []string{"acme", "zeta"}, Roles: []driver.Role{driver.RoleRead, driver.RoleSubmit},
			}},
			"global": {Request: token(map[string]any{"groups": "admins"}), Want: driver.Principal{
				Subject: "staff:alice", Roles: []driver.Role{driver.RoleRead, driver.RoleOperate}, Global: true,
			}},
			"no rule applies": {Request: token(map[string]any{"groups": nil}), Want: driver.Principal{Subject: "staff:alice"}},
		},
		Refused: map[string]driver.AuthenticateRequest{
			"expired":            token(map[string]any{"exp": now.Add(-time.Hour).Unix()}),
			"another audience":   token(map[string]any{"aud": "other"}),
			"another issuer":     token(map[string]any{"iss": "https://elsewhere.example.com"}),
			"an unknown key":     bearer(sign(t, keyOf(t, "other", jwa.ES256()), iss.claimsOf(now, nil))),
			"not a token":        bearer("opaque-access-token"),
			"basic":              {Header: map[string][]string{"Authorization": {"Basic dXNlcjpwYXNzd29yZA=="}}},
			"two authorizations": {Header: map[string][]string{"Authorization": {"Bearer abcdefghij", "Bearer klmnopqrst"}}},
		},
	})
}

func TestTokensAreRefused(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	now := c.now()
	good := iss.claimsOf(now, nil)
	wantAccepted(t, a, sign(t, k, good))
	claims := func(changes map[string]any) string { return sign(t, k, iss.claimsOf(now, changes)) }
	stolen := sign(t, k, good)
	body, signature := stolen[:strings.LastIndex(stolen, ".")], stolen[strings.LastIndex(stolen, ".")+1:]
	evil := keyOf(t, "evil", jwa.ES256())
	flipped := []byte(signature)
	flipped[5] = map[bool]byte{true: 'B', false: 'A'}[flipped[5] == 'A']

	for name, tc := range map[string]struct{ token, reason string }{
		"wrong issuer":                          {claims(map[string]any{"iss": iss.url + "/"}), "issuer that is not trusted"},
		"no issuer":                             {claims(map[string]any{"iss": nil}), "issuer that is not trusted"},
		"issuer that is no text":                {claims(map[string]any{"iss": []string{iss.url}}), "issuer that is not trusted"},
		"wrong audience":                        {claims(map[string]any{"aud": "pop-staging"}), "another audience"},
		"wrong audiences":                       {claims(map[string]any{"aud": []string{"a", "b"}}), "another audience"},
		"no audience":                           {claims(map[string]any{"aud": nil}), "another audience"},
		"expired":                               {claims(map[string]any{"exp": now.Add(-leeway).Unix()}), "has expired"},
		"no expiry":                             {claims(map[string]any{"exp": nil}), "does not say when it expires"},
		"expiry that is a text":                 {claims(map[string]any{"exp": "2099-01-01"}), "does not say when it expires"},
		"expiry beyond all times":               {claims(map[string]any{"exp": 1e300}), "does not say when it expires"},
		"not valid yet":                         {claims(map[string]any{"nbf": now.Add(leeway + 2*time.Second).Unix()}), "not valid yet"},
		"issued in the future":                  {claims(map[string]any{"iat": now.Add(leeway + 2*time.Second).Unix()}), "not valid yet"},
		"beginning that is a text":              {claims(map[string]any{"nbf": "now"}), "cannot be read (nbf)"},
		"no subject":                            {claims(map[string]any{"sub": nil}), "does not say whose it is"},
		"endless subject":                       {claims(map[string]any{"sub": strings.Repeat("x", maxSubject+1)}), "longer than 1024 bytes"},
		"alg none":                              {forge(t, map[string]any{"alg": "none"}, good, nil), "not of an algorithm"},
		"alg none, spelled otherwise":           {forge(t, map[string]any{"alg": "nOnE", "kid": "first"}, good, nil), "not of an algorithm"},
		"no alg":                                {forge(t, map[string]any{"kid": "first"}, good, []byte("x")), "not of an algorithm"},
		"alg of another key type":               {forge(t, map[string]any{"alg": "RS256", "kid": "first"}, good, make([]byte, 256)), "does not publish"},
		"forged signature":                      {forge(t, map[string]any{"alg": "ES256", "kid": "first"}, good, make([]byte, 64)), "signature is wrong"},
		"no signature":                          {forge(t, map[string]any{"alg": "ES256", "kid": "first"}, good, nil), "signature is wrong"},
		"changed signature":                     {body + "." + string(flipped), "signature is wrong"},
		"signature of other claims":             {strings.Join([]string{strings.Split(stolen, ".")[0], strings.Split(claims(map[string]any{"groups": "admins"}), ".")[1], signature}, "."), "signature is wrong"},
		"critical extension":                    {forge(t, map[string]any{"alg": "ES256", "kid": "first", "crit": []string{"exp"}}, good, []byte("x")), "extension"},
		"critical extension that is null":       {forge(t, map[string]any{"alg": "ES256", "kid": "first", "crit": nil}, good, []byte("x")), "extension"},
		"token of a logout":                     {sign(t, k, good, "typ", "logout+jwt"), "type (typ)"},
		"key in the token":                      {sign(t, evil, good, "jwk", public(t, evil)), "does not publish"},
		"address of keys in the token":          {sign(t, evil, good, "jku", "https://evil.example.com/keys"), "does not publish"},
		"line break in the token":               {stolen[:50] + "\n" + stolen[50:], "not a JSON Web Token"},
		"oversize token":                        {claims(map[string]any{"padding": strings.Repeat("x", maxTokenBytes)}), "longer than 16384 bytes"},
		"encrypted token":                       {"eyJhbGciOiJkaXIifQ..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA", "not a JSON Web Token"},
		"two parts":                             {"eyJhbGciOiJub25lIn0.e30", "not a JSON Web Token"},
		"claims that are null":                  {"eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte("null")) + ".AAAA", "not a JSON Web Token"},
		"claims that are a list":                {"eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte("[]")) + ".AAAA", "not a JSON Web Token"},
		"padding in base64":                     {strings.Replace(stolen, ".", "=.", 1), "not a JSON Web Token"},
		"blank after the token":                 {stolen + " ", "not a JSON Web Token"},
		"signature in another spelling":         {body + "." + respell(signature), "not a JSON Web Token"},
		"token in the form of a JSON document":  {`{"payload":"e30","signatures":[]}`, "not a JSON Web Token"},
		"a hundred thousand brackets as claims": {"eyJhbGciOiJFUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("[", 11000))) + ".AAAA", "not a JSON Web Token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, a, tc.token, tc.reason)
		})
	}
}

// respell returns a base64 text that a lax decoder reads the same.
func respell(s string) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, s[len(s)-1])
	return s[:len(s)-1] + string(digits[last|1]) // the last bits of 64 bytes mean nothing
}

func TestATokenIsRefusedWhicheverByteOfItIsChanged(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	token := sign(t, k, iss.claimsOf(c.now(), nil))
	for i := range token {
		for _, other := range []byte{'A', 'g', '_', '.', '=', 0x80} {
			changed := []byte(token)
			if changed[i] = other; string(changed) == token {
				continue
			}
			if p, err := a.Authenticate(t.Context(), bearer(string(changed))); driver.CodeOf(err) != driver.Unauthenticated || err == nil {
				t.Errorf("with %q at byte %d of %q: %+v, %v", other, i, token, p, err)
			}
		}
	}
}

func TestASharedSecretMadeOfThePublicKeyIsRefused(t *testing.T) {
	t.Parallel()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	k := keyFrom(t, "first", private, jwa.RS256())
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	claims := iss.claimsOf(c.now(), nil)
	wantAccepted(t, a, sign(t, k, claims))

	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string][]byte{"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "DER": der, "modulus": private.N.Bytes()} {
		unsigned := forge(t, map[string]any{"alg": "HS256", "kid": "first"}, claims, nil)
		unsigned = strings.TrimSuffix(unsigned, ".")
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(unsigned))
		token := unsigned + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefused(t, a, token, "not of an algorithm")
		})
	}
}

func TestASymmetricKeyInTheKeySetSignsNothing(t *testing.T) {
	t.Parallel()
	iss := newTestIssuer(t, firstKey(t))
	secret := []byte("a secret of thirty-two bytes, ok")
	iss.keySet = []byte(`{"keys":[{"kty":"oct","kid":"first","alg":"HS256","k":"` + base64.RawURLEncoding.EncodeToString(secret) + `"}]}`)
	c := newClock()
	token := sign(t, keyFrom(t, "first", secret, jwa.HS256()), iss.claimsOf(c.now(), nil))
	wantRefused(t, open(t, iss.config(), c), token, "not of an algorithm")
}

func TestEveryAsymmetricAlgorithmIsAcceptedUnlessTheIssuerIsHeldToSome(t *testing.T) {
	t.Parallel()
	for _, alg := range []jwa.SignatureAlgorithm{jwa.RS256(), jwa.PS256(), jwa.ES256(), jwa.ES384(), jwa.ES512(), jwa.EdDSA()} {
		t.Run(alg.String(), func(t *testing.T) {
			t.Parallel()
			k := keyOf(t, "k", alg)
			iss := newTestIssuer(t, k)
			c := newClock()
			token := sign(t, k, iss.claimsOf(c.now(), nil))
			wantAccepted(t, open(t, iss.config(), c), token)

			strict := iss.config()
			strict.Issuers[0].Algorithms = []string{"RS512"}
			wantRefused(t, open(t, strict, c), token, "RS512")
		})
	}
}

func TestClocksMayDifferByAMinute(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	now := c.now()
	p := wantAccepted(t, a, sign(t, k, iss.claimsOf(now, map[string]any{"exp": now.Add(-leeway + time.Second).Unix()})))
	if p.NotAfter.After(now) {
		t.Errorf("a token that is over is remembered until %s", p.NotAfter)
	}
	wantAccepted(t, a, sign(t, k, iss.claimsOf(now, map[string]any{"nbf": now.Add(leeway).Unix(), "iat": now.Add(leeway).Unix()})))
}

func TestAPrincipalIsRememberedForFiveMinutesOrAsLongAsTheToken(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	now := c.now()
	for life, want := range map[time.Duration]time.Duration{time.Hour: trust, time.Minute: time.Minute} {
		p := wantAccepted(t, a, sign(t, k, iss.claimsOf(now, map[string]any{"exp": now.Add(life).Unix()})))
		if got := p.NotAfter.Sub(now); got != want {
			t.Errorf("a token that is good for %s is remembered for %s, want %s", life, got, want)
		}
	}
}

func TestATokenOfOneIssuerIsNeverTakenForOneOfAnother(t *testing.T) {
	t.Parallel()
	mine, theirs := firstKey(t), keyOf(t, "first", jwa.ES256())
	staff, partners := newTestIssuer(t, mine), newTestIssuer(t, theirs)
	cfg := staff.config()
	second := partners.config().Issuers[0]
	second.Name = "partners"
	second.Rules = second.Rules[1:]
	cfg.Issuers = append(cfg.Issuers, second)
	c := newClock()
	a := open(t, cfg, c)
	admin := map[string]any{"groups": []string{"admins", "customer-globex"}}

	wantRefused(t, a, sign(t, theirs, staff.claimsOf(c.now(), admin)), "signature is wrong")
	p := wantAccepted(t, a, sign(t, theirs, partners.claimsOf(c.now(), admin)))
	want := driver.Principal{Subject: "partners:alice", Customers: []string{"globex"}, Roles: []driver.Role{driver.RoleRead, driver.RoleSubmit}}
	p.NotAfter = time.Time{}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("the rules of one issuer reached another (-want +got):\n%s", diff)
	}
	if got := wantAccepted(t, a, sign(t, mine, staff.claimsOf(c.now(), nil))).Subject; got != "staff:alice" {
		t.Errorf("subject %q, want it to tell the issuers apart", got)
	}
}

func TestCognitoTokens(t *testing.T) {
	t.Parallel()
	k := keyOf(t, "pool", jwa.RS256())
	iss := newTestIssuer(t, k)
	c := newClock()
	config := func(uses ...string) Config {
		cfg := iss.config()
		cfg.Issuers[0].Audiences, cfg.Issuers[0].Cognito = nil, &Cognito{Clients: []string{"app", "cli"}, TokenUse: uses}
		cfg.Issuers[0].Rules = []Rule{{CustomersFrom: &From{Claim: Claim{"cognito:groups"}}, RolesFrom: &From{Claim: Claim{"scope"}, Split: " ", Prefix: "pop/"}}, {
			CustomersFrom: &From{Claim: Claim{"cognito:groups"}}, Roles: []driver.Role{driver.RoleRead},
		}}
		return cfg
	}
	both, onlyAccess := open(t, config(), c), open(t, config("access"), c)
	token := func(changes map[string]any) string {
		all := map[string]any{"aud": nil, "groups": nil, "cognito:groups": []string{"acme"}}
		maps.Copy(all, changes)
		return sign(t, k, iss.claimsOf(c.now(), all))
	}
	access := token(map[string]any{"token_use": "access", "client_id": "cli", "scope": "openid pop/submit pop/read pop/root"})
	id := token(map[string]any{"token_use": "id", "aud": "app"})

	p := wantAccepted(t, onlyAccess, access)
	want := driver.Principal{Subject: "staff:alice", Customers: []string{"acme"}, Roles: []driver.Role{driver.RoleRead, driver.RoleSubmit}, NotAfter: p.NotAfter}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("principal of an access token (-want +got):\n%s", diff)
	}
	want.Roles = []driver.Role{driver.RoleRead}
	if diff := cmp.Diff(want, wantAccepted(t, both, id)); diff != "" {
		t.Errorf("principal of an identity token (-want +got):\n%s", diff)
	}
	wantRefused(t, onlyAccess, id, "another use (token_use) than is taken: access")
	wantRefused(t, both, token(map[string]any{"client_id": "cli"}), "another use")
	wantRefused(t, both, token(map[string]any{"token_use": "refresh", "client_id": "cli"}), "another use")
	wantRefused(t, both, token(map[string]any{"token_use": "access", "client_id": "stranger"}), "another client")
	wantRefused(t, both, token(map[string]any{"token_use": "access", "aud": "app"}), "another client")
	wantRefused(t, both, token(map[string]any{"token_use": "id", "client_id": "cli"}), "another client")
}

func TestTokensOfAWSIAM(t *testing.T) {
	t.Parallel()
	k := keyOf(t, "EC384_0", jwa.ES384())
	iss := newTestIssuer(t, k)
	c := newClock()
	const aws = "https://sts.amazonaws.com/"
	puller := "arn:aws:iam::123456789012:role/pop-puller"
	cfg := iss.config()
	cfg.Issuers[0].Name = "aws"
	cfg.Issuers[0].Rules = []Rule{
		{Match: []Match{{Claim{"sub"}, []string{puller}}}, Customers: []string{"operator"}, Roles: []driver.Role{driver.RolePull}},
		{
			Match:         []Match{{Claim{aws, "aws_account"}, []string{"123456789012"}}, {Claim{aws, "org_id"}, []string{"o-abc"}}},
			CustomersFrom: &From{Claim: Claim{aws, "principal_tags", "pop-customers"}, Split: "/"}, Roles: []driver.Role{driver.RoleSubmit},
		},
	}
	a := open(t, cfg, c)
	token := func(sub string, about map[string]any) string {
		return sign(t, k, iss.claimsOf(c.now(), map[string]any{"sub": sub, "groups": nil, aws: about}))
	}
	for name, tc := range map[string]struct {
		token string
		want  driver.Principal
	}{
		"a role by its ARN": {token(puller, nil), driver.Principal{Customers: []string{"operator"}, Roles: []driver.Role{driver.RolePull}}},
		"customers of a tag": {
			token("arn:aws:iam::123456789012:role/web", map[string]any{
				"aws_account": "123456789012", "org_id": "o-abc", "principal_tags": map[string]any{"pop-customers": "Acme/globex"},
				"request_tags": map[string]any{"pop-customers": "initech"},
			}),
			driver.Principal{Customers: []string{"acme", "globex"}, Roles: []driver.Role{driver.RoleSubmit}},
		},
		"the tag of the call is not the role's": {token("x", map[string]any{
			"aws_account": "123456789012", "org_id": "o-abc", "request_tags": map[string]any{"pop-customers": "initech"},
		}), driver.Principal{}},
		"a role of the same name in another account": {token("arn:aws:iam::999999999999:role/pop-puller", map[string]any{"aws_account": "999999999999", "org_id": "o-abc"}), driver.Principal{}},
		"a role whose name begins so":                {token(puller+"-evil", nil), driver.Principal{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := wantAccepted(t, a, tc.token)
			p.Subject, p.NotAfter = "", time.Time{}
			if diff := cmp.Diff(tc.want, p); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHealthNamesTheIssuerAndWhatHelps(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(*testIssuer, *Config)
		want  string
	}{
		"an authority of its own": {func(_ *testIssuer, cfg *Config) { cfg.Issuers[0].CAFile = "" }, "caFile"},
		"away":                    {func(iss *testIssuer, _ *Config) { iss.server.Close() }, "network"},
		"no discovery document": {func(_ *testIssuer, cfg *Config) {
			cfg.Issuers[0].URL += "/realms/other"
		}, "404 Not Found; see whether the issuer's address is right"},
		"document of another issuer": {func(iss *testIssuer, _ *Config) { iss.claimed += "/" }, "write the issuer exactly so"},
		"keys over plain http":       {func(iss *testIssuer, _ *Config) { iss.keysURL = "http://example.com/keys" }, "must begin with https://"},
		"keys on this machine":       {func(iss *testIssuer, _ *Config) { iss.keysURL = "http://127.0.0.1:2375/keys" }, "as the issuer does"},
		"no keys":                    {func(iss *testIssuer, _ *Config) { iss.keySet = []byte(`{"keys":[]}`) }, "holds no public key"},
		"not keys":                   {func(iss *testIssuer, _ *Config) { iss.keySet = []byte(`<html>`) }, "not a JSON Web Key Set"},
		"endless keys": {func(iss *testIssuer, _ *Config) {
			iss.keySet = []byte(`{"keys":[],"more":"` + strings.Repeat("x", maxDocument) + `"}`)
		}, "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			iss := newTestIssuer(t, firstKey(t))
			cfg := iss.config()
			tc.spoil(iss, &cfg)
			a := open(t, cfg, newClock())
			err := a.CheckHealth(t.Context())
			if driver.CodeOf(err) != driver.Unavailable || err == nil {
				t.Fatalf("error %v, want unavailable", err)
			}
			for _, want := range []string{`issuer "staff"`, tc.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
		})
	}
	iss := newTestIssuer(t, firstKey(t))
	if err := open(t, iss.config(), newClock()).CheckHealth(t.Context()); err != nil {
		t.Errorf("an issuer that works is not healthy: %v", err)
	}
}

func TestACallerIsNotToldWhereTheKeysAre(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	iss.down(true)
	c := newClock()
	_, err := open(t, iss.config(), c).Authenticate(t.Context(), bearer(sign(t, k, iss.claimsOf(c.now(), nil))))
	var e *driver.Error
	if !errors.As(err, &e) || e.Code != driver.Unavailable || e.RetryAfter == 0 {
		t.Fatalf("error %v, want unavailable and when to come again", err)
	}
	if strings.Contains(e.Error(), "127.0.0.1") {
		t.Errorf("the error %q gives the issuer's address away", e)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	for _, alg := range []jwa.SignatureAlgorithm{jwa.RS256(), jwa.ES256(), jwa.EdDSA()} {
		b.Run(alg.String(), func(b *testing.B) {
			k := keyOf(b, "k", alg)
			iss := newTestIssuer(b, k)
			c := newClock()
			a := open(b, iss.config(), c)
			req := bearer(sign(b, k, iss.claimsOf(c.now(), nil)))
			for b.Loop() {
				if _, err := a.Authenticate(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
