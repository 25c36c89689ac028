package authz

import (
	"testing"

	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/plugins/driver"
)

func TestVisibility(t *testing.T) {
	t.Parallel()
	global := driver.Principal{Global: true}
	alice := driver.Principal{Customers: []string{"acme", "acme-labs"}}
	nobody := driver.Principal{}
	tests := []struct {
		name    string
		p       driver.Principal
		owner   string
		sharing model.Sharing
		read    bool
		write   bool
	}{
		{"a global caller reads and writes everything", global, "acme", model.Sharing{}, true, true},
		{"a global caller reads and writes what nobody owns", global, "", model.Sharing{}, true, true},
		{"an owner reads and writes its own", alice, "acme", model.Sharing{}, true, true},
		{"an owner is found whatever the case", alice, "ACME-Labs", model.Sharing{}, true, true},
		{"a letter that only folds to another is another customer", driver.Principal{Customers: []string{"acmeſ"}}, "acmes", model.Sharing{}, false, false},
		{"another customer's object is absent", alice, "globex", model.Sharing{}, false, false},
		{"a prefix of a customer id is another customer", alice, "acm", model.Sharing{}, false, false},
		{"what nobody owns is absent", alice, "", model.Sharing{}, false, false},
		{"a global object is read and not written", alice, "globex", model.Sharing{IsGlobal: true}, true, false},
		{"an allowed customer reads and does not write", alice, "globex", model.Sharing{AllowedCustomerIDs: []string{"x", "acme"}}, true, false},
		{"an allowed customer is found whatever the case", alice, "globex", model.Sharing{AllowedCustomerIDs: []string{"Acme"}}, true, false},
		{"a customer that is not allowed sees nothing", alice, "globex", model.Sharing{AllowedCustomerIDs: []string{"initech"}}, false, false},
		{"a caller without customers sees global objects only", nobody, "acme", model.Sharing{}, false, false},
		{"a caller without customers sees a global object", nobody, "acme", model.Sharing{IsGlobal: true}, true, false},
		{"a caller without customers does not own what nobody owns", nobody, "", model.Sharing{}, false, false},
		{"an allowed id that is empty allows nobody", nobody, "acme", model.Sharing{AllowedCustomerIDs: []string{""}}, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := MayRead(test.p, test.owner, test.sharing); got != test.read {
				t.Errorf("MayRead is %t", got)
			}
			if got := ActsFor(test.p, test.owner); got != test.write {
				t.Errorf("ActsFor is %t", got)
			}
		})
	}
}

func TestEveryoneHasEveryRole(t *testing.T) {
	t.Parallel()
	for _, role := range []driver.Role{driver.RoleRead, driver.RoleSubmit, driver.RoleOperate, driver.RolePull} {
		if !HasRole(Everyone(), role) {
			t.Errorf("everyone has no role %q", role)
		}
	}
	if HasRole(driver.Principal{Roles: []driver.Role{driver.RoleOperate}}, driver.RoleRead) {
		t.Error("operate includes read")
	}
}
