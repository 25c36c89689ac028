// Package aws keeps POP's records in DynamoDB and its hints in SQS.
//
// [Store] puts every kind of record into one table, or into one of several: partition key and sort key are those of the
// record, and each index of the schema is a sparse secondary index that holds keys only. [Queue] makes a standard queue of SQS
// for each named queue. Both are opened from one [Config], by the SDK's default chain of credentials.
//
// As the contract of package driver asks, nothing here tries again what AWS has refused: the SDK's own retries are off. A write
// that the SDK repeated after a lost reply would meet its own effect and take it for somebody else's.
//
// The package imports plugins/driver and the SDK, and must not import the core or another provider.
package aws
