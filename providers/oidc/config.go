package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pop-platform/pop/plugins/driver"
)

// Config says which tokens are taken and what they are worth.
type Config struct {
	Issuers []Issuer `json:"issuers" jsonschema:"whose tokens are taken"`
}

// Issuer is one that tokens are taken from.
type Issuer struct {
	Name        string   `json:"name" jsonschema:"stands before the subject of every caller of this issuer, and in messages"`
	URL         string   `json:"issuer" jsonschema:"what the claim iss must be, to the letter, and where the keys are looked up"`
	Audiences   []string `json:"audiences,omitempty" jsonschema:"a token must have one of them as aud; not for Cognito"`
	Cognito     *Cognito `json:"cognito,omitempty" jsonschema:"for an Amazon Cognito user pool, in place of audiences"`
	Algorithms  []string `json:"algorithms,omitempty" jsonschema:"signatures that are taken; default all that are asymmetric"`
	KeysURL     string   `json:"keysUrl,omitempty" jsonschema:"where the keys are, for an issuer without a discovery document"`
	CAFile      string   `json:"caFile,omitempty" jsonschema:"file of certificates, in PEM, that are trusted besides the system's to be the issuer"`
	TrustClaims []Claim  `json:"trustClaims,omitempty" jsonschema:"claims that users can change with most issuers, and cannot with this one"`
	Rules       []Rule   `json:"rules" jsonschema:"tried in order; the first that applies says what a caller is"`
}

// Cognito is what tells tokens of an Amazon Cognito user pool apart.
type Cognito struct {
	Clients  []string `json:"clients" jsonschema:"ids of the app clients whose tokens are taken"`
	TokenUse []string `json:"tokenUse,omitempty" jsonschema:"which tokens are taken: access, id or both, which is the default"`
}

const useAccess, useID = "access", "id"

func (cog *Cognito) uses() []string {
	if len(cog.TokenUse) == 0 {
		return []string{useAccess, useID}
	}
	return cog.TokenUse
}

func (iss *Issuer) algorithms() []string {
	if len(iss.Algorithms) == 0 {
		return algorithms
	}
	return iss.Algorithms
}

// Rule says what a caller is whose claims match.
type Rule struct {
	Match         []Match       `json:"match,omitempty" jsonschema:"what has to hold, all of it"`
	Customers     []string      `json:"customers,omitempty" jsonschema:"ids of the customers that the caller acts for"`
	CustomersFrom *From         `json:"customersFrom,omitempty" jsonschema:"takes customers from a claim"`
	Roles         []driver.Role `json:"roles,omitempty" jsonschema:"of read, submit, operate and pull"`
	RolesFrom     *From         `json:"rolesFrom,omitempty" jsonschema:"takes roles from a claim"`
	Global        bool          `json:"global,omitempty" jsonschema:"the caller acts for every customer"`
}

// Match holds if a claim is one of the values, or is a list that holds one.
type Match struct {
	Claim  Claim    `json:"claim" jsonschema:"name of a claim, or the names on the way to one inside of others"`
	Values []string `json:"values" jsonschema:"the claim must be one of them, or a list that holds one"`
}

// From takes values from a claim that is text or a list of it.
type From struct {
	Claim  Claim  `json:"claim" jsonschema:"name of a claim, or the names on the way to one inside of others"`
	Split  string `json:"split,omitempty" jsonschema:"what stands between the values of a text"`
	Prefix string `json:"prefix,omitempty" jsonschema:"only values that begin so count, without it"`
}

// Claim is the name of a claim, or the names on the way to one inside of others.
type Claim []string

// UnmarshalJSON takes a text, which is a name, or a list of names.
func (c *Claim) UnmarshalJSON(text []byte) error {
	var name string
	if json.Unmarshal(text, &name) == nil {
		*c = Claim{name}
		return nil
	}
	var path []string
	if json.Unmarshal(text, &path) != nil {
		return errors.New("a claim must be a name, or a list of names")
	}
	*c = path
	return nil
}

func (c Claim) String() string { return strings.Join(c, " > ") }

// Parse reads a configuration in JSON. The error is a [ConfigError].
func Parse(text []byte) (Config, error) {
	var cfg Config
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&cfg); err != nil {
		problem := Problem{Message: strings.TrimPrefix(err.Error(), "json: ")}
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			problem = Problem{Path: wrong.Field, Message: "is a " + wrong.Value}
		}
		return Config{}, ConfigError{problem}
	}
	if problems := cfg.problems(); len(problems) > 0 {
		return Config{}, problems
	}
	return cfg, nil
}

// Problem is what is wrong with a field of a configuration.
type Problem struct {
	Path    string // such as issuers[0].rules[1].roles; empty for the whole
	Message string
}

// ConfigError are all that is wrong with a configuration.
type ConfigError []Problem

func (p ConfigError) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = strings.TrimPrefix(problem.Path+": "+problem.Message, ": ")
	}
	return strings.Join(lines, "; ")
}

// add notes a problem.
func (p *ConfigError) add(path, format string, args ...any) {
	*p = append(*p, Problem{path, fmt.Sprintf(format, args...)})
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func (cfg *Config) problems() ConfigError {
	var p ConfigError
	if len(cfg.Issuers) == 0 {
		p.add("issuers", "is empty: name at least one issuer whose tokens are taken")
	}
	names, urls := map[string]int{}, map[string]int{}
	for i := range cfg.Issuers {
		iss, path := &cfg.Issuers[i], fmt.Sprintf("issuers[%d]", i)
		if first, twice := names[iss.Name]; twice {
			p.add(path+".name", "is that of issuers[%d]", first)
		}
		if first, twice := urls[iss.URL]; twice {
			p.add(path+".issuer", "is that of issuers[%d]; put the rules of both there", first)
		}
		names[iss.Name], urls[iss.URL] = i, i
		iss.problems(path, &p)
	}
	return p
}

func (iss *Issuer) problems(path string, p *ConfigError) {
	if !nameForm.MatchString(iss.Name) {
		p.add(path+".name", "%q must be up to 32 lower-case letters, digits and hyphens: it stands before every subject, as in staff:1234", iss.Name)
	}
	if fault := addressFault(iss.URL); fault != "" {
		p.add(path+".issuer", "%q %s", iss.URL, fault)
	}
	if fault := addressFault(iss.KeysURL); iss.KeysURL != "" && fault != "" {
		p.add(path+".keysUrl", "%q %s", iss.KeysURL, fault)
	}
	switch {
	case iss.Cognito == nil && len(iss.Audiences) == 0:
		p.add(path+".audiences", "is empty: name what tokens for this server have as aud, or every token of the issuer, for whatever service, would be taken")
	case iss.Cognito != nil && len(iss.Audiences) > 0:
		p.add(path+".audiences", "is not for a Cognito user pool, whose access tokens have none; cognito.clients stands in for it")
	case iss.Cognito != nil && len(iss.Cognito.Clients) == 0:
		p.add(path+".cognito.clients", "is empty: name the app clients whose tokens are taken")
	}
	p.blanks(path+".audiences", iss.Audiences)
	if iss.Cognito != nil {
		p.blanks(path+".cognito.clients", iss.Cognito.Clients)
		p.among(path+".cognito.tokenUse", iss.Cognito.TokenUse, []string{useAccess, useID})
	}
	p.among(path+".algorithms", iss.Algorithms, algorithms)
	for i, c := range iss.TrustClaims {
		p.claim(fmt.Sprintf("%s.trustClaims[%d]", path, i), c)
	}
	if len(iss.Rules) == 0 {
		p.add(path+".rules", "is empty: without a rule a token is worth nothing")
	}
	for i := range iss.Rules {
		iss.ruleProblems(&iss.Rules[i], fmt.Sprintf("%s.rules[%d]", path, i), p)
	}
}

func (iss *Issuer) ruleProblems(r *Rule, path string, p *ConfigError) {
	if len(r.Match) == 0 && (r.Global || r.RolesFrom == nil && r.CustomersFrom == nil) {
		p.add(path+".match", "is empty, so that the rule would apply to every token of the issuer; name a claim that sets apart whom it is for")
	}
	for i, m := range r.Match {
		at := fmt.Sprintf("%s.match[%d]", path, i)
		iss.source(at+".claim", m.Claim, p)
		if len(m.Values) == 0 {
			p.add(at+".values", "is empty, so that the rule never applies")
		}
		p.blanks(at+".values", m.Values)
	}
	switch {
	case r.Global && (len(r.Customers) > 0 || r.CustomersFrom != nil):
		p.add(path+".global", "is for all customers, so customers and customersFrom have no place beside it")
	case !r.Global && len(r.Customers) == 0 && r.CustomersFrom == nil:
		p.add(path+".customers", "is missing: name customers, where to take them from, or make the rule global")
	}
	p.blanks(path+".customers", r.Customers)
	if len(r.Roles) == 0 && r.RolesFrom == nil {
		p.add(path+".roles", "is missing: name some of %s, or where to take them from", quoted(roles))
	}
	p.among(path+".roles", texts(r.Roles), texts(roles))
	for _, from := range []struct {
		path string
		*From
	}{{path + ".customersFrom", r.CustomersFrom}, {path + ".rolesFrom", r.RolesFrom}} {
		if from.From != nil {
			iss.source(from.path+".claim", from.Claim, p)
		}
	}
}

// source checks a claim that a rule depends on.
func (iss *Issuer) source(path string, c Claim, p *ConfigError) {
	p.claim(path, c)
	if userWritable(c) && !slices.ContainsFunc(iss.TrustClaims, func(t Claim) bool { return slices.Equal(t, c) }) {
		p.add(path, "%q is a claim that callers can as a rule set themselves, and so could become whoever they like; "+
			"take another, or add it to trustClaims if you have made sure that with this issuer they can't", c)
	}
}

func (p *ConfigError) claim(path string, c Claim) {
	if len(c) == 0 || slices.Contains(c, "") {
		p.add(path, "is empty: name a claim, or the names on the way to it")
	}
}

func (p *ConfigError) blanks(path string, values []string) {
	for i, v := range values {
		if strings.TrimSpace(v) == "" {
			p.add(fmt.Sprintf("%s[%d]", path, i), "is empty")
		}
	}
}

func (p *ConfigError) among(path string, values, allowed []string) {
	for i, v := range values {
		if !slices.Contains(allowed, v) {
			p.add(fmt.Sprintf("%s[%d]", path, i), "%q is not one of %s", v, quoted(allowed))
		}
	}
}

var roles = []driver.Role{driver.RoleRead, driver.RoleSubmit, driver.RoleOperate, driver.RolePull}

func texts[S ~string](values []S) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

func quoted[S ~string](values []S) string { return strings.Join(texts(values), ", ") }

// addressFault returns what keeps an address from being one that keys may come from.
func addressFault(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return "is not an address of the form https://host/path"
	case u.Scheme == "https":
		return ""
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return "" // for trying things out
	}
	return "must begin with https://: over plain http anybody on the way could put in keys of their own"
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
