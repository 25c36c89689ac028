package authz

import (
	"slices"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

// Everyone is the principal of every caller where authentication is off: it may do everything.
func Everyone() driver.Principal {
	return driver.Principal{
		Subject: "everyone",
		Roles:   []driver.Role{driver.RoleRead, driver.RoleSubmit, driver.RoleOperate, driver.RolePull},
		Global:  true,
	}
}

// HasRole reports whether the principal has a role. No role includes another.
func HasRole(p driver.Principal, role driver.Role) bool { return slices.Contains(p.Roles, role) }

// ActsFor reports whether the principal acts for a customer, and so may read and write what the customer owns. Case does not
// matter. An object without an owner belongs to global principals only.
func ActsFor(p driver.Principal, customerID string) bool {
	return p.Global || customerID != "" && contains(p.Customers, customerID)
}

// MayRead reports whether the principal may read an object that a customer owns and shares.
func MayRead(p driver.Principal, ownerID string, s model.Sharing) bool {
	return s.IsGlobal || ActsFor(p, ownerID) ||
		slices.ContainsFunc(s.AllowedCustomerIDs, func(id string) bool { return contains(p.Customers, id) })
}

func contains(ids []string, id string) bool {
	return slices.ContainsFunc(ids, func(s string) bool { return model.SameCustomer(s, id) })
}
