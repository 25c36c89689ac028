package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"

	"github.com/pop-platform/pop/plugins/driver"
)

// testIssuer is an issuer that serves its documents over TLS.
type testIssuer struct {
	t      testing.TB
	server *httptest.Server
	url    string
	caFile string
	reads  atomic.Int64 // of the key set

	mu      sync.Mutex
	keys    []jwk.Key
	answer  http.HandlerFunc // in place of all documents, unless nil
	keySet  []byte           // in place of the key set, unless nil
	claimed string           // issuer of the discovery document
	keysURL string           // in the discovery document
}

func newTestIssuer(t testing.TB, keys ...jwk.Key) *testIssuer {
	t.Helper()
	iss := &testIssuer{t: t, keys: keys}
	iss.server = httptest.NewUnstartedServer(iss)
	iss.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo) // handshakes that are meant to fail
	iss.server.StartTLS()
	t.Cleanup(iss.server.Close)
	iss.url, iss.claimed, iss.keysURL = iss.server.URL, iss.server.URL, iss.server.URL+"/keys"
	iss.caFile = filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: iss.server.Certificate().Raw})
	if err := os.WriteFile(iss.caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return iss
}

func (iss *testIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	if r.URL.Path == "/keys" {
		iss.reads.Add(1)
	}
	switch {
	case iss.answer != nil:
		iss.answer(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": iss.claimed, "jwks_uri": iss.keysURL})
	case r.URL.Path == "/keys" && iss.keySet != nil:
		_, _ = w.Write(iss.keySet)
	case r.URL.Path == "/keys":
		set := jwk.NewSet()
		for _, k := range iss.keys {
			public, err := k.PublicKey()
			if err == nil {
				err = set.AddKey(public)
			}
			if err != nil {
				iss.t.Error(err)
			}
		}
		_ = json.NewEncoder(w).Encode(set)
	default:
		http.NotFound(w, r)
	}
}

// change changes what the issuer serves.
func (iss *testIssuer) change(f func()) {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	f()
}

// down makes the issuer fail, or work again.
func (iss *testIssuer) down(yes bool) {
	iss.change(func() {
		iss.answer = nil
		if yes {
			iss.answer = func(w http.ResponseWriter, _ *http.Request) {
				http.Error(w, "maintenance", http.StatusServiceUnavailable)
			}
		}
	})
}

// config trusts the issuer, and gives everybody who has a group "customer-x" the customer x.
func (iss *testIssuer) config() Config {
	return Config{Issuers: []Issuer{{
		Name: "staff", URL: iss.url, CAFile: iss.caFile, Audiences: []string{"pop"},
		Rules: []Rule{
			{Match: []Match{{Claim: Claim{"groups"}, Values: []string{"admins"}}}, Global: true, Roles: []driver.Role{driver.RoleOperate, driver.RoleRead}},
			{CustomersFrom: &From{Claim: Claim{"groups"}, Prefix: "customer-"}, Roles: []driver.Role{driver.RoleRead, driver.RoleSubmit}},
		},
	}}}
}

// keyOf returns a signing key.
func keyOf(t testing.TB, id string, alg jwa.SignatureAlgorithm) jwk.Key {
	t.Helper()
	var raw any
	var err error
	switch alg {
	case jwa.RS256(), jwa.PS256():
		raw, err = rsa.GenerateKey(rand.Reader, 2048)
	case jwa.ES256():
		raw, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwa.ES384():
		raw, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jwa.ES512():
		raw, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jwa.EdDSA():
		_, raw, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no key for %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return keyFrom(t, id, raw, alg)
}

func keyFrom(t testing.TB, id string, raw any, alg jwa.SignatureAlgorithm) jwk.Key {
	t.Helper()
	k, err := jwk.Import(raw)
	if err == nil && id != "" {
		err = k.Set(jwk.KeyIDKey, id)
	}
	if err == nil {
		err = k.Set(jwk.AlgorithmKey, alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// testKey is the key of most tests: making one for each takes long.
var testKey = sync.OnceValue(func() crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

func firstKey(t testing.TB) jwk.Key { return keyFrom(t, "first", testKey(), jwa.ES256()) }

// claimsOf returns claims that are good for the issuer at a time, with changes: nil takes one away.
func (iss *testIssuer) claimsOf(now time.Time, changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": iss.url, "sub": "alice", "aud": "pop", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "groups": []string{"customer-acme"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// sign returns a token. More headers may be given.
func sign(t testing.TB, k jwk.Key, claims map[string]any, headers ...any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	h := jws.NewHeaders()
	for i := 0; i < len(headers); i += 2 {
		if err := h.Set(headers[i].(string), headers[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	alg, _ := k.Algorithm()
	text, err := jws.Sign(payload, jws.WithKey(alg, k, jws.WithProtectedHeaders(h)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// forge returns a token with a header and a signature of any kind.
func forge(t testing.TB, header, claims map[string]any, signature []byte) string {
	t.Helper()
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return part(header) + "." + part(claims) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// clock is a clock that tests set.
type clock struct{ nanos atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.nanos.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.nanos.Load()) }
func (c *clock) advance(d time.Duration) { c.nanos.Add(int64(d)) }

func bearer(token string) driver.AuthenticateRequest {
	return driver.AuthenticateRequest{Header: map[string][]string{"Authorization": {"Bearer " + token}}}
}

// open returns an authorizer with a clock.
func open(t testing.TB, cfg Config, c *clock) *Authorizer {
	t.Helper()
	a, err := New(cfg, Options{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close(t.Context()) })
	return a
}
