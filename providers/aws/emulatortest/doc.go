// Package emulatortest runs the conformance suites on the drivers of package aws against emulators that others have written: the second
// opinion on what package awstest takes for AWS. The store runs on moto, the queue on ElasticMQ.
//
// It holds nothing but tests. They need what make emulators installs: the versions that requirements.txt and elasticmq.sha256 pin.
package emulatortest
