package aws_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

// guard allows what a policy allows, and remembers which parts of it were needed.
type guard struct {
	mu     sync.Mutex
	off    bool
	grants []awstest.Grant
	needed map[awstest.Grant]bool
}

func (g *guard) allow(a awstest.Access) (allowed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.off {
		return true
	}
	for _, part := range g.grants {
		if part.Allows(a) {
			allowed, g.needed[part] = true, true
		}
	}
	return allowed
}

// TestThePolicyAllowsWhatTheDriversCallAndNoMore makes every kind of call that the drivers make, on a stand-in that denies what the policy
// does not allow. Each action of the policy must be needed, on each of its resources.
func TestThePolicyAllowsWhatTheDriversCallAndNoMore(t *testing.T) {
	all := at("http://aws.test")
	all.Store.Table, all.Store.Tables, all.Queue.Prefix = "studio", map[string]string{"busy": "studio-busy"}, "studio-"
	objects, checkOnly := all, all
	objects.Store.Bodies.Bucket, objects.Store.Bodies.Prefix = "bodies", "of/studio/"
	checkOnly.Store.CheckOnly, checkOnly.Queue.CheckOnly = true, true
	for name, config := range map[string]aws.Config{"all": all, "bodies in a bucket": objects, "made by others": checkOnly} {
		t.Run(name, func(t *testing.T) {
			policy, err := aws.PolicyFor(config, awstest.Account)
			if err != nil {
				t.Fatal(err)
			}
			grants, err := awstest.Grants(policy.String())
			if err != nil {
				t.Fatal(err)
			}
			g := &guard{grants: grants, needed: map[awstest.Grant]bool{}}
			network := &faults{next: awstest.New(awstest.Options{Allow: g.allow})}
			o := options()
			o.Transport = network
			if config.Store.CheckOnly {
				g.off = true
				furnish(t, openStore(t, all, o), openQueue(t, all, o))
				g.off = false
			}
			exercise(t, openStore(t, config, o), openQueue(t, config, o), network)
			for _, part := range grants {
				if !g.needed[part] {
					t.Errorf("no call needs %s on %s", part.Action, part.Pattern)
				}
			}
		})
	}
}

const hints = "hints"

// furnish makes tables and a queue, and an index on tables that are there, unless others have made them.
func furnish(t *testing.T, s *aws.Store, q *aws.Queue) {
	t.Helper()
	for _, indexes := range [][]string{{"one"}, {"one", "two"}} {
		kinds := []driver.KindSchema{{Kind: "k", Indexes: indexes}, {Kind: "busy", Indexes: indexes}}
		if _, err := s.Migrate(t.Context(), driver.MigrateRequest{Schema: driver.Schema{Kinds: kinds}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Ensure(t.Context(), driver.EnsureRequest{Queue: hints}); err != nil {
		t.Fatal(err)
	}
}

// exercise makes every kind of call.
func exercise(t *testing.T, s *aws.Store, q *aws.Queue, network *faults) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	furnish(t, s, q)
	for _, kind := range []driver.Kind{"k", "busy"} {
		key := func(sort string) driver.Key { return driver.Key{Kind: kind, Part: "p", Sort: sort} }
		put := func(sort string, body []byte) driver.Op {
			return driver.Op{Record: driver.Record{
				Key: key(sort), Body: body, ExpireAt: time.Now().Add(time.Hour), Index: []driver.IndexEntry{{Index: "one", Part: "i", Sort: sort}},
			}}
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
		network.instead = func(_ string, r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet { // of an object, which is replaced just before
				network.instead = nil
				write(driver.Group{put("large", incompressible(30_000))})
			}
			return nil, nil
		}
		read, err := s.Get(ctx, driver.GetRequest{Keys: []driver.Key{key("large")}})
		must(err)
		if len(read.Records[0].Body) < 20_000 {
			t.Error("a large body is not there")
		}
		network.instead = nil
		write(driver.Group{remove("large")})
		write(driver.Group{absent(put("c", nil)), remove("a"), absent(driver.Op{Type: driver.Check, Record: driver.Record{Key: key("d")}})})
		for _, index := range []string{"", "one"} {
			part := map[string]string{"": "p", "one": "i"}[index]
			found, err := s.Scan(ctx, driver.ScanRequest{Kind: kind, Index: index, Part: part})
			must(err)
			if len(found.Records) != 2 {
				t.Errorf("index %q has %d records, want 2", index, len(found.Records))
			}
		}
		write(driver.Group{remove("b")}, driver.Group{remove("c")})
	}
	must(s.CheckHealth(ctx))

	_, err := q.Send(ctx, driver.SendRequest{Queue: hints, Messages: []driver.Message{{Body: []byte("x")}}})
	must(err)
	got, err := q.Receive(ctx, driver.ReceiveRequest{Queue: hints, Max: 1, Lease: time.Minute})
	must(err)
	must(q.Ack(ctx, driver.AckRequest{Queue: hints, Receipts: []string{got.Deliveries[0].Receipt}}))
	_, err = q.Depth(ctx, driver.DepthRequest{Queue: hints})
	must(err)
	must(q.Purge(ctx, driver.PurgeRequest{Queue: hints}))
}

// TestThePolicyNamesItsPartOfAWS looks at the names that resources have in regions apart from all others.
func TestThePolicyNamesItsPartOfAWS(t *testing.T) {
	for region, want := range map[string]string{
		"eu-central-1": "arn:aws:dynamodb:eu-central-1:*:table/pop", "cn-north-1": "arn:aws-cn:dynamodb:cn-north-1:*:table/pop",
		"us-gov-west-1": "arn:aws-us-gov:dynamodb:us-gov-west-1:*:table/pop", "": "arn:aws:dynamodb:*:*:table/pop",
	} {
		policy, err := aws.PolicyFor(aws.Config{Region: region}, "*")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(policy.Statement[0].Resource, want) {
			t.Errorf("region %q: %s, want %s", region, policy.Statement[0].Resource, want)
		}
	}
}
