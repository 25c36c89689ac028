package oidc

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pop-platform/pop/plugins/driver"
)

// issuerText is a configuration with one issuer that has further fields, instead of those that are given here.
func issuerText(fields string) string {
	all := map[string]json.RawMessage{}
	for _, text := range []string{
		`{"name": "staff", "issuer": "https://login.example.com", "audiences": ["pop"],
		  "rules": [{"match": [{"claim": "groups", "values": ["a"]}], "customers": ["acme"], "roles": ["read"]}]}`, fields,
	} {
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return `{"issuers": [` + fields + `]}`
		}
	}
	for name, v := range all {
		if string(v) == "null" {
			delete(all, name)
		}
	}
	text, _ := json.Marshal(map[string]any{"issuers": []any{all}}) // it was JSON before
	return string(text)
}

func ruleText(rule string) string { return issuerText(`{"rules": [` + rule + `]}`) }

func TestABadConfigurationIsAnErrorThatNamesEveryField(t *testing.T) {
	t.Parallel()
	const who = `"match": [{"claim": "groups", "values": ["a"]}]`
	const sameIssuer = `{"name": "a", "issuer": "https://a.example.com", "audiences": ["pop"], "rules": [{` + who + `, "global": true, "roles": ["read"]}]}`
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing":                {`{}`, []string{"issuers: is empty"}},
		"an unknown key":         {`{"issuer": []}`, []string{`unknown field "issuer"`}},
		"a text for a list":      {issuerText(`{"audiences": "pop"}`), []string{"issuers.audiences: is a string"}},
		"name in capitals":       {issuerText(`{"name": "Staff"}`), []string{`issuers[0].name: "Staff" must be`}},
		"name with a colon":      {issuerText(`{"name": "a:b"}`), []string{`issuers[0].name: "a:b" must be`}},
		"plain http":             {issuerText(`{"issuer": "http://login.example.com"}`), []string{"issuers[0].issuer: \"http://login.example.com\" must begin with https://"}},
		"a name for an issuer":   {issuerText(`{"issuer": "login.example.com"}`), []string{"issuers[0].issuer: \"login.example.com\" is not an address"}},
		"keys over plain http":   {issuerText(`{"keysUrl": "http://login.example.com/keys"}`), []string{"issuers[0].keysUrl: "}},
		"no audience":            {issuerText(`{"audiences": null}`), []string{"issuers[0].audiences: is empty"}},
		"an empty audience":      {issuerText(`{"audiences": ["pop", ""]}`), []string{"issuers[0].audiences[1]: is empty"}},
		"Cognito with audience":  {issuerText(`{"cognito": {"clients": ["a"]}}`), []string{"issuers[0].audiences: is not for a Cognito user pool"}},
		"Cognito without client": {issuerText(`{"audiences": null, "cognito": {}}`), []string{"issuers[0].cognito.clients: is empty"}},
		"an unknown use":         {issuerText(`{"audiences": null, "cognito": {"clients": ["a"], "tokenUse": ["refresh"]}}`), []string{`issuers[0].cognito.tokenUse[0]: "refresh" is not one of access, id`}},
		"a shared secret":        {issuerText(`{"algorithms": ["RS256", "HS256"]}`), []string{`issuers[0].algorithms[1]: "HS256" is not one of RS256`}},
		"no algorithm":           {issuerText(`{"algorithms": ["none"]}`), []string{`issuers[0].algorithms[0]: "none" is not one of`}},
		"no rules":               {issuerText(`{"rules": []}`), []string{"issuers[0].rules: is empty"}},
		"the same issuer twice": {
			`{"issuers": [` + sameIssuer + `,` + sameIssuer + `]}`,
			[]string{"issuers[1].name: is that of issuers[0]", "issuers[1].issuer: is that of issuers[0]"},
		},

		"a rule for everybody":              {ruleText(`{"customers": ["acme"], "roles": ["read"]}`), []string{"issuers[0].rules[0].match: is empty"}},
		"everybody is global":               {ruleText(`{"global": true, "rolesFrom": {"claim": "groups"}}`), []string{"issuers[0].rules[0].match: is empty"}},
		"a match without values":            {ruleText(`{"match": [{"claim": "groups"}], "global": true, "roles": ["read"]}`), []string{"issuers[0].rules[0].match[0].values: is empty"}},
		"a match with an empty value":       {ruleText(`{"match": [{"claim": "groups", "values": [""]}], "global": true, "roles": ["read"]}`), []string{"issuers[0].rules[0].match[0].values[0]: is empty"}},
		"a match without claim":             {ruleText(`{"match": [{"values": ["a"]}], "global": true, "roles": ["read"]}`), []string{"issuers[0].rules[0].match[0].claim: is empty"}},
		"a claim that is a number":          {ruleText(`{"match": [{"claim": 1, "values": ["a"]}], "global": true, "roles": ["read"]}`), []string{"a claim must be a name, or a list of names"}},
		"no customers":                      {ruleText(`{` + who + `, "roles": ["read"]}`), []string{"issuers[0].rules[0].customers: is missing"}},
		"an empty customer":                 {ruleText(`{` + who + `, "customers": [" "], "roles": ["read"]}`), []string{"issuers[0].rules[0].customers[0]: is empty"}},
		"no roles":                          {ruleText(`{` + who + `, "customers": ["acme"]}`), []string{"issuers[0].rules[0].roles: is missing"}},
		"an unknown role":                   {ruleText(`{` + who + `, "customers": ["acme"], "roles": ["admin"]}`), []string{`issuers[0].rules[0].roles[0]: "admin" is not one of read, submit, operate, pull`}},
		"global with customers":             {ruleText(`{` + who + `, "global": true, "customers": ["acme"], "roles": ["read"]}`), []string{"issuers[0].rules[0].global: is for all customers"}},
		"customers of an attribute":         {ruleText(`{"customersFrom": {"claim": "custom:customers"}, "roles": ["read"]}`), []string{`issuers[0].rules[0].customersFrom.claim: "custom:customers" is a claim that callers can as a rule set themselves`}},
		"roles of an attribute":             {ruleText(`{"customersFrom": {"claim": "groups"}, "rolesFrom": {"claim": "custom:role"}}`), []string{"issuers[0].rules[0].rolesFrom.claim: "}},
		"a match on a name":                 {ruleText(`{"match": [{"claim": "preferred_username", "values": ["root"]}], "global": true, "roles": ["read"]}`), []string{"issuers[0].rules[0].match[0].claim: "}},
		"a match on a chosen name":          {ruleText(`{"match": [{"claim": "cognito:username", "values": ["root"]}], "global": true, "roles": ["read"]}`), []string{"issuers[0].rules[0].match[0].claim: "}},
		"customers of the tags of a call":   {ruleText(`{"customersFrom": {"claim": ["https://sts.amazonaws.com/", "request_tags", "customer"]}, "roles": ["read"]}`), []string{"customersFrom.claim: "}},
		"two problems":                      {issuerText(`{"name": "", "rules": [{"roles": ["root"], "global": true}]}`), []string{"issuers[0].name", "issuers[0].rules[0].match", "issuers[0].rules[0].roles[0]"}},
		"trust in a claim without its name": {issuerText(`{"trustClaims": [[]]}`), []string{"issuers[0].trustClaims[0]: is empty"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, err := Parse([]byte(tc.text))
			if err == nil {
				t.Fatalf("%s is taken: %+v", tc.text, cfg)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q does not say %q", err, want)
				}
			}
			if n := len(strings.Split(err.Error(), "; issuers")); n != len(tc.want) {
				t.Errorf("error %q names %d problems, want %d", err, n, len(tc.want))
			}
		})
	}
}

func TestAUserWritableClaimCountsOnceItIsNamed(t *testing.T) {
	t.Parallel()
	rule := `"rules": [{"customersFrom": {"claim": "custom:customers"}, "roles": ["read"]}]`
	if _, err := Parse([]byte(issuerText(`{"trustClaims": ["custom:customers"], ` + rule + `}`))); err != nil {
		t.Errorf("a claim in trustClaims: %v", err)
	}
	if _, err := Parse([]byte(issuerText(`{"trustClaims": ["custom:customer"], ` + rule + `}`))); err == nil {
		t.Error("trust in one claim reached another")
	}
}

func TestACertificateFileThatCannotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	cfg, err := Parse([]byte(issuerText(`{"caFile": "no/such/ca.pem"}`)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(cfg, Options{})
	if driver.CodeOf(err) != driver.Invalid || !strings.Contains(fmt.Sprint(err), "issuers[0].caFile: open no/such/ca.pem") {
		t.Errorf("error %v", err)
	}
}

func TestProviderOpensWhatTheSchemaAdmits(t *testing.T) {
	t.Parallel()
	p := Provider{Version: "1"}
	open := func(text string, services ...driver.Service) error {
		d, err := p.Open(t.Context(), driver.OpenRequest{Services: services, Config: []byte(text), Log: slog.New(slog.DiscardHandler)})
		if (err == nil) != (d.Authorizer != nil) {
			t.Errorf("opened %v with error %v", d, err)
		}
		return err
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(p.Describe().Schema, &s); err != nil {
		t.Fatal(err)
	}
	schema, err := s.Resolve(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"the least": issuerText(`{}`),
		"everything": issuerText(`{"algorithms": ["RS256"], "keysUrl": "https://login.example.com/keys", "trustClaims": ["email", ["a", "b"]], "rules": [
			{"match": [{"claim": ["a", "b"], "values": ["x"]}], "customers": ["a"], "customersFrom": {"claim": "email", "split": ",", "prefix": "p"}, "roles": ["read"], "rolesFrom": {"claim": "r"}},
			{"match": [{"claim": "a", "values": ["x"]}], "global": true, "roles": ["operate"]}]}`),
		"Cognito": issuerText(`{"audiences": null, "cognito": {"clients": ["a"], "tokenUse": ["id"]}}`),
	} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(value); err != nil {
			t.Errorf("%s: the schema refuses it: %v", name, err)
		}
		if err := open(text, driver.AuthorizerService); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := schema.Validate(map[string]any{"issuers": []any{map[string]any{"nme": "x"}}}); err == nil {
		t.Error("the schema admits a field that there is not")
	}
	if err := open(issuerText(`{"name": ""}`), driver.AuthorizerService); driver.CodeOf(err) != driver.Invalid || !strings.Contains(err.Error(), "issuers[0].name") {
		t.Errorf("error %v", err)
	}
	if err := open(issuerText(`{}`), driver.StoreService); driver.CodeOf(err) != driver.Unsupported {
		t.Errorf("error %v", err)
	}
}
