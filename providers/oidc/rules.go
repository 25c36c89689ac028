package oidc

import (
	"slices"
	"strings"

	"github.com/pop-platform/pop/plugins/driver"
)

// principal returns what the first rule that applies makes of verified claims, and a principal without any right if none does.
//
// Rules are not added up: what one gives in roles would reach what another gives in customers.
func (iss *Issuer) principal(c claims) driver.Principal {
	for i := range iss.Rules {
		if p, applies := iss.Rules[i].apply(c); applies {
			return p
		}
	}
	return driver.Principal{}
}

// apply returns the principal that a rule makes of claims. The rule applies if every match holds and everything it takes from
// claims is there.
func (r *Rule) apply(c claims) (driver.Principal, bool) {
	for _, m := range r.Match {
		if !overlap(c.texts(m.Claim...), m.Values) {
			return driver.Principal{}, false
		}
	}
	customers := slices.Clone(r.Customers)
	if r.CustomersFrom != nil {
		found := r.CustomersFrom.values(c)
		if len(found) == 0 {
			return driver.Principal{}, false
		}
		customers = append(customers, found...)
	}
	given := slices.Clone(r.Roles)
	if r.RolesFrom != nil {
		found := slices.DeleteFunc(r.RolesFrom.values(c), func(s string) bool { return !slices.Contains(texts(roles), s) })
		if len(found) == 0 {
			return driver.Principal{}, false
		}
		for _, role := range found {
			given = append(given, driver.Role(role))
		}
	}
	for i, customer := range customers {
		customers[i] = strings.ToLower(customer)
	}
	slices.Sort(customers)
	slices.Sort(given)
	return driver.Principal{Customers: slices.Compact(customers), Roles: slices.Compact(given), Global: r.Global}, true
}

// values returns what a claim holds.
func (f *From) values(c claims) []string {
	var out []string
	for _, text := range c.texts(f.Claim...) {
		parts := []string{text}
		if f.Split != "" {
			parts = strings.Split(text, f.Split)
		}
		for _, part := range parts {
			value, counts := strings.CutPrefix(strings.TrimSpace(part), f.Prefix)
			if counts && value != "" {
				out = append(out, value)
			}
		}
	}
	return out
}

// profile are the claims that describe a person, which issuers as a rule let the person edit, and the names that people choose
// when they sign up.
var profile = []string{
	"name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile", "picture", "website", "email",
	"email_verified", "gender", "birthdate", "zoneinfo", "locale", "phone_number", "phone_number_verified", "address", "updated_at",
	"username", "cognito:username", "upn", "unique_name",
}

// userWritable reports whether a claim is one that callers can set themselves, as far as is known of issuers in general: what
// describes a person; the attributes of Cognito, which app clients may write unless told otherwise; and the tags that a caller
// of sts:GetWebIdentityToken gives with the call.
func userWritable(c Claim) bool {
	if len(c) == 0 {
		return false
	}
	return slices.Contains(profile, c[0]) || strings.HasPrefix(c[0], "custom:") ||
		c[0] == "https://sts.amazonaws.com/" && len(c) > 1 && c[1] == "request_tags"
}
