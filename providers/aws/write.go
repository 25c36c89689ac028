package aws

import (
	"context"
	"errors"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/pop-platform/pop/plugins/driver"
)

// The conditions of writes, and the values in them. An expired record counts as absent.
const (
	notExpired = "(attribute_not_exists(" + attrExpiry + ") OR " + attrExpiry + " > " + valueNow + ")"
	isAbsent   = "attribute_not_exists(" + attrPart + ") OR " + attrExpiry + " <= " + valueNow
	isVersion  = attrVersion + " = " + valueVersion + " AND " + notExpired

	valueNow     = ":now"
	valueVersion = ":v"
)

// condition returns a condition as DynamoDB takes it; nil for one that always holds.
func (s *Store) condition(op *driver.Op) (expression *string, values item) {
	switch op.Cond {
	case driver.IfAbsent:
		return awssdk.String(isAbsent), item{valueNow: s.nowValue()}
	case driver.IfVersion:
		return awssdk.String(isVersion), item{valueNow: s.nowValue(), valueVersion: text(string(op.Version))}
	default:
		return nil, nil
	}
}

// Write implements [driver.Store]. A group of one operation is one conditional write. Larger groups are transactions, which cost twice
// as much. Puts of whole small records without a condition share batches.
func (s *Store) Write(ctx context.Context, req driver.WriteRequest) (driver.WriteResponse, error) {
	done, err := s.begin(ctx, "write")
	if err != nil {
		return driver.WriteResponse{}, err
	}
	defer done()
	if err := req.Validate(storeCapabilities); err != nil {
		return driver.WriteResponse{}, err
	}
	results := make([]driver.WriteResult, len(req.Groups))
	var tasks []func()
	var plain []plainPut
	for i, group := range req.Groups {
		switch {
		case len(group) == 0:
			results[i].Versions = []driver.Version{}
		case len(group) > 1:
			tasks = append(tasks, func() { results[i] = s.transact(ctx, group) })
		default:
			op := &group[0]
			if op.Type == driver.Put && op.Cond == driver.Always {
				if packed := s.codec.pack(op.Record.Body); len(packed) < s.blobs.above() {
					it, version := s.encode(&op.Record, packed, "")
					plain = append(plain, plainPut{i, s.table(op.Record.Key.Kind), it, version})
					continue
				}
			}
			tasks = append(tasks, func() { results[i] = s.single(ctx, op) })
		}
	}
	if len(plain) == 1 {
		i := plain[0].group
		tasks, plain = append(tasks, func() { results[i] = s.put(ctx, &req.Groups[i][0]) }), nil
	}
	for len(plain) > 0 {
		batch := plain[:min(len(plain), maxBatchPut)]
		plain = plain[len(batch):]
		tasks = append(tasks, func() { s.putAll(ctx, batch, results) })
	}
	_ = parallel(len(tasks), func(i int) error { tasks[i](); return nil })
	return driver.WriteResponse{Results: results}, nil
}

// plainPut is a put without a condition, of the group with the number.
type plainPut struct {
	group   int
	table   string
	item    item
	version driver.Version
}

// putAll writes a batch of plain puts. If one of them replaces a record whose body is elsewhere, that body stays behind.
func (s *Store) putAll(ctx context.Context, batch []plainPut, results []driver.WriteResult) {
	request := map[string][]types.WriteRequest{}
	for _, p := range batch {
		request[p.table] = append(request[p.table], types.WriteRequest{PutRequest: &types.PutRequest{Item: p.item}})
		results[p.group] = driver.WriteResult{Versions: []driver.Version{p.version}}
	}
	for len(request) > 0 {
		left, err := s.batchWrite(ctx, request)
		if err == nil && len(left) > 0 && countWrites(left) == countWrites(request) {
			left, err = request, s.putOff("write", anyKey(request))
		} else if err != nil {
			left = request
		}
		if err != nil {
			missing := map[string]bool{}
			for _, requests := range left {
				for _, r := range requests {
					missing[textOf(r.PutRequest.Item[attrVersion])] = true
				}
			}
			for _, p := range batch {
				if missing[string(p.version)] {
					results[p.group] = driver.WriteResult{Err: err}
				}
			}
			return
		}
		request = left
	}
}

func countWrites(request map[string][]types.WriteRequest) (n int) {
	for _, requests := range request {
		n += len(requests)
	}
	return n
}

// batchWrite makes one batch of writes and returns those that DynamoDB has put off.
func (s *Store) batchWrite(ctx context.Context, request map[string][]types.WriteRequest) (map[string][]types.WriteRequest, error) {
	resp, err := s.db.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
		RequestItems: request, ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes,
	})
	if err != nil {
		return nil, s.writeFault(ctx, anyKey(request), err)
	}
	return resp.UnprocessedItems, s.calm.after(anyKey(request), nil)
}

func (s *Store) writeFault(ctx context.Context, table string, err error) error {
	c := s.call("write", table)
	c.write = true
	return s.calm.after(table, c.fault(ctx, err))
}

// single applies a group of one operation.
func (s *Store) single(ctx context.Context, op *driver.Op) driver.WriteResult {
	switch op.Type {
	case driver.Put:
		return s.put(ctx, op)
	case driver.Delete:
		return s.delete(ctx, op)
	default:
		return s.check(ctx, op)
	}
}

// keep stores a body where it belongs and returns it packed, and its place if that is not the item.
func (s *Store) keep(ctx context.Context, op *driver.Op, above int) (packed []byte, blob string, err error) {
	packed = s.codec.pack(op.Record.Body)
	if len(packed) >= above {
		blob, err = s.blobs.put(ctx, s.table(op.Record.Key.Kind), packed)
	}
	return packed, blob, err
}

// discard removes a body that no record names any more. If that fails it stays behind, and does no harm.
func (s *Store) discard(ctx context.Context, kind driver.Kind, blob string) {
	if blob != "" {
		_ = s.blobs.remove(ctx, s.table(kind), blob)
	}
}

func (s *Store) put(ctx context.Context, op *driver.Op) driver.WriteResult {
	kind := op.Record.Key.Kind
	packed, blob, err := s.keep(ctx, op, s.blobs.above())
	if err != nil {
		return failed(notApplied(err))
	}
	it, version := s.encode(&op.Record, packed, blob)
	in := &dynamodb.PutItemInput{
		TableName: awssdk.String(s.table(kind)), Item: it,
		ReturnConsumedCapacity:              types.ReturnConsumedCapacityIndexes,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	in.ConditionExpression, in.ExpressionAttributeValues = s.condition(op)
	if op.Cond == driver.Always {
		in.ReturnValues = types.ReturnValueAllOld // to see whether it had a body elsewhere
	}
	resp, err := patiently(ctx, func() (*dynamodb.PutItemOutput, error) { return s.db.PutItem(ctx, in) })
	if err != nil {
		result := s.refusal(ctx, *in.TableName, err)
		if driver.OutcomeOf(result.Err) == driver.NotApplied {
			s.discard(ctx, kind, blob)
		}
		return result
	}
	s.discard(ctx, kind, replaced(op, resp.Attributes))
	return driver.WriteResult{Versions: []driver.Version{version}, Err: s.calm.after(*in.TableName, nil)}
}

func (s *Store) delete(ctx context.Context, op *driver.Op) driver.WriteResult {
	key := op.Record.Key
	in := &dynamodb.DeleteItemInput{
		TableName: awssdk.String(s.table(key.Kind)), Key: itemKey(key),
		ReturnConsumedCapacity:              types.ReturnConsumedCapacityIndexes,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	in.ConditionExpression, in.ExpressionAttributeValues = s.condition(op)
	if op.Cond == driver.Always {
		in.ReturnValues = types.ReturnValueAllOld
	}
	resp, err := patiently(ctx, func() (*dynamodb.DeleteItemOutput, error) { return s.db.DeleteItem(ctx, in) })
	if err != nil {
		return s.refusal(ctx, *in.TableName, err)
	}
	s.discard(ctx, key.Kind, replaced(op, resp.Attributes))
	return driver.WriteResult{Versions: make([]driver.Version, 1)}
}

// replaced returns where the body is of the record that a write has replaced; empty if it was in the item.
func replaced(op *driver.Op, old item) string {
	if op.Cond == driver.IfVersion {
		return blobOf(op.Version)
	}
	return blobOf(driver.Version(textOf(old[attrVersion])))
}

// check tests a condition by itself, which a strongly consistent read does for half the price of a write.
func (s *Store) check(ctx context.Context, op *driver.Op) driver.WriteResult {
	if op.Cond == driver.Always {
		return driver.WriteResult{Versions: make([]driver.Version, 1)}
	}
	records, err := s.read(ctx, []driver.Key{op.Record.Key})
	if err != nil {
		return failed(notApplied(err))
	}
	holds := records[0] == nil
	if op.Cond == driver.IfVersion {
		holds = records[0] != nil && records[0].Version == op.Version
	}
	if !holds {
		return conflict(0, records[0])
	}
	return driver.WriteResult{Versions: make([]driver.Version, 1)}
}

func failed(err error) driver.WriteResult { return driver.WriteResult{Err: err} }

// notApplied says of an error that came before the write that it changed nothing.
func notApplied(err error) error {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		e.Outcome = driver.NotApplied
	}
	return err
}

func conflict(at int, current *driver.Record) driver.WriteResult {
	return driver.WriteResult{Err: driver.Errorf(driver.Conflict, "dynamodb: write", "the condition does not hold"), Failed: at, Current: current}
}

// refusal is the result of a write of one item that failed.
func (s *Store) refusal(ctx context.Context, table string, err error) driver.WriteResult {
	refused, ok := errors.AsType[*types.ConditionalCheckFailedException](err)
	if !ok {
		return failed(s.writeFault(ctx, table, err))
	}
	current, err := s.current(ctx, refused.Item)
	if err != nil {
		return failed(notApplied(err))
	}
	return conflict(0, current)
}

// current decodes the record that a conflict has shown; nil for none.
func (s *Store) current(ctx context.Context, it item) (*driver.Record, error) {
	if len(it) == 0 {
		return nil, nil
	}
	r, err := s.decode(it)
	if err != nil {
		return nil, driver.Errorf(driver.Corrupt, "dynamodb: write", "%w", err)
	}
	if s.expired(r) {
		return nil, nil
	}
	if err := s.refill(ctx, []*driver.Record{r}); err != nil || r.Version == "" {
		return nil, err
	}
	return r, nil
}
