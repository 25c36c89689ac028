package oidc

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/pop-platform/pop/plugins/driver"
)

func TestKeysAreReadOnceForManyTokens(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	token := sign(t, k, iss.claimsOf(c.now(), nil))
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if _, err := a.Authenticate(t.Context(), bearer(token)); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := iss.reads.Load(); n != 1 {
		t.Errorf("the keys were read %d times, want once", n)
	}
}

func TestKeysAreReadAtTheStart(t *testing.T) {
	t.Parallel()
	iss := newTestIssuer(t, firstKey(t))
	a := open(t, iss.config(), newClock())
	settle(t, a)
	if n := iss.reads.Load(); n != 1 {
		t.Errorf("the keys were read %d times, want once", n)
	}
}

func TestANewKeyIsFoundWhenItsFirstTokenComes(t *testing.T) {
	t.Parallel()
	first, second := firstKey(t), keyOf(t, "second", jwa.ES256())
	iss := newTestIssuer(t, first)
	c := newClock()
	a := open(t, iss.config(), c)
	wantAccepted(t, a, sign(t, first, iss.claimsOf(c.now(), nil)))

	iss.change(func() { iss.keys = []jwk.Key{second} })
	c.advance(keyInterval)
	wantAccepted(t, a, sign(t, second, iss.claimsOf(c.now(), nil)))
	wantRefused(t, a, sign(t, first, iss.claimsOf(c.now(), nil)), "does not publish")
}

func TestAWithdrawnKeyIsGoodForAQuarterOfAnHourAtMost(t *testing.T) {
	t.Parallel()
	first, second := firstKey(t), keyOf(t, "second", jwa.ES256())
	iss := newTestIssuer(t, first)
	c := newClock()
	a := open(t, iss.config(), c)
	token := func() string { return sign(t, first, iss.claimsOf(c.now(), nil)) }
	wantAccepted(t, a, token())
	iss.change(func() { iss.keys = []jwk.Key{second} })
	c.advance(keyRefresh - time.Second)
	wantAccepted(t, a, token())
	if n := iss.reads.Load(); n != 1 {
		t.Errorf("the keys were read %d times while they are fresh, want once", n)
	}
	c.advance(time.Second)
	wantAccepted(t, a, token()) // and has the keys read behind its back
	settle(t, a)
	wantRefused(t, a, token(), "does not publish")
}

// settle waits for attempts in flight.
func settle(t *testing.T, a *Authorizer) {
	t.Helper()
	for _, iss := range a.issuers {
		iss.keys.mu.Lock()
		flight := iss.keys.flight
		iss.keys.mu.Unlock()
		if flight != nil {
			<-flight
		}
	}
}

func TestWhileTheKeySetIsDownKnownKeysServeForADay(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	token := func() string { return sign(t, k, iss.claimsOf(c.now(), nil)) }
	wantAccepted(t, a, token())

	iss.down(true)
	for range 23 {
		c.advance(time.Hour)
		wantAccepted(t, a, token())
		settle(t, a)
	}
	if err := a.CheckHealth(t.Context()); err != nil {
		t.Errorf("not healthy although tokens are taken: %v", err)
	}
	if n := iss.reads.Load(); n != 1 {
		t.Errorf("the key set was reached %d times, want the discovery document to be asked for first", n)
	}
	c.advance(time.Hour)
	if _, err := a.Authenticate(t.Context(), bearer(token())); driver.CodeOf(err) != driver.Unavailable {
		t.Errorf("after a day: %v, want unavailable", err)
	}
	if err := a.CheckHealth(t.Context()); err == nil {
		t.Error("healthy although no token can be taken")
	}
	iss.down(false)
	c.advance(keyInterval)
	wantAccepted(t, a, token())
}

func TestAnIssuerThatIsDownAtTheStartIsAskedAgain(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	iss.down(true)
	c := newClock()
	a := open(t, iss.config(), c)
	token := sign(t, k, iss.claimsOf(c.now(), nil))
	if _, err := a.Authenticate(t.Context(), bearer(token)); driver.CodeOf(err) != driver.Unavailable {
		t.Fatalf("error %v, want unavailable", err)
	}
	iss.down(false)
	if _, err := a.Authenticate(t.Context(), bearer(token)); driver.CodeOf(err) != driver.Unavailable {
		t.Errorf("error %v within %s, want unavailable", err, keyInterval)
	}
	c.advance(keyInterval)
	wantAccepted(t, a, token)
}

func TestAStormOfForgedKeyIDsReadsTheKeysOnceInTenSeconds(t *testing.T) {
	t.Parallel()
	k, evil := firstKey(t), keyOf(t, "", jwa.ES256())
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	wantAccepted(t, a, sign(t, k, iss.claimsOf(c.now(), nil)))
	const seconds = 60
	for s := range seconds {
		var calls sync.WaitGroup
		for i := range 20 {
			token := sign(t, evil, iss.claimsOf(c.now(), nil), "kid", fmt.Sprintf("forged-%d-%d", s, i))
			calls.Go(func() {
				if _, err := a.Authenticate(t.Context(), bearer(token)); driver.CodeOf(err) != driver.Unauthenticated {
					t.Errorf("error %v, want unauthenticated", err)
				}
			})
		}
		calls.Wait()
		wantAccepted(t, a, sign(t, k, iss.claimsOf(c.now(), nil)))
		c.advance(time.Second)
	}
	// The first reading, and one every ten seconds after it.
	if n, most := iss.reads.Load(), int64(seconds/keyInterval.Seconds())+1; n > most {
		t.Errorf("1,200 forged tokens in a minute made the keys be read %d times, want at most %d", n, most)
	}
}

func TestABadSignatureOfAKnownKeyReadsNothing(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	wantAccepted(t, a, sign(t, k, iss.claimsOf(c.now(), nil)))
	c.advance(keyInterval)
	wantRefused(t, a, forge(t, map[string]any{"alg": "ES256", "kid": "first"}, iss.claimsOf(c.now(), nil), make([]byte, 64)), "signature is wrong")
	wantRefused(t, a, forge(t, map[string]any{"alg": "none", "kid": "other"}, iss.claimsOf(c.now(), nil), nil), "algorithm")
	wantRefused(t, a, sign(t, k, iss.claimsOf(c.now(), map[string]any{"iss": "https://other.example.com"})), "issuer")
	if n := iss.reads.Load(); n != 1 {
		t.Errorf("the keys were read %d times, want once", n)
	}
}

func TestWhoHangsUpDoesNotKeepOthersFromTheKeys(t *testing.T) {
	t.Parallel()
	k := firstKey(t)
	iss := newTestIssuer(t, k)
	asked, go_ := make(chan struct{}, 10), make(chan struct{})
	iss.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-go_
		iss.ServeHTTP(w, r)
	})
	c := newClock()
	a := open(t, iss.config(), c)
	token := sign(t, k, iss.claimsOf(c.now(), nil))
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := a.Authenticate(ctx, bearer(token))
		gone <- err
	}()
	<-asked
	hangUp()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	close(go_)
	wantAccepted(t, a, token) // within keyInterval of the attempt, which went on
}

func TestATokenWithoutAKeyIDIsAcceptedIfThereIsOneKeyOnly(t *testing.T) {
	t.Parallel()
	k, other := keyOf(t, "", jwa.ES256()), keyOf(t, "", jwa.ES256())
	iss := newTestIssuer(t, k)
	c := newClock()
	a := open(t, iss.config(), c)
	token := sign(t, k, iss.claimsOf(c.now(), nil))
	wantAccepted(t, a, token)
	iss.change(func() { iss.keys = []jwk.Key{k, other} })
	wantRefused(t, open(t, iss.config(), c), token, "does not publish")
}

func TestKeysThatMustNotSignAreLeftOut(t *testing.T) {
	t.Parallel()
	good, err := json.Marshal(public(t, firstKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	short := base64.RawURLEncoding.EncodeToString(weak.N.Bytes())
	for name, key := range map[string]string{
		"a shared secret":        `{"kty":"oct","kid":"first","k":"c2VjcmV0"}`,
		"for encryption":         `{"use":"enc",` + string(good[1:]),
		"another algorithm":      `{"kty":"EC","kid":"first","alg":"ES384",` + string(good[1:]),
		"an RSA key of 1024 bit": `{"kty":"RSA","kid":"first","alg":"RS256","e":"AQAB","n":"` + short + `"}`,
		"of a kind yet to come":  `{"kty":"AKP","kid":"first","alg":"ML-DSA-44","pub":"AAAA"}`,
		"broken":                 `{"kty":"EC","kid":"first"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if keys, err := parseKeys([]byte(`{"keys":[` + key + `]}`)); err == nil {
				t.Errorf("it is taken: %+v", keys)
			}
			keys, err := parseKeys([]byte(`{"keys":[` + key + `,` + string(good) + `]}`))
			if err != nil || len(keys) != 1 {
				t.Errorf("the good key beside it is not taken alone: %+v, %v", keys, err)
			}
		})
	}
}

func public(t *testing.T, k jwk.Key) jwk.Key {
	t.Helper()
	p, err := k.PublicKey()
	if err == nil {
		err = p.Remove(jwk.AlgorithmKey)
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	inside := newTestIssuer(t, firstKey(t))
	iss := newTestIssuer(t, firstKey(t))
	iss.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			http.Redirect(w, r, inside.url+r.URL.Path, http.StatusFound)
			return
		}
		iss.ServeHTTP(w, r)
	})
	err := open(t, iss.config(), newClock()).CheckHealth(t.Context())
	if err == nil || inside.reads.Load() > 0 {
		t.Errorf("error %v, %d requests got through", err, inside.reads.Load())
	}
}
