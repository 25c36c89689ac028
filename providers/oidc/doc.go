// Package oidc is an authorizer for signed JSON Web Tokens: of any OpenID Connect issuer, of Amazon Cognito, of Kubernetes service
// accounts, and of AWS IAM through sts:GetWebIdentityToken.
//
// All of them sign tokens with keys that they publish, so one verifier serves all. What differs is configuration: which
// issuers are trusted, for which audiences, and the rules by which the claims of a token become customers, roles and global. It
// belongs to no cloud and needs no SDK of one, so it can be linked into the server, and be served by the plugin of any cloud.
//
// It imports plugins/driver, the jwx and jsonschema-go libraries and the standard library.
package oidc
