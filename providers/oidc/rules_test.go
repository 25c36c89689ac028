package oidc

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
)

func TestRules(t *testing.T) {
	t.Parallel()
	read, submit := []driver.Role{driver.RoleRead}, []driver.Role{driver.RoleSubmit}
	rules := func(r ...Rule) []Rule { return r }
	match := func(claim, value string) []Match { return []Match{{Claim{claim}, []string{value}}} }
	for name, tc := range map[string]struct {
		rules  []Rule
		claims string
		want   driver.Principal
	}{
		"the first rule that applies counts, and alone": {
			rules(Rule{Match: match("groups", "acme-readers"), Customers: []string{"acme"}, Roles: read},
				Rule{Match: match("groups", "globex-submitters"), Customers: []string{"globex"}, Roles: submit}),
			`{"groups": ["globex-submitters", "acme-readers"]}`,
			driver.Principal{Customers: []string{"acme"}, Roles: read},
		},
		"every match has to hold": {
			rules(Rule{Match: append(match("groups", "a"), match("verified", "true")...), Global: true, Roles: read},
				Rule{Match: match("groups", "a"), Customers: []string{"acme"}, Roles: read}),
			`{"groups": "a", "verified": false}`,
			driver.Principal{Customers: []string{"acme"}, Roles: read},
		},
		"true and numbers match by their text": {
			rules(Rule{Match: append(match("verified", "true"), match("level", "3")...), Global: true, Roles: read}),
			`{"verified": true, "level": 3}`,
			driver.Principal{Global: true, Roles: read},
		},
		"a part of a value matches nothing": {
			rules(Rule{Match: match("groups", "admin"), Global: true, Roles: read}), `{"groups": ["admins", "admin ", "Admin"]}`, driver.Principal{},
		},
		"a claim that is null or an object matches nothing": {
			rules(Rule{Match: match("a", ""), Global: true, Roles: read}, Rule{Match: match("b", ""), Global: true, Roles: read}), `{"a": null, "b": {"": ""}}`, driver.Principal{},
		},
		"a claim inside of others": {
			rules(Rule{Match: []Match{{Claim{"realm_access", "roles"}, []string{"pop"}}}, Global: true, Roles: read}),
			`{"realm_access": {"roles": ["x", "pop"]}}`,
			driver.Principal{Global: true, Roles: read},
		},
		"a path through what is no object": {
			rules(Rule{Match: []Match{{Claim{"realm_access", "roles"}, []string{"pop"}}}, Global: true, Roles: read}),
			`{"realm_access": ["roles", "pop"]}`,
			driver.Principal{},
		},
		"customers from a claim come beside those of the rule": {
			rules(Rule{Customers: []string{"Shared"}, CustomersFrom: &From{Claim: Claim{"c"}}, Roles: read}),
			`{"c": ["B", "a", "b"]}`,
			driver.Principal{Customers: []string{"a", "b", "shared"}, Roles: read},
		},
		"a rule whose customers are not there does not apply": {
			rules(Rule{Customers: []string{"shared"}, CustomersFrom: &From{Claim: Claim{"c"}, Prefix: "pop-"}, Roles: read}),
			`{"c": ["a", "pop-", ""]}`,
			driver.Principal{},
		},
		"a text with several customers": {
			rules(Rule{CustomersFrom: &From{Claim: Claim{"c"}, Split: ",", Prefix: "x-"}, Roles: read}),
			`{"c": " x-a, x-b,,y-c"}`,
			driver.Principal{Customers: []string{"a", "b"}, Roles: read},
		},
		"without a split a text is one customer": {
			rules(Rule{CustomersFrom: &From{Claim: Claim{"c"}}, Roles: read}), `{"c": "a,b"}`, driver.Principal{Customers: []string{"a,b"}, Roles: read},
		},
		"words that are no roles are passed over": {
			rules(Rule{Match: match("g", "a"), Global: true, RolesFrom: &From{Claim: Claim{"scope"}, Split: " "}}),
			`{"g": "a", "scope": "openid root pull read pull"}`,
			driver.Principal{Global: true, Roles: []driver.Role{driver.RolePull, driver.RoleRead}},
		},
		"a rule whose roles are not there does not apply": {
			rules(Rule{Match: match("g", "a"), Global: true, RolesFrom: &From{Claim: Claim{"scope"}, Split: " "}}), `{"g": "a", "scope": "openid"}`, driver.Principal{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			iss := Issuer{Rules: tc.rules}
			var c claims
			if err := decodeJSON([]byte(tc.claims), &c); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, iss.principal(c)); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
		})
	}
}
