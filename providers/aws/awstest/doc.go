// Package awstest stands in for DynamoDB, SQS and S3 in tests.
//
// [New] serves the operations that package aws uses, in process, and is stricter than an emulator: it keeps the limits of the
// services, counts capacity units by their rules, and shows changes in its indexes late. Emulators that others have written are
// the second opinion on all of it: see package emulatortest.
//
// The package is for tests only, and must not import what it tests.
package awstest
