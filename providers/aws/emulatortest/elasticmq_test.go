package emulatortest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/plugins/drivertest"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

func TestQueueOnElasticMQ(t *testing.T) {
	jars, err := filepath.Abs(filepath.Join(installed, "elasticmq", "*"))
	if err != nil {
		t.Fatal(err)
	}
	config := aws.Config{Region: "us-east-1", Endpoint: start(t, "java",
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", // for a process that lives for seconds
		"-Drest-sqs.bind-hostname=127.0.0.1", "-Drest-sqs.bind-port=0", "-Drest-stats.enabled=false",
		"-Dnode-address.host=*", // the address of a queue is that of the request
		"-cp", jars, "org.elasticmq.server.Main")}
	open := func(t *testing.T, c aws.Config) driver.Queue {
		t.Helper()
		q, err := aws.OpenQueue(t.Context(), c, options)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	for name, endpoint := range map[string]string{"ElasticMQ": config.Endpoint, "the stand-in": awstest.New(awstest.Options{}).Start(t)} {
		t.Run("a hint that nobody acknowledges goes to the dead letters of "+name, func(t *testing.T) {
			c := config
			c.Endpoint, c.Queue.Prefix, c.Queue.DeadLetterAfter = endpoint, "doomed-", 2
			checkDeadLetters(t, c, open(t, c))
		})
	}
	one := open(t, config)
	caps, err := one.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	drivertest.RunQueue(t, drivertest.QueueHarness{
		Capabilities: caps,
		Open: func(t *testing.T) drivertest.QueueFixture {
			c := config
			c.Queue.Prefix = fmt.Sprintf("pop-%d-", number.Add(1))
			reopen := func(t *testing.T) driver.Queue { return open(t, c) }
			return drivertest.QueueFixture{Queue: reopen(t), Reopen: reopen}
		},
	})
}

// checkDeadLetters sends a hint and takes it twice, after which it has to be in the dead-letter queue.
func checkDeadLetters(t *testing.T, c aws.Config, q driver.Queue) {
	t.Helper()
	defer func() { _ = q.Close(context.WithoutCancel(t.Context())) }()
	if err := q.Ensure(t.Context(), driver.EnsureRequest{Queue: "hints"}); err != nil {
		t.Fatal(err)
	}
	sent, err := q.Send(t.Context(), driver.SendRequest{Queue: "hints", Messages: []driver.Message{{Group: "customer", Body: []byte("hint")}}})
	if err != nil || sent.Errs[0] != nil {
		t.Fatal(err, sent.Errs)
	}
	client := sqs.New(sqs.Options{Region: c.Region, BaseEndpoint: &c.Endpoint, Credentials: options.Credentials})
	name := c.Queue.Prefix + "dead--letters"
	dead, err := client.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		got, err := q.Receive(t.Context(), driver.ReceiveRequest{Queue: "hints", Max: 1, Wait: time.Second, Lease: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		taken += len(got.Deliveries)
		left, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: dead.QueueUrl, MaxNumberOfMessages: 1})
		if err != nil {
			t.Fatal(err)
		}
		if len(left.Messages) > 0 {
			if taken != c.Queue.DeadLetterAfter || !strings.Contains(*left.Messages[0].Body, "hint") {
				t.Errorf("%s has %q, which was taken %d times, want %d", name, *left.Messages[0].Body, taken, c.Queue.DeadLetterAfter)
			}
			return
		}
	}
	t.Fatalf("%s is empty, and the hint was taken %d times", name, taken)
}
