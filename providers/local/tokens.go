package local

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pop-platform/pop/plugins/driver"
)

// hashPrefix names the hash in the file, so that another can follow it one day.
const hashPrefix = "sha256:"

// HashToken returns what the file of an [Authorizer] holds in place of a token. There is no salt: tokens are long and
// random, unlike passwords.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hashPrefix + hex.EncodeToString(sum[:])
}

// tokenTable finds principals by token.
type tokenTable struct {
	byHash map[tokenBucket][]knownToken
}

// tokenBucket is the beginning of a hash.
type tokenBucket [4]byte

type knownToken struct {
	hash      [sha256.Size]byte
	principal driver.Principal // NotAfter is the token's own
}

// find returns the principal of a token. The time it takes tells at most the first bytes of a hash.
func (t *tokenTable) find(token string) (driver.Principal, bool) {
	hash := sha256.Sum256([]byte(token))
	for _, known := range t.byHash[tokenBucket(hash[:])] {
		if subtle.ConstantTimeCompare(hash[:], known.hash[:]) == 1 {
			p := known.principal
			p.Customers, p.Roles = slices.Clone(p.Customers), slices.Clone(p.Roles)
			return p, true
		}
	}
	return driver.Principal{}, false
}

// tokenEntry is an element of tokens in the file.
type tokenEntry struct {
	Token     string        `json:"token"`
	Subject   string        `json:"subject"`
	Customers []string      `json:"customers"`
	Roles     []driver.Role `json:"roles"`
	Global    bool          `json:"global"`
	NotAfter  time.Time     `json:"notAfter"`
}

// parseTokens reads a file. Its error names a field of each entry that is wrong.
func parseTokens(text []byte) (*tokenTable, error) {
	text, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	var file struct {
		Tokens *[]json.RawMessage `json:"tokens"`
	}
	if err := decodeStrict("", text, &file); err != nil {
		return nil, err
	}
	if file.Tokens == nil {
		return nil, errors.New("tokens: is missing")
	}
	table := &tokenTable{byHash: map[tokenBucket][]knownToken{}}
	seen := map[[sha256.Size]byte]int{}
	var wrong []string
	for i, raw := range *file.Tokens {
		path := fmt.Sprintf("tokens[%d]", i)
		var entry tokenEntry
		if err := decodeStrict(path, raw, &entry); err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		known, err := entry.known()
		if err != nil {
			wrong = append(wrong, path+"."+err.Error())
			continue
		}
		if first, twice := seen[known.hash]; twice {
			wrong = append(wrong, fmt.Sprintf("%s.token: is that of tokens[%d]", path, first))
			continue
		}
		seen[known.hash] = i
		bucket := tokenBucket(known.hash[:])
		table.byHash[bucket] = append(table.byHash[bucket], known)
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	return table, nil
}

func decodeStrict(path string, text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong):
		return fmt.Errorf("%s: is a %s", strings.Trim(path+"."+wrong.Field, "."), wrong.Value)
	}
	what, _ := strings.CutPrefix(err.Error(), "json: ")
	if path == "" {
		return errors.New(what)
	}
	return fmt.Errorf("%s: %s", path, what)
}

func (e *tokenEntry) known() (knownToken, error) {
	var k knownToken
	text, ok := strings.CutPrefix(e.Token, hashPrefix)
	hash, err := hex.DecodeString(text)
	if !ok || err != nil || copy(k.hash[:], hash) < len(k.hash) || len(hash) > len(k.hash) {
		return k, fmt.Errorf("token: must be %s and the SHA-256 hash of the token in hexadecimal, never the token itself", hashPrefix)
	}
	if e.Subject == "" {
		return k, errors.New("subject: is empty")
	}
	for i, c := range e.Customers {
		switch strings.TrimSpace(c) {
		case "":
			return k, fmt.Errorf("customers[%d]: is empty", i)
		case c:
		default:
			return k, fmt.Errorf("customers[%d]: %q begins or ends with space, as no customer's id does", i, c)
		}
		e.Customers[i] = strings.ToLower(c)
	}
	slices.Sort(e.Customers)
	roles := []driver.Role{driver.RoleRead, driver.RoleSubmit, driver.RoleOperate, driver.RolePull}
	for i, r := range e.Roles {
		if !slices.Contains(roles, r) {
			return k, fmt.Errorf("roles[%d]: %q is not a role: there are %v", i, r, roles)
		}
	}
	k.principal = driver.Principal{
		Subject:   e.Subject,
		Customers: slices.Compact(e.Customers),
		Roles:     e.Roles,
		Global:    e.Global,
		NotAfter:  e.NotAfter,
	}
	return k, nil
}
