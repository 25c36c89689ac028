// Package mototest runs the conformance suite on the store of package aws against moto's server, an emulator of DynamoDB that others have
// written: the second opinion on what package awstest takes for DynamoDB. Its SQS is left out: it removes a message by a receipt that is
// stale.
//
// It holds nothing but tests. They need moto_server, which make moto installs as requirements.txt pins it.
package mototest
