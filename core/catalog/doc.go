// Package catalog keeps the objects that configure the platform: customers, resource pools, insights and agenda templates.
//
// It validates them, fills in defaults, checks that what they refer to exists, and caches them for the hot path. Who may see or
// change an object is not its business: core/api asks core/authz.
package catalog
