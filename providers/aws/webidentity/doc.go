// Package webidentity fetches tokens from AWS that say which IAM role or user has this process, for services outside of AWS: by
// sts:GetWebIdentityToken, with the credentials that the SDK finds on EC2, ECS, EKS, Lambda or in a profile.
//
// A server of POP accepts them by providers/oidc, like those of every other issuer.
//
// It imports the AWS SDK and the standard library.
package webidentity
