package onaws

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/pop-platform/pop/core/catalog"
	"github.com/pop-platform/pop/core/engine"
	"github.com/pop-platform/pop/core/model"
	"github.com/pop-platform/pop/core/pool"
	"github.com/pop-platform/pop/core/queue"
	"github.com/pop-platform/pop/core/store"
	"github.com/pop-platform/pop/plugins/driver"
	"github.com/pop-platform/pop/providers/aws"
	"github.com/pop-platform/pop/providers/aws/awstest"
)

const (
	poolID    = "studio"
	insightID = "transcode"
	workType  = "work"
)

// world is an engine on DynamoDB and SQS, in the fake time of a test.
type world struct {
	*testing.T
	server  *awstest.Server
	bill    bill
	engine  *engine.Engine
	catalog *catalog.Catalog
}

func newWorld(t *testing.T, customers ...string) *world {
	t.Helper()
	return newWorldWith(t, engine.Options{}, customers...)
}

func newWorldWith(t *testing.T, o engine.Options, customers ...string) *world {
	t.Helper()
	w := &world{T: t, server: awstest.New(awstest.Options{IndexLag: 20 * time.Millisecond})}
	config := aws.Config{Region: "us-east-1", Endpoint: "http://aws.test"}
	options := aws.Options{
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""), Transport: w.server, Observe: w.bill.add,
	}
	records, err := aws.OpenStore(t.Context(), config, options)
	w.must(err)
	hints, err := aws.OpenQueue(t.Context(), config, options)
	w.must(err)
	st, err := store.Open(t.Context(), records, driver.Schema{Kinds: append(engine.Schema(), catalog.Schema()...)})
	w.must(err)
	q, err := queue.Open(t.Context(), hints)
	w.must(err)
	w.catalog = catalog.New(st, catalog.Options{})
	w.engine = engine.New(st, q, w.catalog, o)
	w.furnish(customers)
	w.must(w.engine.Start(t.Context()))
	t.Cleanup(func() {
		w.engine.Stop()
		ctx := context.WithoutCancel(t.Context())
		w.must(q.Close(ctx))
		w.must(st.Close(ctx))
	})
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) furnish(customers []string) {
	w.Helper()
	ctx := w.Context()
	_, err := w.catalog.ResourcePools.Create(ctx, model.ResourcePool{Meta: model.Meta{ID: poolID, CustomerID: "house", Title: poolID}})
	w.must(err)
	for _, id := range customers {
		_, err = w.catalog.Customers.Create(ctx, model.Customer{Meta: model.Meta{ID: id, Title: id}, ResourcePoolID: poolID})
		w.must(err)
	}
	_, err = w.catalog.Insights.Create(ctx, model.Insight{
		Meta: model.Meta{ID: insightID, CustomerID: "house", Title: insightID}, ResourcePoolID: poolID,
		Sharing: model.Sharing{IsGlobal: true}, Mappers: model.Mappers{OperationType: []string{workType}}, QueueSize: new(20),
	})
	w.must(err)
}

// puller runs agendas until the test ends, with operations that take so long.
func (w *world) puller(slots int, launch pool.LauncherFunc) {
	w.Helper()
	p, err := pool.New(pool.Config{
		API: w.engine, Launcher: launch, Log: slog.New(slog.DiscardHandler), Name: "executor", InsightIDs: []string{insightID}, Slots: slots,
	})
	w.must(err)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	w.Cleanup(func() {
		stop()
		running.Wait()
	})
}

// submit submits agendas in one call and returns their ids.
func (w *world) submit(agendas ...model.Agenda) []string {
	w.Helper()
	submissions := make([]engine.Submission, len(agendas))
	for i, a := range agendas {
		submissions[i].Agenda = a
	}
	var ids []string
	for _, s := range w.engine.Submit(w.Context(), submissions) {
		w.must(s.Err)
		ids = append(ids, s.Agenda.ID)
	}
	return ids
}

func (w *world) await(id string) {
	w.Helper()
	for {
		p, _, err := w.engine.Progress(w.Context(), id)
		w.must(err)
		if p.State == model.Complete {
			if p.Outcome != model.Succeeded {
				w.Fatalf("agenda %s %s: %s", id, p.Outcome, p.Message)
			}
			return
		}
		<-time.After(5 * time.Second)
	}
}

// agenda is one of some operations in a row, in JSON as large as is asked for and as varied as real ones.
func agenda(customer string, operations, bytes int) model.Agenda {
	a := model.Agenda{Meta: model.Meta{CustomerID: customer}}
	for i := range operations {
		payload := map[string]any{"input": "@<" + name(i-1) + ".out::/output>", "profile": map[string]any{"codec": "h264", "width": 1920, "height": 1080}}
		if i == 0 {
			payload["input"] = "s3://incoming/" + unlike(i, 40)
		}
		a.Operations = append(a.Operations, model.Operation{Name: name(i), Type: workType})
		for n := 0; ; n++ {
			text, _ := json.Marshal(payload) // maps of texts
			a.Operations[i].Payload = text
			whole, _ := json.Marshal(a)
			if len(whole) >= bytes*(i+1)/operations {
				break
			}
			payload[fmt.Sprintf("setting%d", n)] = unlike(100*i+n, 24)
		}
	}
	return a
}

func name(i int) string { return fmt.Sprintf("step-%d", i) }

// unlike returns a text that no other compresses well.
func unlike(seed, n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_/."
	var b strings.Builder
	state := uint64(seed)*0x9e3779b97f4a7c15 + 1
	for range n {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b.WriteByte(letters[state%uint64(len(letters))])
	}
	return b.String()
}

// bill is what AWS says that it was asked for, and what that costs in capacity units by kind of record; the writes of an index are those
// of the kind "index".
type bill struct {
	mu    sync.Mutex
	calls map[string]int
	write map[string]float64
	read  map[string]float64
}

// add takes in a call.
func (b *bill) add(c aws.Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.calls == nil {
		b.calls, b.write, b.read = map[string]int{}, map[string]float64{}, map[string]float64{}
	}
	b.calls[c.Operation]++
	switch out := c.Output.(type) {
	case *dynamodb.PutItemOutput:
		tally(b.write, kindOf(c.Input.(*dynamodb.PutItemInput).Item), out.ConsumedCapacity)
	case *dynamodb.DeleteItemOutput:
		tally(b.write, kindOf(c.Input.(*dynamodb.DeleteItemInput).Key), out.ConsumedCapacity)
	case *dynamodb.BatchWriteItemOutput:
		for _, requests := range c.Input.(*dynamodb.BatchWriteItemInput).RequestItems {
			tally(b.write, kindOf(requests[0].PutRequest.Item), &out.ConsumedCapacity[0])
		}
	case *dynamodb.TransactWriteItemsOutput:
		tally(b.write, "group", &out.ConsumedCapacity[0])
	case *dynamodb.BatchGetItemOutput:
		for _, r := range c.Input.(*dynamodb.BatchGetItemInput).RequestItems {
			tally(b.read, kindOf(r.Keys[0]), &out.ConsumedCapacity[0])
		}
	case *dynamodb.QueryOutput:
		tally(b.read, "scan", out.ConsumedCapacity)
	}
}

// kindOf returns the kind of the record that an item or a key is of.
func kindOf(item map[string]types.AttributeValue) string {
	kind, _, _ := strings.Cut(item["pk"].(*types.AttributeValueMemberS).Value, "#")
	return kind
}

func tally(sum map[string]float64, kind string, c *types.ConsumedCapacity) {
	sum[kind] += *c.Table.CapacityUnits
	for _, u := range c.GlobalSecondaryIndexes {
		sum["index"] += *u.CapacityUnits
	}
}

// take returns what was added since the last time.
func (b *bill) take() *bill {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := &bill{calls: maps.Clone(b.calls), write: maps.Clone(b.write), read: maps.Clone(b.read)}
	clear(b.calls)
	clear(b.write)
	clear(b.read)
	return taken
}

func total(m map[string]float64) (sum float64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

func count(calls map[string]int) (sum int) {
	for _, n := range calls {
		sum += n
	}
	return sum
}

// sqs returns the number of calls of SQS.
func (b *bill) sqs() (n int) {
	for _, operation := range []string{"ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch", "GetQueueUrl", "GetQueueAttributes", "CreateQueue"} {
		n += b.calls[operation]
	}
	return n
}
