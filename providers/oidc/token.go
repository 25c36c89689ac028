package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jws"
)

// maxTokenBytes is the longest token that is looked at.
const maxTokenBytes = 16 << 10

// maxSubject is the longest sub that is taken. OpenID Connect allows 255; names of roles of AWS may be longer.
const maxSubject = 1024

// leeway is by how much the clocks of an issuer and of this machine may differ.
const leeway = time.Minute

// refusal is why a token is refused, in words for the caller. It never holds anything of the token.
type refusal string

func (r refusal) Error() string { return string(r) }

// token is a JSON Web Token in its compact form, of which nothing can be trusted before verify.
type token struct {
	text   string
	header header
	claims claims
}

// header is what a token says about its signature.
type header struct {
	Algorithm string          `json:"alg"`
	KeyID     string          `json:"kid"`
	Type      string          `json:"typ"`
	Critical  json.RawMessage `json:"crit"`
}

// claims are what a token says.
type claims map[string]any

const malformed = refusal("the bearer token is not a JSON Web Token that is signed")

func parseToken(text string) (token, error) {
	if len(text) > maxTokenBytes {
		return token{}, refusal(fmt.Sprintf("the bearer token is longer than %d bytes", maxTokenBytes))
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 { // five are an encrypted token
		return token{}, malformed
	}
	t := token{text: text}
	if decodePart(parts[0], &t.header) != nil || decodePart(parts[1], &t.claims) != nil || t.claims == nil {
		return token{}, malformed
	}
	if _, err := decodeBase64(parts[2]); err != nil {
		return token{}, malformed
	}
	return t, nil
}

// decodeBase64 takes each value in one spelling only.
func decodeBase64(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, malformed // which the decoder would pass over
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

func decodePart(part string, v any) error {
	text, err := decodeBase64(part)
	if err != nil {
		return err
	}
	return decodeJSON(text, v)
}

// decodeJSON keeps numbers as they are written.
func decodeJSON(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return malformed
	}
	return nil
}

// tokenTypes are the types of tokens that are meant to be shown to an API. There are others that an issuer signs with the same
// keys, such as those that tell of a logout.
var tokenTypes = []string{"", "jwt", "at+jwt", "application/at+jwt"}

// admits reports whether the issuer signs tokens as the header says. It goes first: a token that fails here never makes keys be
// read.
func (iss *Issuer) admits(h header) error {
	switch {
	case !slices.Contains(iss.algorithms(), h.Algorithm):
		return refusal(fmt.Sprintf("the token's signature is not of an algorithm that is taken from issuer %q: %s",
			iss.Name, strings.Join(iss.algorithms(), ", ")))
	case h.Critical != nil:
		return refusal("the token has an extension (crit) that is not known here")
	case !slices.Contains(tokenTypes, strings.ToLower(h.Type)):
		return refusal("the token's type (typ) is not that of an access or identity token")
	}
	return nil
}

// verify checks the signature against keys of the token's id and algorithm.
func (t token) verify(keys []key) error {
	for _, k := range keys {
		if _, err := jws.Verify([]byte(t.text), jws.WithKey(k.algorithm, k.public), jws.WithAlgorithmMatch(true), jws.WithCompact()); err == nil {
			return nil
		}
	}
	return refusal("the token's signature is wrong")
}

// check decides whether verified claims are good now and meant for this server, and returns when they cease to be good.
func (iss *Issuer) check(c claims, now time.Time) (expires time.Time, err error) {
	expires, ok := c.time("exp")
	if !ok {
		return expires, refusal("the token does not say when it expires (exp)")
	}
	if !now.Add(-leeway).Before(expires) {
		return expires, refusal("the token has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		if _, there := c[name]; !there {
			continue
		}
		from, ok := c.time(name)
		if !ok {
			return expires, refusal("the token has a time that cannot be read (" + name + ")")
		}
		if now.Add(leeway).Before(from) {
			return expires, refusal("the token is not valid yet (" + name + "): are the clocks right?")
		}
	}
	switch sub := c.text("sub"); {
	case sub == "":
		return expires, refusal("the token does not say whose it is (sub)")
	case len(sub) > maxSubject:
		return expires, refusal(fmt.Sprintf("the token's subject (sub) is longer than %d bytes", maxSubject))
	}
	if iss.Cognito != nil {
		return expires, iss.Cognito.check(c)
	}
	if !overlap(c.texts("aud"), iss.Audiences) {
		return expires, refusal("the token is meant for another audience (aud)")
	}
	return expires, nil
}

// check decides whether claims of a user pool are of a client and a use that are taken. Access tokens of Cognito have no
// audience, but the client that they were issued to.
func (cog *Cognito) check(c claims) error {
	use := c.text("token_use")
	if !slices.Contains(cog.uses(), use) {
		return refusal("the token is for another use (token_use) than is taken: " + strings.Join(cog.uses(), ", "))
	}
	clients := c.texts("aud")
	if use == useAccess {
		clients = c.texts("client_id")
	}
	if !overlap(clients, cog.Clients) {
		return refusal("the token was issued to another client (aud or client_id)")
	}
	return nil
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
}

// text returns a claim that is text, and "" for any other.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// texts returns a claim that is text or a list of it.
func (c claims) texts(path ...string) []string {
	var value any = map[string]any(c)
	for _, name := range path {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var texts []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case bool:
			texts = append(texts, fmt.Sprint(v))
		case json.Number:
			texts = append(texts, v.String())
		}
	}
	return texts
}

// time returns a claim that is a number of seconds since 1970.
func (c claims) time(name string) (time.Time, bool) {
	number, ok := c[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := number.Float64()
	if err != nil || seconds < 0 || seconds > math.MaxInt32*1000 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
