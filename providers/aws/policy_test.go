package aws_test

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/go-cmp/cmp"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

// recorder notes the actions of IAM that calls need.
type recorder struct {
	mu      sync.Mutex
	actions map[string]bool
}

// renamed are the operations that IAM calls otherwise.
var renamed = map[string]string{"SendMessageBatch": "SendMessage", "DeleteMessageBatch": "DeleteMessage"}

func (r *recorder) note(c aws.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	service := strings.ToLower(c.Service)
	if in, ok := c.Input.(*dynamodb.TransactWriteItemsInput); ok {
		for _, it := range in.TransactItems {
			switch {
			case it.Put != nil:
				r.actions["dynamodb:PutItem"] = true
			case it.Delete != nil:
				r.actions["dynamodb:DeleteItem"] = true
			case it.ConditionCheck != nil:
				r.actions["dynamodb:ConditionCheckItem"] = true
			}
		}
		return
	}
	name := c.Operation
	if other, ok := renamed[name]; ok {
		name = other
	}
	r.actions[service+":"+name] = true
}

func actionsOf(p aws.Policy) []string {
	all := map[string]bool{}
	for _, s := range p.Statement {
		for _, a := range s.Action {
			all[a] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// TestThePolicyAllowsWhatTheDriversCallAndNoMore makes every kind of call that the drivers make, and compares the actions that they need with
// those of the policy.
func TestThePolicyAllowsWhatTheDriversCallAndNoMore(t *testing.T) {
	server := awstest.New(awstest.Options{})
	r := &recorder{actions: map[string]bool{}}
	o := options()
	o.Transport, o.Observe = server, r.note
	config := at("http://aws.test")
	config.Store.Bodies.Bucket = "bodies"
	exercise(t, openStore(t, config, o), openQueue(t, config, o))

	policy, err := aws.PolicyFor(config, "123456789012")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(r.actions)), actionsOf(policy)); diff != "" {
		t.Errorf("actions (-called +allowed):\n%s", diff)
	}

	config.Store.CheckOnly, config.Queue.CheckOnly, config.Store.Bodies.Bucket = true, true, ""
	r.actions = map[string]bool{}
	exercise(t, openStore(t, config, o), openQueue(t, config, o))
	if policy, err = aws.PolicyFor(config, "123456789012"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(r.actions)), actionsOf(policy)); diff != "" {
		t.Errorf("actions with what others have made (-called +allowed):\n%s", diff)
	}
}

// exercise makes every kind of call.
func exercise(t *testing.T, s *aws.Store, q *aws.Queue) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	for _, indexes := range [][]string{{"one"}, {"one", "two"}} {
		_, err := s.Migrate(ctx, driver.MigrateRequest{Schema: driver.Schema{Kinds: []driver.KindSchema{{Kind: "k", Indexes: indexes}}}})
		must(err)
	}
	key := func(sort string) driver.Key { return driver.Key{Kind: "k", Part: "p", Sort: sort} }
	put := func(sort string, body []byte) driver.Op {
		return driver.Op{Record: driver.Record{Key: key(sort), Body: body, ExpireAt: time.Now().Add(time.Hour)}}
	}
	remove := func(sort string) driver.Op {
		return driver.Op{Type: driver.Delete, Record: driver.Record{Key: key(sort)}}
	}
	absent := func(op driver.Op) driver.Op {
		op.Cond = driver.IfAbsent
		return op
	}
	write := func(groups ...driver.Group) {
		t.Helper()
		resp, err := s.Write(ctx, driver.WriteRequest{Groups: groups})
		must(err)
		for _, result := range resp.Results {
			must(result.Err)
		}
	}
	write(driver.Group{put("a", nil)}, driver.Group{put("b", nil)})
	write(driver.Group{put("large", incompressible(20_000))})
	read, err := s.Get(ctx, driver.GetRequest{Keys: []driver.Key{key("large")}})
	must(err)
	if len(read.Records[0].Body) != 20_000 {
		t.Error("a large body is not there")
	}
	write(driver.Group{remove("large")})
	write(driver.Group{absent(put("c", nil)), remove("a"), absent(driver.Op{Type: driver.Check, Record: driver.Record{Key: key("d")}})})
	write(driver.Group{remove("b")}, driver.Group{remove("c")})
	_, err = s.Scan(ctx, driver.ScanRequest{Kind: "k", Part: "p"})
	must(err)
	must(s.CheckHealth(ctx))

	const name = "hints"
	must(q.Ensure(ctx, driver.EnsureRequest{Queue: name}))
	_, err = q.Send(ctx, driver.SendRequest{Queue: name, Messages: []driver.Message{{Body: []byte("x")}}})
	must(err)
	got, err := q.Receive(ctx, driver.ReceiveRequest{Queue: name, Max: 1, Lease: time.Minute})
	must(err)
	must(q.Ack(ctx, driver.AckRequest{Queue: name, Receipts: []string{got.Deliveries[0].Receipt}}))
	_, err = q.Depth(ctx, driver.DepthRequest{Queue: name})
	must(err)
	must(q.Purge(ctx, driver.PurgeRequest{Queue: name}))
}

func TestThePolicyNamesTheTablesAndQueuesOfTheConfiguration(t *testing.T) {
	config := aws.Config{Region: "eu-central-1", Store: aws.StoreConfig{Table: "studio", Tables: map[string]string{"run": "studio-run"}}, Queue: aws.QueueConfig{Prefix: "studio-"}}
	policy, err := aws.PolicyFor(config, "123456789012")
	if err != nil {
		t.Fatal(err)
	}
	text := policy.String()
	for _, arn := range []string{
		"arn:aws:dynamodb:eu-central-1:123456789012:table/studio", "arn:aws:dynamodb:eu-central-1:123456789012:table/studio-run/index/*",
		"arn:aws:sqs:eu-central-1:123456789012:studio-*",
	} {
		if !strings.Contains(text, `"`+arn+`"`) {
			t.Errorf("%s is not in\n%s", arn, text)
		}
	}
}
